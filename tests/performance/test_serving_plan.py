"""Plans: promises that hold when simulated, reasons, two pools, intervals."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from myriad.catalog.shelf import Catalog
from myriad.kernel.errors import UserError
from myriad.performance.serving import Lengths, ServePlan, Slo, machine, serve_plan, shapes
from tests.performance import engine_rule

CATALOG = Catalog.shipped()
PROMPTS, ANSWERS = Lengths(mean=1500, cv=0.8), Lengths(mean=300, cv=0.7)


@cache
def plan(model="llama3-70b", chip="h100-sxm", stack="vllm-2025", slo=None, load=20.0, **more) -> ServePlan:
    slo = slo or Slo(ttft_s=1.0, tpot_s=0.05)
    entries = CATALOG.model(model), CATALOG.chip(chip), None, CATALOG.stack(stack)
    return serve_plan(*entries, slo, PROMPTS, ANSWERS, load, **more)


@pytest.mark.parametrize(
    ("model", "chip", "stack", "slo"),
    [
        ("llama3-70b", "h100-sxm", "vllm-2025", Slo(ttft_s=1.0, tpot_s=0.05)),
        ("llama3-70b", "zhenwu-810e", "vllm-2025", Slo(ttft_s=2.5, tpot_s=0.08)),
        ("llama2-70b", "a100-sxm-80gb", "vllm-2023", Slo(ttft_s=1.5, tpot_s=0.15)),
    ],
)
def test_the_promise_holds_when_simulated(model, chip, stack, slo):
    found = plan(model, chip, stack, slo)
    flat = [option for option in found.options if option.layout.pp == 1]
    for option in flat[:2]:
        layout = shapes.layouts([option.layout.tp])
        here = machine.machine_of(CATALOG.chip(chip), None, CATALOG.stack(stack))
        seen = engine_rule.simulate(
            shapes.shape_of(CATALOG.model(model)),
            here,
            layout,
            rate=option.requests_per_s,
            inputs=PROMPTS,
            outputs=ANSWERS,
            slots=option.slots,
            count=4000,
        )
        assert np.quantile(seen.ttft_s, slo.percentile) <= slo.ttft_s
        assert np.quantile(seen.tpot_s, slo.percentile) <= slo.tpot_s


def test_options_hold_the_promise_and_the_load_and_come_fewest_chips_first():
    found = plan()
    assert found.options
    for option in found.options:
        assert option.ttft_s <= 1.0 and option.tpot_s <= 0.05
        assert option.replicas * option.capacity_requests_per_s >= 20
        assert option.chips == option.replicas * option.chips_per_replica
    chips = [option.chips for option in found.options]
    assert chips == sorted(chips) and found.best is found.options[0]


def test_one_replica_fewer_would_not_do():
    best = plan().best
    assert best is not None
    assert (best.replicas - 1) * best.capacity_requests_per_s < 20


def test_a_tighter_promise_or_more_load_never_needs_fewer_chips():
    base, tight, more = plan().best, plan(slo=Slo(ttft_s=0.6, tpot_s=0.03)).best, plan(load=40.0).best
    assert base and tight and more
    assert base.chips <= tight.chips and base.chips < more.chips


def test_each_refused_layout_has_its_reason():
    reasons = {str(one.layout): one.reason for one in plan().refused}
    assert reasons["TP 1"].startswith("weights: 141 GB a chip")
    slow = plan(slo=Slo(ttft_s=0.001, tpot_s=1.0))
    assert not slow.options and any(one.reason.startswith("TTFT") for one in slow.refused)
    slow = plan(slo=Slo(ttft_s=10.0, tpot_s=0.001))
    assert not slow.options and any(one.reason.startswith("TPOT") for one in slow.refused)


def test_the_front_trades_speed_for_throughput():
    front = plan().pareto
    assert len(front) > 5
    for one, other in pairwise(front):
        assert one.tpot_s <= other.tpot_s and one.tokens_per_s_per_chip < other.tokens_per_s_per_chip


def test_two_pools_pay_where_prompts_disturb_a_tight_tpot():
    fastest = min(point.tpot_s for point in plan().pareto)
    tight = plan(slo=Slo(ttft_s=2.0, tpot_s=1.6 * fastest)).disaggregated
    assert tight is not None and tight.pays
    assert tight.chips == tight.prefill.chips + tight.decode.chips
    assert tight.ratio == tight.prefill.replicas / tight.decode.replicas
    assert 0 < tight.transfer_s < 0.1


def test_unknown_hardware_gives_wide_intervals():
    known, unknown = plan(), plan(chip="zhenwu-810e", slo=Slo(ttft_s=2.5, tpot_s=0.08))
    assert unknown.hardware_is_a_range and not known.hardware_is_a_range
    for found in (known, unknown):
        for interval in found.intervals.values():
            assert interval.low <= interval.value <= interval.high
    assert unknown.best and unknown.intervals["chips"].value == unknown.best.chips
    assert unknown.intervals["decode_s"].high > 2 * unknown.intervals["decode_s"].low
    assert "chip memory_bytes_per_s" in unknown.estimated


def test_the_interval_lies_within_the_outer_bounds_where_inputs_are_ranges():
    found = plan("llama3-70b", "zhenwu-810e", slo=Slo(ttft_s=2.5, tpot_s=0.08))
    assert found.best
    for name, inner in found.intervals.items():
        outer = found.bounds[name]
        assert inner.value == pytest.approx(outer.value)
        assert inner.low <= inner.value <= inner.high
    speed, outer = found.intervals["tokens_per_s_per_chip"], found.bounds["tokens_per_s_per_chip"]
    assert outer.low < speed.low < speed.high < outer.high
    known = plan(load=None).intervals["chips"]
    assert known.low == known.value == known.high


def test_of_layouts_as_good_the_smaller_replica_goes_first():
    found = plan("llama3-70b", "zhenwu-810e", slo=Slo(ttft_s=2.5, tpot_s=0.08), load=None)
    first = found.options[0]
    for other in found.options[1:]:
        if other.chips_per_replica < first.chips_per_replica:
            assert other.tokens_per_s_per_chip < 0.99 * first.tokens_per_s_per_chip
        assert other.tokens_per_s_per_chip <= 1.011 * first.tokens_per_s_per_chip


def test_without_a_load_pools_are_compared_as_large_ones():
    found = plan(slo=Slo(ttft_s=1.0, tpot_s=0.03), load=None)
    apart = found.disaggregated
    assert found.best and apart
    large = plan(slo=Slo(ttft_s=1.0, tpot_s=0.03), load=2000.0)
    assert large.best and large.disaggregated
    assert apart.chips_share == pytest.approx(large.disaggregated.chips / large.best.chips, rel=0.05)
    assert apart.ratio == pytest.approx(large.disaggregated.ratio, rel=0.1)


def test_without_a_load_one_replica_is_shown_at_its_best():
    found = plan(load=None)
    assert all(option.replicas == 1 for option in found.options)
    per_chip = [option.tokens_per_s_per_chip for option in found.options]
    assert per_chip == sorted(per_chip, reverse=True)


def test_a_mixture_of_experts_is_spread():
    found = plan("deepseek-v3", "h20", slo=Slo(ttft_s=3.0, tpot_s=0.06), weights="fp8")
    assert found.best and found.best.chips_per_replica >= 8
    assert any(option.layout.ep > 1 for option in found.options)


def test_a_fabric_with_a_supernode_widens_tp():
    fabric = next(
        entry for entry in map(CATALOG.fabric, CATALOG.names("fabric")) if entry.scale_up_domain is not None
    )
    here = machine.machine_of(CATALOG.chip("h100-sxm"), fabric, CATALOG.stack("vllm-2025"))
    assert here.scale_up_domain == fabric.scale_up_domain.value


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda: plan(load=0.0), "load"),
        (lambda: plan(weights="fp3"), "weights"),
        (lambda: Slo(ttft_s=0.0, tpot_s=0.1), "slo"),
        (lambda: Slo(ttft_s=1.0, tpot_s=0.1, percentile=90), "percentile"),
    ],
)
def test_mistakes_name_the_field(ask, field):
    with pytest.raises(UserError) as told:
        ask()
    assert told.value.field == field
