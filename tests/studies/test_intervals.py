"""Means and their intervals, against scipy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from myriad.kernel.rng import Stream
from myriad.studies import intervals
from myriad.studies.intervals import Interval


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 19, 30, 99, 1000])
def test_quantiles_are_those_of_students_t(freedom: int) -> None:
    assert intervals.student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)
    assert intervals.within(1.3, freedom) == pytest.approx(2 * stats.t.cdf(1.3, freedom) - 1, rel=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_the_interval_does_not_depend_on_the_order(values: list[float]) -> None:
    assert intervals.of(values) == intervals.of(sorted(values))
    assert intervals.of(values).low <= intervals.of(values).mean <= intervals.of(values).high


def test_one_value_says_nothing_of_spread() -> None:
    assert intervals.of([3.0]).half is None
    assert intervals.of([2.0, 4.0]).half == pytest.approx(12.706, rel=1e-3)


@pytest.mark.parametrize(
    ("mean", "half", "told"),
    [
        (0.91234, 0.0131, "0.912 ± 0.013"),
        (0.91234, 0.00996, "0.9123 ± 0.0100"),
        (1234567.0, 4321.0, "1,234,600 ± 4,300"),
        (12.345, 1.5, "12.3 ± 1.5"),
        (12.345, 15.0, "12 ± 15"),
        (3.0, 0.0, "3 ± 0"),
        (3.0, None, "3"),
    ],
)
def test_no_more_digits_are_told_than_are_known(mean: float, half: float | None, told: str) -> None:
    assert intervals.shown(Interval(mean=mean, half=half, count=3)) == told


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    stream = Stream(1, "intervals")
    held = 0
    for _ in range(2000):
        # sums of uniform draws: nearly normal, mean 0
        found = intervals.of([sum(stream.uniform(-1, 1) for _ in range(12)) for _ in range(8)])
        held += found.low <= 0 <= found.high
    assert 0.935 < held / 2000 < 0.965
