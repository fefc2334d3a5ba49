"""Numbers: whatever is written with a unit is read exactly, and whatever has the wrong one is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myriad.catalog import figures, listing
from myriad.catalog.figures import DIMENSIONS, PLAIN, Dimension, Figure
from myriad.kernel.errors import UserError

MEASURES = st.sampled_from([*DIMENSIONS.values(), PLAIN])
UNITS = {unit for measures in DIMENSIONS.values() for unit in measures.scales} - {""}


@given(MEASURES, st.floats(0, 1, allow_subnormal=False), st.data())
def test_a_number_is_read_in_any_unit_of_its_dimension(
    measures: Dimension, number: float, data: st.DataObject
) -> None:
    unit = data.draw(st.sampled_from(sorted(measures.scales)))
    text = f"{number:.6f} {unit}"
    assert math.isclose(figures.quantity(text, measures, "x"), round(number, 6) * measures.scales[unit])


@given(MEASURES, st.sampled_from(sorted(UNITS | {"", "TFLOPS", "Gbps"})))
def test_a_wrong_or_missing_unit_is_refused_with_an_example(measures: Dimension, unit: str) -> None:
    if unit in measures.scales:
        return
    with pytest.raises(UserError) as told:
        figures.quantity(f"0.5 {unit}", measures, "chip.x")
    assert told.value.field == "chip.x"
    assert measures.example in told.value.remedy
    assert told.value.value == f"0.5 {unit}"


@given(MEASURES.filter(lambda one: bool(one.shown)), st.floats(1e-3, 1e3), st.data())
def test_what_is_shown_reads_back_to_four_digits(
    measures: Dimension, number: float, data: st.DataObject
) -> None:
    value = number * measures.scales[data.draw(st.sampled_from(measures.shown))]
    again = figures.quantity(listing.show(value, measures), measures, "x")
    assert math.isclose(again, value, rel_tol=1e-3, abs_tol=0.01 * measures.scales[measures.shown[0]])


@pytest.mark.parametrize("text", ["-1 W", "1e400 W", "W", "", "nan W", None, True, [1]])
def test_what_is_no_amount_is_refused(text: object) -> None:
    with pytest.raises(UserError):
        figures.quantity(text, DIMENSIONS["_w"], "power_w")


def test_a_share_is_at_most_one() -> None:
    with pytest.raises(UserError, match="1 or less"):
        figures.quantity(40, figures.dimension("gemm_share"), "gemm_share")


@pytest.mark.parametrize(
    ("field", "example"),
    [
        ("memory_bytes", "80 GiB"),
        ("memory_bytes_per_s", "3.35 TB/s"),
        ("nic_latency_s", "2 us"),
        ("flops", "989 TFLOP/s"),
        ("power_w", "700 W"),
        ("gemm_half_flop", "4 GFLOP"),
    ],
)
def test_the_name_of_a_field_says_its_unit(field: str, example: str) -> None:
    assert figures.dimension(field).example == example


def test_bits_are_an_eighth_of_bytes() -> None:
    per_s = figures.dimension("nic_bytes_per_s")
    assert figures.quantity("400 Gb/s", per_s, "x") == figures.quantity("50 GB/s", per_s, "x") == 50e9


@pytest.mark.parametrize(
    ("value", "low", "high"), [(1, 2, 3), (4, 2, 3), (-1, None, None), (math.nan, None, None)]
)
def test_a_figure_lies_in_its_interval(value: float, low: float | None, high: float | None) -> None:
    with pytest.raises(ValueError):
        Figure(value=value, low=low, high=high, status="estimated", source="a test")
