"""Queueing formulas against a simulation of the same batching rule, and what must hold of them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from myriad.catalog.shelf import Catalog
from myriad.kernel.errors import UserError
from myriad.performance.serving import lanes, load, machine, shapes
from myriad.performance.serving.lanes import Lengths
from tests.performance import engine_rule

CATALOG = Catalog.shipped()
PERCENTILES = (0.5, 0.9, 0.99)
#: chip, stack, model, TP, prompts, answers.
SERVICES = {
    "whole prompts": (
        "h100-sxm",
        "vllm-2023",
        "llama2-70b",
        4,
        Lengths(mean=1024, cv=0.5),
        Lengths(mean=200, cv=0.8),
    ),
    "whole prompts, all alike": (
        "a100-sxm-80gb",
        "vllm-2023",
        "llama2-70b",
        4,
        Lengths(mean=512),
        Lengths(mean=256),
    ),
    "chunks": (
        "h100-sxm",
        "vllm-2025",
        "llama3-70b",
        4,
        Lengths(mean=1500, cv=0.5),
        Lengths(mean=250, cv=0.7),
    ),
    "chunks, long prompts": (
        "h100-sxm",
        "vllm-2025",
        "llama3-70b",
        8,
        Lengths(mean=6000, cv=0.3),
        Lengths(mean=200),
    ),
    "chunks, small model": ("zhenwu-810e", "vllm-2025", "llama3-8b", 1, Lengths(mean=512), Lengths(mean=128)),
}


def service(name: str):
    chip, stack, model, tp, inputs, outputs = SERVICES[name]
    here = machine.machine_of(CATALOG.chip(chip), None, CATALOG.stack(stack))
    return shapes.shape_of(CATALOG.model(model)), here, shapes.layouts([tp]), inputs, outputs


@pytest.mark.parametrize("part", [0.3, 0.7])
@pytest.mark.parametrize("name", SERVICES)
def test_percentiles_against_simulation(name, part):
    of, here, layout, inputs, outputs = service(name)
    table = lanes.both(of, here, layout, inputs, outputs)
    rate = part * load.capacity(table, 0.9, 30.0, 5.0)
    said = load.steady(table, rate, PERCENTILES)
    slots = engine_rule.slots_of(of, here, layout, inputs, outputs)
    assert slots == table.slots[0, 0]
    seen = engine_rule.simulate(
        of, here, layout, rate=rate[0], inputs=inputs, outputs=outputs, slots=slots, count=3000
    )
    ttft, tpot = np.quantile(seen.ttft_s, PERCENTILES), np.quantile(seen.tpot_s, PERCENTILES)
    assert said.batch[0] == pytest.approx(seen.batch, rel=0.10)
    assert said.tpot_s[0] == pytest.approx(tpot, rel=0.15)
    assert said.ttft_s[0, :2] == pytest.approx(ttft[:2], rel=0.20)
    assert said.ttft_s[0, 2] == pytest.approx(ttft[2], rel=0.35)


def test_a_pool_that_only_reads_against_simulation():
    of, here, layout, inputs, _ = service("chunks")
    table = lanes.prefill_only(of, here, layout, inputs)
    rate = 0.6 * load.ceiling(table)
    said = load.steady(table, rate, PERCENTILES).ttft_s[0] - table.handover_s.mean()
    # one token each: nobody decodes; whole prompts
    whole, once = replace(here, chunk_tokens=0.0), Lengths(mean=1)
    seen = engine_rule.simulate(
        of, whole, layout, rate=rate[0], inputs=inputs, outputs=once, slots=99, count=4000
    )
    assert said == pytest.approx(np.quantile(seen.ttft_s, PERCENTILES), rel=0.15)


def test_a_pool_that_only_decodes_against_simulation():
    of, here, layout, inputs, _ = service("chunks")
    outputs = Lengths(mean=250)
    table = lanes.decode_only(of, here, layout, inputs, outputs)
    rate = load.capacity(table, 0.9, 1.0, 0.03)
    said = load.steady(table, rate, PERCENTILES)
    slots = int(table.slots[0, 0])
    seen = engine_rule.simulate(
        of, here, layout, rate=rate[0], inputs=inputs, outputs=outputs, slots=slots, received=True
    )
    assert said.batch[0] == pytest.approx(seen.batch, rel=0.10)
    assert said.tpot_s[0] == pytest.approx(np.quantile(seen.tpot_s, PERCENTILES), rel=0.10)


@pytest.mark.parametrize("name", SERVICES)
def test_more_load_is_never_faster(name):
    of, here, layout, inputs, outputs = service(name)
    table = lanes.both(of, here, layout, inputs, outputs)
    found = [
        load.steady(table, part * load.ceiling(table), PERCENTILES) for part in np.linspace(0.05, 1.2, 12)
    ]
    for one, other in pairwise(found):
        assert other.batch >= one.batch
        assert (other.ttft_s >= one.ttft_s * 0.999).all() and (other.tpot_s >= one.tpot_s * 0.999).all()
    assert np.isinf(found[-1].ttft_s).all()


def test_percentiles_are_in_order_and_above_the_unloaded_times():
    of, here, layout, inputs, outputs = service("chunks")
    table = lanes.both(of, here, layout, inputs, outputs)
    busy = load.steady(table, 0.5 * load.ceiling(table), PERCENTILES)
    assert (np.diff(busy.ttft_s[0]) > 0).all() and (np.diff(busy.tpot_s[0]) > 0).all()
    assert busy.tpot_s[0, 0] > table.decode_s[0, 0]


def test_at_capacity_the_promise_just_holds():
    of, here, layout, inputs, outputs = service("chunks")
    table = lanes.both(of, here, layout, inputs, outputs)
    rate = load.capacity(table, 0.9, 1.0, 0.04)
    there = load.steady(table, rate, (0.9,))
    beyond = load.steady(table, 1.02 * rate, (0.9,))
    assert there.ttft_s <= 1.0 and there.tpot_s <= 0.04
    assert beyond.ttft_s > 1.0 or beyond.tpot_s > 0.04


def test_a_promise_that_the_empty_engine_breaks_has_no_capacity():
    of, here, layout, inputs, outputs = service("chunks")
    table = lanes.both(of, here, layout, inputs, outputs)
    assert load.capacity(table, 0.9, 0.001, 1.0) == 0
    assert load.capacity(table, 0.9, 10.0, 0.001) == 0


def test_fewer_slots_make_callers_wait():
    of, here, layout, inputs, outputs = service("chunks")
    rate = np.array([2.0])
    many = load.steady(lanes.both(of, here, layout, inputs, outputs), rate, (0.9,))
    few = lanes.both(of, replace(here, sequences=14.0), layout, inputs, outputs)
    assert few.slots == 14
    assert load.steady(few, rate, (0.9,)).ttft_s > 1.5 * many.ttft_s


def test_strata_keep_the_mean_and_most_of_the_spread():
    for cv in (0.0, 0.5, 1.0):
        strata = Lengths(mean=800, cv=cv).strata()
        assert strata.weights.sum() == pytest.approx(1)
        assert strata.mean == pytest.approx(800)
        assert strata.square == pytest.approx(800**2 * (1 + cv**2), rel=0.02)
    with pytest.raises(UserError, match="output_tokens"):
        Lengths(mean=0).check("output_tokens")
