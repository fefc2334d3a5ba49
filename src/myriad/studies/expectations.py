"""What a scenario expects of its own simulation, and whether it came so.

The section `expect` maps a figure of the result to a bound: `">= 0.9"`, `"419 +- 41"`, `"90 +- 5%"` (of the
90), `"between 0.9 and 1"`, `"3"`. Numbers may be percent; figures that are spans (`..._ns`, `..._s`) need a
unit.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from myriad.kernel import units
from myriad.kernel.errors import UserError, near

_FIGURE: Final = r"[-+]?\d[\d,_]*(?:\.\d+)?(?:[eE][-+]?\d+)?"
_NUMBER: Final = rf"{_FIGURE}\s*(?:%|[a-z]+)?"
_COMPARED: Final = re.compile(rf"(?P<sign>>=|<=|>|<|=|==)?\s*(?P<value>{_NUMBER})")
_AROUND: Final = re.compile(rf"(?P<value>{_NUMBER})\s*(?:\+-|\+/-|±)\s*(?P<margin>{_NUMBER})")
_BETWEEN: Final = re.compile(rf"between\s+(?P<low>{_NUMBER})\s+and\s+(?P<high>{_NUMBER})")
_PARTS: Final = re.compile(rf"(?P<number>{_FIGURE})\s*(?P<unit>%|[a-z]*)")
_EXAMPLES: Final = 'Write for example ">= 0.9", "419 +- 41", "90 +- 5%" or "between 0.9 and 1"'
_INFINITE: Final = float("inf")
#: Counts by name: one that is not told is none.
_COUNTS: Final = ("jobs.", "stops.", "faults.")


class Expectation(NamedTuple):
    """One line of the section `expect`."""

    figure: str
    text: str  # as it was written
    low: float
    high: float
    open: bool  # whether the ends themselves are not enough


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """An expectation, and what came."""

    figure: str
    expected: str
    #: None: the simulation has no such figure.
    found: float | None
    held: bool


def parse(section: Mapping[str, Any], source: str) -> list[Expectation]:
    """Every expectation of a section. Raises UserError naming the figure."""
    return [_parse(str(figure), text, f"{source}: expect.{figure}") for figure, text in section.items()]


def judge(expected: Iterable[Expectation], figures: Mapping[str, float]) -> list[Judged]:
    """Which expectations hold. A figure that the simulation does not have breaks its own."""
    return [_judge(one, _found(one.figure, figures)) for one in expected]


def is_span(figure: str) -> bool:
    """Whether a figure is a span of time, by the end of its name."""
    return figure.endswith(("_ns", "_s")) and not figure.endswith("_per_s")


def shown(figure: str, value: float | None) -> str:
    """A figure for people."""
    if value is None:
        return "no such figure"
    if is_span(figure):
        return units.show_span(round(value if figure.endswith("_ns") else value * units.SECOND))
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def check_names(expected: Iterable[Expectation], known: Iterable[str], source: str) -> None:
    """Raises UserError when a figure begins with a name that no result has, before anything is simulated."""
    names = list(known)
    for one in expected:
        first = one.figure.partition(".")[0]
        if first not in names:
            field = f"{source}: expect.{one.figure}"
            raise UserError("is not a figure of a simulation", field=field, remedy=near(first, names))


def _found(figure: str, figures: Mapping[str, float]) -> float | None:
    return figures.get(figure, 0.0 if figure.startswith(_COUNTS) else None)


def _judge(one: Expectation, found: float | None) -> Judged:
    if found is None:
        held = False
    elif one.open:
        held = one.low < found < one.high
    else:
        held = one.low <= found <= one.high
    return Judged(figure=one.figure, expected=one.text, found=found, held=held)


def _parse(figure: str, given: Any, field: str) -> Expectation:
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise UserError("is no expectation", field=field, value=given, remedy=_EXAMPLES)
    text = str(given).strip()
    if match := _BETWEEN.fullmatch(text):
        low, high = _number(match["low"], figure, field), _number(match["high"], figure, field)
        if low > high:
            raise UserError("is between nothing", field=field, value=text, remedy="Write the smaller first")
        return Expectation(figure, text, low, high, False)
    if match := _AROUND.fullmatch(text):
        value = _number(match["value"], figure, field)
        margin = _margin(match["margin"], match["value"], value, figure, field)
        return Expectation(figure, text, value - margin, value + margin, False)
    match = _COMPARED.fullmatch(text)
    if not match:
        raise UserError("is no expectation", field=field, value=given, remedy=_EXAMPLES)
    value, sign = _number(match["value"], figure, field), match["sign"] or "="
    low = -_INFINITE if sign.startswith("<") else value
    high = _INFINITE if sign.startswith(">") else value
    return Expectation(figure, text, low, high, sign in ("<", ">"))


def _margin(text: str, centre: str, value: float, figure: str, field: str) -> float:
    """The margin: a share of the value where only the margin is in percent."""
    if text.endswith("%") and not centre.endswith("%"):
        return abs(value) * _plain(text.removesuffix("%")) / 100
    return abs(_number(text, figure, field))


def _number(text: str, figure: str, field: str) -> float:
    """A number as figures have it: percent as a share, a span in nanoseconds or seconds."""
    match = _PARTS.fullmatch(text.strip())
    assert match, text
    number, unit = _plain(match["number"]), match["unit"]
    if is_span(figure):
        if unit not in units.SPANS:
            remedy = f"Write for example 90s (units: {', '.join(units.SPANS)})"
            raise UserError("is a span and needs a unit", field=field, value=text, remedy=remedy)
        return number * units.SPANS[unit] / (1 if figure.endswith("_ns") else units.SECOND)
    if unit == "%":
        return number / 100
    if unit:
        remedy = "Write a number or a percentage; only spans have a unit"
        raise UserError("has a unit that this figure has not", field=field, value=text, remedy=remedy)
    return number


def _plain(text: str) -> float:
    return float(text.replace(",", "").replace("_", ""))
