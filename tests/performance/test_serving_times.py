"""One step: what must grow, shrink or stay when one thing changes.

And the published times it was calibrated on.
"""

from dataclasses import replace

import numpy as np
import pytest

from myriad.catalog.shelf import Catalog
from myriad.kernel.errors import UserError
from myriad.performance.serving import machine, shapes, times
from myriad.studies import inference_runs

CATALOG = Catalog.shipped()
CHIPS = ("h100-sxm", "a100-sxm-80gb", "zhenwu-810e")
MODELS = ("llama3-70b", "deepseek-v3", "bloom-176b", "qwen3-235b-a22b")


def engine(
    chip: str = "h100-sxm", stack: str = "vllm-2025", end: machine.End = "value"
) -> machine.ServingMachine:
    return machine.machine_of(CATALOG.chip(chip), None, CATALOG.stack(stack), end)


def shape(model: str = "llama3-70b", **precision: str) -> shapes.Shape:
    return shapes.shape_of(CATALOG.model(model), **precision)


@pytest.mark.parametrize("stack", ["vllm-2023", "vllm-2025"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("chip", CHIPS)
def test_more_work_is_never_faster(chip, model, stack):
    here, of, layout = engine(chip, stack), shape(model), shapes.layouts(8)
    lengths = np.array([1, 16, 128, 512, 1024, 2048, 3000, 4096, 8192, 32768])
    assert (np.diff(times.prefill(of, here, layout, prompt=lengths)) > 0).all()
    assert (np.diff(times.prefill(of, here, layout, prompt=512, batch=[1, 2, 4, 8, 64])) > 0).all()
    assert (np.diff(times.decode(of, here, layout, batch=16, context=lengths)) > 0).all()
    assert (np.diff(times.decode(of, here, layout, batch=[1, 2, 8, 64, 256], context=1024)) > 0).all()


@pytest.mark.parametrize("model", MODELS)
def test_a_step_with_prompts_and_sequences_takes_longer_than_either_and_less_than_both(model):
    here, of, layout = engine(), shape(model), shapes.layouts(8)
    read = times.prefill(of, here, layout, prompt=512)
    run = times.decode(of, here, layout, batch=64, context=1024)
    both = times.step(of, here, layout, prompt=512, prompts=1, running=64, context=1024).total_s
    assert max(read, run) < both < read + run


def test_causes_sum_to_the_step():
    found = times.step(
        shape("deepseek-v3"),
        engine(),
        shapes.layouts(8, 2, [1, 8, 32]),
        prompt=300,
        prompts=2,
        running=9,
        context=500,
    )
    assert found.total_s == pytest.approx(sum(found[1:]))
    assert all((part >= 0).all() for part in found[:-1])


def test_more_tp_never_holds_more_weights_and_never_leaves_less_room():
    for model in MODELS:
        layout = shapes.layouts([1, 2, 4, 8, 16])
        assert (np.diff(shapes.chip_weight_bytes(shape(model), layout)) < 0).all()
        assert (np.diff(shapes.kv_tokens(shape(model), engine(), layout)) > 0).all()


def test_weights_of_one_chip_are_the_whole_model():
    for name in MODELS:
        model = CATALOG.model(name)
        held = shapes.chip_weight_bytes(shapes.shape_of(model), shapes.layouts(1))
        assert held == pytest.approx(2 * model.parameters, rel=1e-12)


def test_fp8_keys_and_values_double_the_room_and_fp8_weights_halve_the_weights():
    layout = shapes.layouts(8)
    room = shapes.kv_tokens(shape(), engine(), layout)
    assert shapes.kv_tokens(shape(kv="fp8"), engine(), layout) == pytest.approx(2 * room, abs=2)
    ratio = shapes.chip_weight_bytes(shape(weights="fp8"), layout) / shapes.chip_weight_bytes(shape(), layout)
    assert 0.5 < ratio < 0.53  # embeddings stay in bf16


def test_mla_needs_far_less_than_heads_of_their_own():
    mla = shape("deepseek-v3")
    mha = 2 * 128 * 128 * 2  # the same heads, uncompressed
    assert mla.kv_bytes == 2 * (512 + 64)
    assert mla.kv_bytes < mha / 25
    # but each chip of a TP group holds all of it
    assert shapes.chip_kv_bytes(mla, shapes.layouts(8)) == shapes.chip_kv_bytes(mla, shapes.layouts(1))


def test_grouped_heads_are_copied_once_tp_passes_their_number():
    of = shape()
    assert shapes.chip_kv_bytes(of, shapes.layouts(8)) == shapes.chip_kv_bytes(of, shapes.layouts(16))


def test_distinct_experts():
    tokens = np.array([0.0, 1.0, 2.0, 64.0, 1e5])
    found = shapes.distinct_experts(256, 8, tokens)
    assert found == pytest.approx([0, 8, 256 * (1 - (248 / 256) ** 2), 256 * (1 - (248 / 256) ** 64), 256])
    rng = np.random.default_rng(7)
    drawn = [len({e for _ in range(64) for e in rng.choice(256, 8, replace=False)}) for _ in range(200)]
    assert found[3] == pytest.approx(np.mean(drawn), rel=0.01)


def test_a_small_batch_of_a_mixture_reads_only_the_experts_it_meets():
    of, here, layout = shape("deepseek-v3", weights="fp8"), engine("h200-sxm"), shapes.layouts(8)
    one, many = times.decode(of, here, layout, batch=[1, 256], context=1)
    assert many > 3 * one


def test_spreading_experts_pays_for_large_batches_only_with_its_own_messages():
    found = times.step(
        shape("deepseek-v3"),
        engine(),
        shapes.layouts(1, 1, [8, 32]),
        prompt=0,
        prompts=0,
        running=64,
        context=1000,
    )
    assert (found.ep_s > 0).all() and found.tp_s == pytest.approx(0)
    assert found.ep_s[1] > 2 * found.ep_s[0]  # beyond the scale-up links


def test_the_slow_end_is_slower_and_the_fast_end_faster():
    for chip in CHIPS:
        value, worst, best = (
            times.prefill(shape(), engine(chip, end=end), shapes.layouts(8), prompt=1000)
            for end in ("value", "worst", "best")
        )
        assert best < value < worst


def test_a_power_cap_stretches_prefill_alone():
    capped, layout = replace(engine(), prefill_clock=0.5), shapes.layouts(8)
    read = times.prefill(shape(), engine(), layout, prompt=1000)
    assert times.prefill(shape(), capped, layout, prompt=1000) == pytest.approx(2 * read)
    run = times.decode(shape(), engine(), layout, batch=4, context=100)
    assert times.decode(shape(), capped, layout, batch=4, context=100) == pytest.approx(run)


def test_moving_keys_and_values_costs_bytes_over_nics():
    of, here = shape(), engine()
    sent = 2000 * of.kv_bytes * of.layers / 8
    expected = here.nic_latency_s + sent / (here.nic_bytes_per_s * here.nic_share)
    assert times.transfer(of, here, shapes.layouts(8), 2000) == pytest.approx(expected)


def test_what_is_not_known_is_told():
    with pytest.raises(UserError, match="weights: is not a precision"):
        shape(weights="fp7")
    with pytest.raises(UserError, match="is not a serving stack"):
        machine.machine_of(CATALOG.chip("h100-sxm"), None, CATALOG.stack("reference"))


def test_published_times_are_met():
    runs = inference_runs.read()
    machines = inference_runs.machines(CATALOG, runs)
    fits = inference_runs.fits(CATALOG, runs, machines)
    assert [(t, b) for t, b in zip(runs.tp[~fits], runs.batch[~fits], strict=True)] == [(2, 64)] * 3
    prefill_s, decode_s = inference_runs.predict(CATALOG, runs, machines)
    weights = runs.repeats[fits]
    prefill = np.average(np.abs(prefill_s / runs.prefill_s - 1)[fits], weights=weights)
    decode = np.average(np.abs(decode_s / runs.decode_s - 1)[fits], weights=weights)
    assert prefill < 0.05 and decode < 0.035
