"""The training model: parts sum, columns agree with single layouts, and better machines are never slower."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myriad.catalog.shelf import Catalog
from myriad.performance import collectives, kernels, stages
from myriad.performance.columns import column
from myriad.performance.layouts import Layouts, Recompute, Schedule
from myriad.performance.machine import Machine
from myriad.performance.training import CAUSES, KINDS, predict
from myriad.performance.work import Work

CATALOG = Catalog.shipped()
MACHINE = Machine.of(CATALOG.chip("h100-sxm"), CATALOG.fabric("rail-400g"), CATALOG.stack("nemo-2025"))
DENSE = Work.of(CATALOG.model("llama3-70b"), sequence=8192, global_batch=1024)
SPARSE = Work.of(CATALOG.model("deepseek-v3"), sequence=4096, global_batch=4096)
WORKS = {"dense": DENSE, "experts": SPARSE}


def some_layouts(number: int, seed: int = 7) -> Layouts:
    """Layouts by chance; not all of them legal, all of them computable."""
    random = np.random.default_rng(seed)

    def powers(most: int) -> np.ndarray:
        return 2.0 ** random.integers(0, most + 1, number)

    sizes = {"tp": 3, "cp": 2, "pp": 3, "vpp": 1, "dp": 5, "ep": 4, "micro_batch": 2}
    choices = {"zero": 4, "recompute": 3, "schedule": 3}
    choices |= dict.fromkeys(("sequence_parallel", "flash", "overlap", "fp8"), 2)
    columns = {name: powers(most) for name, most in sizes.items()}
    columns |= {name: random.integers(0, most, number) for name, most in choices.items()}
    return Layouts.of(columns)


@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
def test_causes_and_kinds_sum_to_the_whole(work: Work) -> None:
    found = predict(work, MACHINE, some_layouts(500))
    assert tuple(found.seconds) == CAUSES
    assert tuple(found.memory) == KINDS
    np.testing.assert_allclose(np.sum(list(found.seconds.values()), axis=0), found.step_s)
    np.testing.assert_allclose(np.sum(list(found.memory.values()), axis=0), found.peak_bytes)
    for part in (*found.seconds.values(), *found.memory.values()):
        assert (part >= 0).all()
        assert np.isfinite(part).all()


@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
def test_many_layouts_at_once_are_each_as_alone(work: Work) -> None:
    layouts = some_layouts(600)
    together = predict(work, MACHINE, layouts)
    for place in (0, 17, 599):
        alone = predict(work, MACHINE, layouts.take(slice(place, place + 1)))
        np.testing.assert_allclose(alone.step_s[0], together.step_s[place])
        np.testing.assert_allclose(alone.peak_bytes[0], together.peak_bytes[place])


def test_a_table_of_different_jobs_is_each_as_alone() -> None:
    other = Machine.of(
        CATALOG.chip("zhenwu-810e"), CATALOG.fabric("zhenwu-two-level"), CATALOG.stack("reference")
    )
    layouts = some_layouts(2)
    together = predict(Work.stacked([DENSE, SPARSE]), Machine.stacked([MACHINE, other]), layouts)
    first = predict(DENSE, MACHINE, layouts.take(slice(0, 1)))
    second = predict(SPARSE, other, layouts.take(slice(1, 2)))
    np.testing.assert_allclose(together.step_s, [first.step_s[0], second.step_s[0]])


@pytest.mark.parametrize(
    "name", ["flops", "memory_bytes_per_s", "gemm_share", "attention_share", "memory_share"]
)
@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
def test_a_better_chip_is_never_slower(work: Work, name: str) -> None:
    layouts = some_layouts(400)
    better = replace(MACHINE, **{name: 1.2 * getattr(MACHINE, name)})
    assert (
        predict(work, better, layouts).step_s <= predict(work, MACHINE, layouts).step_s * (1 + 1e-9)
    ).all()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_faster_links_are_never_slower(level: int) -> None:
    layouts, levels = some_layouts(400), list(MACHINE.levels)
    levels[level] = levels[level]._replace(bytes_per_s=2 * levels[level].bytes_per_s)
    better = replace(MACHINE, levels=tuple(levels))
    assert (
        predict(SPARSE, better, layouts).step_s <= predict(SPARSE, MACHINE, layouts).step_s * (1 + 1e-9)
    ).all()


def test_the_ends_of_the_catalogue_bound_its_middle() -> None:
    chip, fabric = CATALOG.chip("zhenwu-810e"), CATALOG.fabric("zhenwu-two-level")
    layouts = some_layouts(200)
    slow, middle, fast = (
        predict(DENSE, Machine.of(chip, fabric, CATALOG.stack("reference"), end=end), layouts).step_s
        for end in ("slow", "middle", "fast")
    )
    assert (slow >= middle).all()
    assert (middle >= fast).all()


def test_recomputing_more_takes_longer() -> None:
    layouts = some_layouts(300)

    def with_recompute(what: Recompute) -> np.ndarray:
        chosen = np.full(len(layouts), float(what))
        return predict(DENSE, MACHINE, replace(layouts, recompute=chosen)).step_s

    none, selective, full = (with_recompute(what) for what in Recompute)
    assert (none <= selective).all()
    assert (selective <= full).all()


def test_the_bubble_is_that_of_narayanan() -> None:
    layouts = Layouts.of(
        {"tp": 8, "pp": [4, 4, 8], "vpp": [1, 2, 1], "dp": 2, "schedule": Schedule.ONE_F_ONE_B}
    )
    quiet = replace(
        MACHINE,
        pipeline_s=column(0.0),
        levels=tuple(
            level._replace(bytes_per_s=column(1e30), latency_s=column(0.0)) for level in MACHINE.levels
        ),
    )
    found = predict(DENSE, quiet, layouts)
    busy = sum(found.seconds[cause] for cause in ("gemm", "attention", "memory_bound", "host", "recompute"))
    # the head sits on the last stage only and does not wait for itself
    micro_batches = 1024 / 2
    ideal = (layouts.pp - 1) / (layouts.vpp * micro_batches)
    np.testing.assert_allclose(found.seconds["bubble"] / busy, ideal, rtol=0.15)


def test_zero_bubble_schedules_wait_less() -> None:
    layouts = Layouts.of({"tp": 4, "pp": 8, "dp": 2, "schedule": list(Schedule)})
    bubble = predict(DENSE, MACHINE, layouts).seconds["bubble"]
    assert bubble[0] > bubble[1] > bubble[2]


@settings(max_examples=60, deadline=None)
@given(st.floats(1.0, 1e12), st.sampled_from([2.0, 8.0, 64.0, 1024.0]), st.sampled_from([1.0, 2.0, 8.0]))
def test_an_all_reduce_is_two_halves_and_no_faster_than_its_bytes(
    size: float, ranks: float, stride: float
) -> None:
    time = collectives.all_reduce_s(MACHINE, column(size), column(ranks), column(stride))
    half = collectives.gather_s(MACHINE, column(size), column(ranks), column(stride))
    np.testing.assert_allclose(time, 2 * half)
    assert half >= (ranks - 1) / ranks * size / MACHINE.levels[0].bytes_per_s


def test_one_rank_says_nothing() -> None:
    one = column(1.0)
    assert collectives.gather_s(MACHINE, column(1e9), one, one) == 0
    assert collectives.all_to_all_s(MACHINE, column(1e9), one, column(8.0), one) == 0


def test_a_ring_leaves_a_node_once_whatever_it_has_inside() -> None:
    """64 ranks side by side fill 8 nodes of 8: their ring has all eight network cards of a node."""
    size, latency = column(1e12), 0.0
    quiet = replace(MACHINE, levels=tuple(one._replace(latency_s=column(latency)) for one in MACHINE.levels))
    dense = collectives.gather_s(quiet, size, column(64.0), column(1.0))
    spread = collectives.gather_s(quiet, size, column(64.0), column(8.0))
    # side by side eight cards carry the ring, or the links inside where slower; eight apart one does
    card = MACHINE.levels[1].bytes_per_s
    carried = np.minimum(8 * card, MACHINE.levels[0].bytes_per_s)
    np.testing.assert_allclose(spread / dense, carried / card, rtol=1e-6)


def test_deduplicated_dispatch_is_never_slower() -> None:
    ranks, copies = column([8.0, 16.0, 64.0, 256.0]), column(8.0)
    plain = collectives.all_to_all_s(MACHINE, column(1e9), ranks, copies, column(0.0))
    once = collectives.all_to_all_s(MACHINE, column(1e9), ranks, copies, column(1.0))
    assert (once <= plain).all()
    assert once[0] == plain[0]


def test_products_reach_their_share_when_large_and_lose_it_when_small() -> None:
    big, small = column(1e6), column(16.0)
    no = np.zeros((), dtype=bool)
    rate = 2 * big**3 / kernels.gemm_s(MACHINE, big, big, big, no)
    assert rate == pytest.approx(float(MACHINE.flops * MACHINE.gemm_share), rel=1e-3)
    assert 2 * small**3 / kernels.gemm_s(MACHINE, small, small, small, no) < 0.05 * rate


@pytest.mark.parametrize(
    ("layers", "pp", "vpp", "fullest", "last"),
    [(80, 4, 5, 20, 20), (126, 16, 8, 8, 7), (61, 4, 1, 16, 13), (32, 1, 1, 32, 32)],
)
def test_layers_fall_to_stages(layers: int, pp: int, vpp: int, fullest: int, last: int) -> None:
    work = replace(DENSE, layers=column(layers))
    found = stages.split(work, Layouts.of({"pp": pp, "vpp": vpp}))
    assert (found.layers[0], found.last_layers[0]) == (fullest, last)


@pytest.mark.parametrize("name", ["llama3-8b", "gpt3-175b", "qwen3-235b-a22b", "mixtral-8x7b", "deepseek-v3"])
def test_matmul_weights_are_the_active_ones_of_the_catalogue(name: str) -> None:
    model = CATALOG.model(name)
    work = Work.of(model, sequence=1, global_batch=1)
    # a token is looked up in the embedding and multiplied with everything else
    active = model.active_parameters - (0 if model.tied else model.embedding_parameters)
    assert float(work.matmul_parameters) == pytest.approx(active, rel=0.01)


def test_every_field_of_a_machine_is_read() -> None:
    """A parameter that changes nothing would be a promise nobody keeps."""
    layouts = some_layouts(300)
    cases = [
        (work, replace(layouts, pp=pp, flash=np.full(300, flash)))
        for work in WORKS.values()
        for pp in (layouts.pp, np.ones(300))
        for flash in (True, False)
    ]
    before = [predict(work, MACHINE, chosen) for work, chosen in cases]
    for field in fields(Machine):
        # the capacity is for the planner; the others are flags of a stack
        if field.name in ("levels", "memory_bytes", "ep_dedup", "head_counted"):
            continue
        changed = replace(MACHINE, **{field.name: 0.7 * getattr(MACHINE, field.name) + 0.01})
        after = [predict(work, changed, chosen) for work, chosen in cases]
        assert any(
            (new.step_s != old.step_s).any() or (new.peak_bytes != old.peak_bytes).any()
            for old, new in zip(before, after, strict=True)
        ), field.name
