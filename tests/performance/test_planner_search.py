"""The search finds what trying everything finds, and counts all it leaves out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myriad.performance import bounds, front, search, space
from myriad.performance.training import predict
from tests.performance import planning

CASES = {
    "dense": planning.setting(),
    "dense, tight": planning.setting("llama3-70b", chips=32, batch=64, sequence=4096),
    "zero bubble": replace(planning.setting(batch=32), zero_bubble=True),
    "experts": planning.setting("mixtral-8x7b", chips=16, batch=32),
    "odd chips": planning.setting("llama2-13b", chips=24, batch=24),
}


@pytest.mark.parametrize("name", ["dense", "zero bubble", "experts", "odd chips"])
def test_the_best_is_the_best_of_everything(name: str) -> None:
    of = CASES[name]
    here, work = planning.machine(), planning.work(of)
    rows = [row for row in planning.everything(of) if planning.legal(of, row)]
    found = search.run(of, work, here)
    assert int((found.rule < 0).sum()) == len(rows), "as many are legal"
    predicted = predict(work, here, planning.layouts(rows))
    fits = predicted.peak_bytes <= search.usable_bytes(here)
    assert int((found.fits & (found.rule < 0)).sum()) == int(fits.sum())
    best = found.near[0]
    assert found.step_s[best] == pytest.approx(predicted.step_s[fits].min(), rel=2e-4)
    assert found.step_s[found.near].min() == pytest.approx(predicted.step_s[fits].min(), rel=1e-12)


@pytest.mark.parametrize("name", list(CASES))
def test_leaving_out_by_bounds_changes_nothing(name: str) -> None:
    of = CASES[name]
    pruned = search.run(of, planning.work(of), planning.machine())
    whole = search.run(of, planning.work(of), planning.machine(), pruned=False)
    assert np.array_equal(pruned.near, whole.near)
    assert np.array_equal(np.sort(pruned.front), np.sort(whole.front))
    assert list(search.regions(pruned)) == list(search.regions(whole))


@pytest.mark.parametrize("name", list(CASES))
def test_bounds_hold_and_memory_is_exact(name: str) -> None:
    of = CASES[name]
    built = space.build(of, space.axes(of))
    known = bounds.of(planning.work(of), planning.machine(), built.layouts)
    predicted = predict(planning.work(of), planning.machine(), built.layouts)
    assert (known.least_s <= predicted.step_s * (1 + 1e-12)).all()
    assert known.peak_bytes == pytest.approx(predicted.peak_bytes, rel=1e-12)


@given(
    chips=st.sampled_from([8, 16, 24, 40, 64, 96, 128]),
    batch=st.sampled_from([8, 12, 16, 60, 128]),
    domain=st.sampled_from([1, 4, 8, 64]),
    model=st.sampled_from(["llama3-8b", "llama2-13b", "qwen3-30b-a3b", "gpt-22b"]),
)
@settings(max_examples=25, deadline=None)
def test_every_layout_is_legal_or_has_a_reason(chips: int, batch: int, domain: int, model: str) -> None:
    of = planning.setting(model, chips=chips, batch=batch, domain=domain)
    built = space.build(of, space.axes(of))
    assert int(built.struck.sum()) + len(built.layouts) == built.considered
    without = space.build(of, space.axes(of), timed=False)
    assert int(without.struck.sum()) + len(without.layouts) == built.considered
    assert len(without.layouts) == int((built.rule < 0).sum())
    for position in range(0, len(without.layouts), max(len(without.layouts) // 50, 1)):
        row = {name: int(getattr(without.layouts, name)[position]) for name in (*space.axes(of), "dp")}
        assert planning.legal(of, row)


@pytest.mark.parametrize("name", ["dense, tight", "experts"])
def test_more_memory_never_makes_the_best_slower(name: str) -> None:
    of = CASES[name]
    times = []
    for gib in (24, 40, 80, 160, 320):
        here = replace(planning.machine(), memory_bytes=np.array(gib * 2.0**30))
        found = search.run(of, planning.work(of), here)
        times.append(found.step_s[found.near].min() if len(found.near) else np.inf)
    assert times == sorted(times, reverse=True)
    assert np.isfinite(times[-1])


@pytest.mark.parametrize("name", list(CASES))
def test_nothing_beats_the_front_and_it_beats_the_rest(name: str) -> None:
    of = CASES[name]
    found = search.run(of, planning.work(of), planning.machine(), pruned=False)
    able = np.flatnonzero((found.rule < 0) & found.fits)
    step, peak = found.step_s, found.peak_bytes
    for one in found.front:
        beats = (step[able] <= step[one]) & (peak[able] <= peak[one])
        strictly = beats & ((step[able] < step[one]) | (peak[able] < peak[one]))
        assert not strictly.any()
    for one in able:
        assert ((step[found.front] <= step[one]) & (peak[found.front] <= peak[one])).any()


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=40))
def test_the_front_of_three_numbers(points: list[tuple[int, int, int]]) -> None:
    columns = np.array(points, dtype=float).T
    chosen = {tuple(columns[:, n]) for n in front.of_three(*columns)}
    for point in {tuple(map(float, point)) for point in points}:
        beaten = any(
            other != point and all(a <= b for a, b in zip(other, point, strict=True))
            for other in (tuple(map(float, other)) for other in points)
        )
        assert (point in chosen) == (not beaten)


def test_alternatives_differ_in_more_than_details() -> None:
    of = CASES["zero bubble"]
    found = search.run(of, planning.work(of), planning.machine())
    chosen = search.varied(found, 4)
    columns = found.layouts
    keys = {
        (columns.tp[n], columns.pp[n], columns.ep[n], columns.schedule[n] > 0, columns.zero[n] >= 2)
        for n in chosen
    }
    assert len(keys) == len(chosen) <= 4
    assert any(columns.schedule[n] == 0 for n in chosen), "one without a zero-bubble schedule"
