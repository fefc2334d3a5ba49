"""Figures: the numbers of the catalogue, each with its status, its source and how sure it is.

Lowest module of the catalogue. People write `989 TFLOP/s`, `80 GiB`, `400 Gb/s`; inside are SI floats. Which
unit a field takes follows from the end of its name (`_bytes_per_s`, `_w`, ...), as names do everywhere here.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from myriad.kernel import units
from myriad.kernel.errors import UserError

#: published: by the maker or operator; measured: by somebody, named; derived: computed from such; estimated:
#: a judgement (press reports and memory included).
Status = Literal["published", "measured", "derived", "estimated"]


class Figure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number in SI units. `low` and `high` bound it with 80 % probability; None means nobody said."""

    value: float
    status: Status
    source: str
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        for number in (self.value, self.low, self.high):
            if number is not None and not (math.isfinite(number) and number >= 0):
                raise ValueError("a figure must be a number of zero or more")
        if not (self.low is None or self.low <= self.value) or not (
            self.high is None or self.value <= self.high
        ):
            raise ValueError("low, value and high must be in this order")
        if not self.source.strip():
            raise ValueError("source must say where the number comes from")


class Dimension(NamedTuple):
    """What a number measures, and the units people may write it in."""

    what: str
    example: str
    scales: Mapping[str, float]
    #: Units to show it in, ascending; none for plain numbers.
    shown: tuple[str, ...] = ()


def _decimal(unit: str) -> dict[str, float]:
    return {prefix + unit: 1000.0**power for power, prefix in enumerate(["", "k", "M", "G", "T", "P", "E"])}


_BITS_PER_S: Final = {unit: scale / 8 for unit, scale in _decimal("b/s").items()}
_BYTES: Final = {unit: float(scale) for unit, scale in units.BYTES.items()}
_BYTES_PER_S: Final = {f"{unit}/s": scale for unit, scale in _BYTES.items()} | _BITS_PER_S

_FLOP: Final = _decimal("FLOP")
_FLOP_PER_S: Final = _decimal("FLOP/s")
_WATTS: Final = {"W": 1.0, "kW": 1e3, "MW": 1e6}
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB")

PLAIN: Final = Dimension("a count or a share", "0.5", {"": 1.0})
SHARE: Final = Dimension("a share", "0.5", {"": 1.0})
#: By the end of a field's name; the first that fits.
DIMENSIONS: Final[Mapping[str, Dimension]] = {
    "_share": SHARE,
    "bytes_per_s": Dimension(
        "bytes a second", "3.35 TB/s", _BYTES_PER_S, ("B/s", "kB/s", "MB/s", "GB/s", "TB/s")
    ),
    "_bytes": Dimension("bytes", "80 GiB", _BYTES, _BINARY),
    "flops": Dimension("FLOP/s", "989 TFLOP/s", _FLOP_PER_S | _decimal("OP/s"), tuple(_FLOP_PER_S)),
    "_flop": Dimension("FLOP", "4 GFLOP", _FLOP, tuple(_FLOP)),
    "_w": Dimension("watts", "700 W", _WATTS, tuple(_WATTS)),
    "_s": Dimension("seconds", "2 us", _SECONDS, tuple(_SECONDS)),
}
_QUANTITY: Final = re.compile(r"\s*([-+]?[0-9][0-9_,]*(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\s*(\S*)\s*")


def dimension(field: str, parent: Dimension = PLAIN) -> Dimension:
    """What the figure in `field` measures; one that names no unit measures what its parent does."""
    return next((found for end, found in DIMENSIONS.items() if field.endswith(end)), parent)


def quantity(text: object, measures: Dimension, field: str) -> float:
    """The SI value of what somebody wrote. Raises UserError: unit missing or wrong, negative, no number."""
    match = _QUANTITY.fullmatch(str(text)) if isinstance(text, int | float | str) else None
    if not match or isinstance(text, bool):
        raise UserError("is not a number", field=field, value=text, remedy=_remedy(measures))
    number, unit = float(match[1].replace(",", "").replace("_", "")), match[2]
    if unit not in measures.scales:
        problem = f"must be {measures.what}" if unit else "has no unit"
        raise UserError(problem, field=field, value=text, remedy=_remedy(measures))
    if number < 0:
        raise UserError("must not be negative", field=field, value=text, remedy=_remedy(measures))
    if not math.isfinite(number * measures.scales[unit]):
        raise UserError("is too large a number", field=field, value=text, remedy=_remedy(measures))
    if measures is SHARE and number > 1:
        raise UserError(
            "must be 1 or less", field=field, value=text, remedy="Write 0.4 where you mean 40 percent"
        )
    return number * measures.scales[unit]


def _remedy(measures: Dimension) -> str:
    known = ", ".join(unit for unit in measures.scales if unit)
    return f"Write for example {measures.example} (" + (f"units: {known})" if known else "without a unit)")


def settle(tree: Any, field: str, problems: list[UserError], measures: Dimension = PLAIN) -> Any:
    """`tree` with every figure's numbers in SI. What cannot be read becomes 0 and one more of `problems`."""
    if isinstance(tree, list):
        return [settle(item, f"{field}[{number}]", problems, measures) for number, item in enumerate(tree)]
    if not isinstance(tree, dict):
        return tree
    found: dict[Any, Any] = {}
    figure = "value" in tree
    for key, item in tree.items():
        name = f"{field}.{key}" if "." in field or ": " in field else f"{field}: {key}"
        if figure and key in ("value", "low", "high"):
            try:
                found[key] = quantity(item, measures, name)
            except UserError as error:
                problems.append(error)
                found[key] = None if key != "value" else 0.0
        else:
            found[key] = settle(item, name, problems, dimension(str(key), measures))
    return found
