"""What `plan` answers: options with intervals, reasons, the front, and how sure it is."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from myriad.kernel.errors import UserError
from myriad.performance import plan, spread
from myriad.performance.answers import Layout, Plan
from myriad.performance.layouts import Layouts
from myriad.performance.machine import Machine
from myriad.performance.spread import Ends
from myriad.performance.training import predict
from tests.performance import planning


@pytest.fixture(scope="module")
def large() -> Plan:
    return plan(
        "llama3-70b", "h100-sxm", 1024, tokens=2e12, failures_per_chip_day=0.0005, price_per_chip_hour=2.0
    )


@pytest.fixture(scope="module")
def unsure() -> Plan:
    return plan("llama3-70b", "zhenwu-810e", 1024, halvings=1)


def test_options_fit_and_their_parts_add_up(large: Plan) -> None:
    assert large.options
    for one in large.options:
        assert one.fits
        assert one.peak_bytes <= large.memory_bytes
        assert sum(one.seconds.values()) == pytest.approx(one.step_s.value)
        assert sum(one.memory.values()) == pytest.approx(one.peak_bytes)
        assert one.step_s.low < one.step_s.value < one.step_s.high
        assert one.tokens_per_s.value == pytest.approx(
            large.question.global_batch * large.question.sequence / one.step_s.value
        )
        assert 0 < one.mfu.low < one.mfu.value < one.mfu.high < 1
    times = [one.step_s.value for one in large.options]
    assert times == pytest.approx(sorted(times))


def test_every_option_is_what_asking_for_it_alone_gives(large: Plan) -> None:
    for one in large.options:
        alone = plan("llama3-70b", "h100-sxm", 1024, layout=one.layout).best
        assert alone is not None
        assert alone.step_s == one.step_s
        assert alone.peak_bytes == one.peak_bytes


def test_whoever_is_left_out_has_a_reason(large: Plan) -> None:
    assert large.considered == large.fitting + sum(one.layouts for one in large.refused)
    for one in large.refused:
        assert one.reason
        assert one.remedy
        assert "  " not in one.reason
        assert (one.best_step_s is None) == (one.best is None)
    memory = next(one for one in large.refused if one.rule == "memory")
    assert memory.best_step_s


def test_the_front_spans_chips_and_nothing_on_it_is_beaten(large: Plan) -> None:
    assert {point.chips for point in large.front} >= {1024, 512, 256}
    rows = np.array([(point.chips, point.step_s, point.peak_bytes) for point in large.front])
    for row in rows:
        others = rows[np.any(rows != row, axis=1)]
        assert not np.any(np.all(others <= row, axis=1))
    assert max(large.front, key=lambda point: point.chips).peak_bytes <= large.memory_bytes


def test_a_run_has_days_cost_and_failures(large: Plan) -> None:
    best = large.best
    assert best is not None
    assert best.run is not None
    run = best.run
    steps = 2e12 / (large.question.global_batch * large.question.sequence)
    assert run.days.value == pytest.approx(steps * best.step_s.value / 86400)
    assert run.goodput is not None
    assert run.calendar_days is not None
    assert run.calendar_days.value == pytest.approx(run.days.value / run.goodput.share)
    assert run.chip_hours.value == pytest.approx(run.calendar_days.value * 24 * 1024)
    assert run.cost is not None
    assert run.cost.value == pytest.approx(2 * run.chip_hours.value)
    assert run.energy_kwh.value == pytest.approx(0.7 * run.chip_hours.value)


def test_chips_known_in_ranges_say_so(large: Plan, unsure: Plan) -> None:
    assert unsure.uncertain
    assert not large.uncertain
    names = {one.name for one in unsure.inputs}
    assert {"chip.flops.bf16", "chip.memory_bytes_per_s", "chip.gemm_share"} <= names
    assert all(one.source for one in unsure.inputs)
    best, sure = unsure.best, large.best
    assert best is not None
    assert sure is not None
    assert best.step_s.high / best.step_s.low > 1.5 * sure.step_s.high / sure.step_s.low
    # a faster chip than thought does not bring a higher share of its peak
    assert best.mfu.high / best.mfu.value < best.step_s.value / best.step_s.low


def test_the_ends_enclose_the_interval_and_tell_who_wins(unsure: Plan) -> None:
    best, stable = unsure.best, unsure.stability
    assert best is not None
    assert stable is not None
    assert stable.fast_s < best.step_s.value < stable.slow_s
    assert stable.stays == (stable.slow == best.layout == stable.fast)
    assert stable.regret >= 0
    assert stable.stays or stable.regret > 0


def test_the_interval_is_ten_percent_where_no_input_has_a_range() -> None:
    here = planning.machine()
    of = planning.setting()
    layouts = Layouts.of({"tp": 8, "dp": 2, "sequence_parallel": True})
    work = planning.work(of)
    middle = predict(work, here, layouts).step_s
    found = spread.of(work, Ends(here, here, here), layouts, middle)
    assert found.high_s == pytest.approx(1.1 * middle)
    assert found.low_s == pytest.approx(middle / 1.1)
    slower = replace(here, flops=here.flops * 0.5)
    found = spread.of(work, Ends(here, slower, here), layouts, middle)
    assert found.high_s[0] > 1.15 * middle[0]
    assert found.low_s == pytest.approx(middle / 1.1)
    assert isinstance(here, Machine)


def test_what_was_assumed_is_told(large: Plan) -> None:
    told = " ".join(large.question.assumed)
    for word in ("rail-400g", "nemo-2024", "8,192 tokens", "16.78M"):
        assert word in told
    said = plan(
        "llama3-8b",
        "h100-sxm",
        16,
        fabric="rail-400g",
        stack="reference",
        sequence=4096,
        global_batch=64,
        halvings=0,
    )
    assert said.question.assumed == ()


def test_catalogue_entries_do_as_well_as_names() -> None:
    catalog = planning.CATALOG
    named = plan("llama3-8b", "h100-sxm", 16, halvings=0)
    given = plan(catalog.model("llama3-8b"), catalog.chip("h100-sxm"), 16, halvings=0)
    assert [one.step_s for one in given.options] == [one.step_s for one in named.options]


def test_a_batch_in_tokens_becomes_sequences_that_divide() -> None:
    found = plan("qwen3-235b-a22b", "h100-sxm", 1024, global_batch_tokens=16e6, halvings=0)
    assert found.question.global_batch == 4096
    assert any("4,096 sequences" in text for text in found.question.assumed)


@pytest.mark.parametrize("chips", [400, 10_000])
def test_any_number_of_nodes_has_a_layout(chips: int) -> None:
    assert plan("llama3-70b", "zhenwu-810e", chips, halvings=0).best


def test_nothing_fits_is_an_answer() -> None:
    found = plan("llama3-405b", "h100-sxm", 16)
    assert found.best is None
    assert found.fitting == 0
    assert found.stability is None
    memory = next(one for one in found.refused if one.rule == "memory")
    assert "the model needs at least 96" in memory.remedy


def test_eight_bits_are_faster_where_the_chip_has_them() -> None:
    plain = plan("llama3-70b", "h100-sxm", 256, halvings=0).best
    eight = plan("llama3-70b", "h100-sxm", 256, precision="fp8", halvings=0).best
    assert plain is not None
    assert eight is not None
    assert eight.step_s.value < plain.step_s.value
    with pytest.raises(UserError, match="It has bf16"):
        plan("llama3-70b", "a100-sxm-80gb", 256, precision="fp8")


def test_zero_bubble_is_left_out_unless_asked_for() -> None:
    without = plan("llama3-405b", "h100-sxm", 2048, halvings=0)
    assert all(one.layout.schedule == "1f1b" for one in without.options)
    region = next(one for one in without.refused if one.rule == "zero-bubble")
    allowed = plan("llama3-405b", "h100-sxm", 2048, halvings=0, zero_bubble=True)
    assert allowed.best is not None
    assert allowed.best.layout.schedule != "1f1b"
    assert allowed.best.step_s.value == pytest.approx(region.best_step_s or 0, rel=1e-3)


def test_the_answer_goes_into_json(large: Plan) -> None:
    tree = msgspec.json.decode(msgspec.json.encode(large))
    assert tree["options"][0]["step_s"]["value"] == large.options[0].step_s.value
    assert tree["question"]["model"] == "llama3-70b"


@pytest.mark.parametrize(
    ("layout", "field", "told"),
    [
        ("tp=16", "layout: tp", "TP 16 leaves the scale-up domain of 8"),
        ("tp=8,pp=3", "layout: pp", "PP 3 does not divide 1,024 / 8 chips"),
        ("tp=3", "layout: tp", "TP 3 does not divide 1,024 chips"),
        ("tp=8,tp=4", "layout: tp", "is said twice"),
        ("", "layout", "is empty"),
        ("tp=8,pp=2,dp=63", "layout: dp", "is not 1,024 chips"),
        ("tp=8,pp=64", "layout: pp", "neither 80 layers nor 82"),
        ("tp=8,pp=4,vpp=3", "layout: vpp", "does not divide 80 layers"),
        ("tp=8,vpp=2", "layout: vpp", "no pipeline"),
        ("tp=8,ep=2", "layout: ep", "does not divide 1 expert"),
        ("tp=8,mb=32", "layout: micro_batch", "2,048 sequences"),
        ("tp=4,pp=8,zero=3", "layout: zero", "not combined with PP"),
        ("tp=4,pp=8,zero=2", "layout: zero", "not combined with PP"),
        ("schedule=zb-h1,tp=8", "layout: schedule", "PP above 1"),
        ("sp=on,pp=4", "layout: sequence_parallel", "TP is 1"),
        ("tp=eight", "layout: tp", "is not understood"),
        ("tq=8", "layout", "not a part of a layout"),
        ("recompute=some", "layout: recompute", "Known: none, selective, full"),
    ],
)
def test_layouts_that_cannot_run_are_refused_with_a_remedy(layout: str, field: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        plan("llama3-70b", "h100-sxm", 1024, layout=layout)
    assert caught.value.field == field
    assert told in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"chips": 1020}, "chips"),
        ({"chips": 0}, "chips"),
        ({"chips": 3}, "chips"),
        ({"chips": 10**9}, "chips"),
        ({"global_batch_tokens": 7.0}, "global-batch"),
        ({"chips": -8}, "chips"),
        ({"model": "llama3-71b"}, "model"),
        ({"chip": "h1000"}, "chip"),
        ({"fabric": "rails"}, "fabric"),
        ({"stack": "vllm-2025"}, "stack"),
        ({"precision": "fp7"}, "precision"),
        ({"tokens": 100.0}, "tokens"),
        ({"sequence": -1}, "sequence"),
        ({"global_batch": 0}, "global-batch"),
        ({"failures_per_chip_day": -1.0}, "reliability"),
        ({"price_per_chip_hour": -1.0}, "price"),
    ],
)
def test_questions_that_make_no_sense_name_the_field(more: dict[str, object], field: str) -> None:
    asked: dict[str, object] = {"model": "llama3-70b", "chip": "h100-sxm", "chips": 1024} | more
    with pytest.raises(UserError) as caught:
        plan(**asked)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert caught.value.remedy


def test_layouts_are_read_as_they_are_written() -> None:
    found = Layout.parse("tp=8, pp=16, vpp=8, mb=2, zero=0, recompute=selective, sp=off", 16384)
    assert (found.tp, found.pp, found.vpp, found.dp, found.micro_batch, found.zero) == (8, 16, 8, 128, 2, 0)
    assert found.recompute == "selective"
    assert not found.sequence_parallel
    assert Layout.at(Layouts.of(found.columns), 0) == found
    assert str(found) == "TP 8 PP 16 VPP 8 DP 128 micro-batch 2 no ZeRO recompute selective"
    assert Layout.parse("tp=8", 16).sequence_parallel
    assert Layout.parse("TP=8, MB=1, SP=off", 16) == Layout(tp=8, dp=2)


@pytest.mark.parametrize("name", ["llama3-405b", "deepseek-v3"])
def test_layouts_are_read_as_they_are_printed(name: str) -> None:
    found = plan(name, "h100-sxm", 2048, zero_bubble=True, top=12)
    layouts = {one.layout for one in found.options} | {point.layout for point in found.front}
    assert len(layouts) > 12
    for layout in layouts:
        chips = layout.tp * layout.cp * layout.pp * layout.dp
        assert Layout.parse(str(layout), chips) == layout
        assert Layout.parse(str(layout).lower().replace(" ", "  "), chips) == layout


@pytest.mark.parametrize(
    ("model", "chip", "chips", "batch"),
    [
        ("myriad-1t-a34b", "zhenwu-810e", 10_000, 5000),
        ("llama3-8b", "h100-sxm", 808, 808),
        ("llama3-8b", "h100-sxm", 8 * 1009, 1009),
        ("llama3-405b", "h100-sxm", 16_384, 2048),
    ],
)
def test_a_batch_nobody_chose_suits_the_chips(model: str, chip: str, chips: int, batch: int) -> None:
    assert plan(model, chip, chips, halvings=0).question.global_batch == batch


def test_batches_that_work_are_named() -> None:
    found = plan("myriad-1t-a34b", "zhenwu-810e", 10_000, global_batch=4096)
    remedy = next(one for one in found.refused if one.rule == "batch").remedy
    assert "4,000 or 4,125 sequences" in remedy
    for batch in (4000, 4125):
        assert plan("myriad-1t-a34b", "zhenwu-810e", 10_000, global_batch=batch, halvings=0).best


def test_the_fewest_chips_are_the_fewest() -> None:
    batch = 2048
    assert plan("llama3-405b", "h100-sxm", 96, global_batch=batch, halvings=0).best
    assert not plan("llama3-405b", "h100-sxm", 88, global_batch=batch, halvings=0).best
    beside = plan("llama3-70b", "h100-sxm", 16, layout="tp=1")
    assert "other layouts fit" in beside.refused[0].remedy


def test_software_that_nobody_named_is_told_with_what_else_it_may_be() -> None:
    found = plan("llama3-405b", "h100-sxm", 16_384, halvings=0)
    assert found.best
    assert [one.stack for one in found.stacks if one.assumed] == [found.question.stack] == ["nemo-2024"]
    by_name = {one.stack: one.step_s for one in found.stacks}
    assert by_name["nemo-2024"] == pytest.approx(found.best.step_s.value)
    assert by_name["reference"] > 1.1 * by_name["nemo-2024"]
    assert plan("llama3-405b", "h100-sxm", 16_384, stack="nemo-2024", halvings=0).stacks == ()
    experts = plan("deepseek-v3", "h800-sxm", 2048, halvings=0).question
    assert experts.stack == "megatron-moe"


def test_attention_that_is_not_fused_keeps_its_scores() -> None:
    layout = "tp=8,pp=8,mb=1"
    plain = plan("gpt3-175b", "a100-sxm-80gb", 512, stack="megatron-2022", layout=layout)
    fused = plan("gpt3-175b", "a100-sxm-80gb", 512, stack="megatron-2023", layout=layout)
    assert plain.best and fused.best
    assert plain.best.memory["activations"] > 1.3 * fused.best.memory["activations"]
    assert plain.best.seconds["attention"] > fused.best.seconds["attention"]
    searched = plan("gpt3-175b", "a100-sxm-80gb", 512, stack="megatron-2022", halvings=0).best
    assert searched and searched.layout.recompute == "selective"


@pytest.mark.parametrize("chips", [1, 2, 4])
def test_a_part_of_a_node_is_planned(chips: int) -> None:
    assert plan("llama3-8b", "h200-sxm", chips, halvings=0).question.chips == chips


@pytest.mark.parametrize("name", planning.CATALOG.names("architecture"))
def test_every_architecture_names_software_that_trains(name: str) -> None:
    family = planning.CATALOG.architecture(name)
    for stack in (*family.stacks, *family.expert_stacks):
        assert "outer_passes" in planning.CATALOG.stack(stack).parameters


@pytest.mark.parametrize("name", planning.CATALOG.names("chip"))
def test_every_chip_names_a_fabric_and_a_stack_that_exist(name: str) -> None:
    chip = planning.CATALOG.chip(name)
    if chip.fabric:
        planning.CATALOG.fabric(chip.fabric)
    assert "outer_passes" in planning.CATALOG.stack(chip.stack).parameters
