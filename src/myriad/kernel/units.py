"""Units: people write `90s`, `1.5GiB`, `15.6T`; inside are integer nanoseconds, bytes and plain counts.

A bare number where a unit is due is refused, because `timeout: 5` has cost people real jobs.
"""

import functools
import re
from collections.abc import Mapping
from typing import Final

#: Nanoseconds since the Unix epoch (or since the start of a virtual world).
Instant = int
#: Nanoseconds.
Span = int

MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

SPANS: Final[Mapping[str, int]] = {
    "ns": 1,
    "us": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": MINUTE,
    "min": MINUTE,
    "h": HOUR,
    "d": DAY,
}
BYTES: Final[Mapping[str, int]] = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
COUNTS: Final[Mapping[str, int]] = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}

_QUANTITY = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*$")


def _parse(text: str, units: Mapping[str, int], example: str) -> int:
    match = _QUANTITY.match(text)
    unit = match[2] if match else ""
    if not match or unit not in units:
        known = ", ".join(name for name in units if name)
        why = "has no unit" if match and not unit else "is not understood"
        raise ValueError(f"{text!r} {why}: write for example {example} (units: {known})")
    whole, _, part = match[1].partition(".")
    # exact in integers: 0.1 s is 100,000,000 ns and not a float near it
    scale = units[unit]
    return int(whole) * scale + (int(part) * scale // 10 ** len(part) if part else 0)


@functools.cache
def span_ns(text: str) -> Span:
    """Nanoseconds of `250ms`, `90s`, `1.5h`. Raises ValueError when the unit is missing or unknown."""
    return _parse(text, SPANS, "90s")


def check_span(name: str, text: str) -> None:
    """Raises ValueError, naming the field, unless the text is a span."""
    try:
        span_ns(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def size_bytes(text: str) -> int:
    """Bytes of `512MiB`, `80GB`. Raises ValueError when the unit is missing or unknown."""
    return _parse(text, BYTES, "16GiB")


def count(text: str) -> int:
    """A count of `15.6T`, `2M`, `300`. Raises ValueError when the suffix is unknown."""
    return _parse(text, COUNTS, "2M")


def seconds(span: Span) -> float:
    """Seconds of a span, for people and formulas."""
    return span / SECOND


def show_span(span: Span) -> str:
    """A span as people read it, two units at most: `1h 05m`, `12.3s`, `85ms`."""
    if span < 0:
        return "-" + show_span(-span)
    if span < SECOND:
        return f"{span / MILLISECOND:.0f}ms"
    if span < MINUTE:
        return f"{span / SECOND:.1f}s"
    if span < HOUR:
        return f"{span // MINUTE}m {span % MINUTE // SECOND:02d}s"
    if span < DAY:
        return f"{span // HOUR}h {span % HOUR // MINUTE:02d}m"
    return f"{span // DAY}d {span % DAY // HOUR:02d}h"


def show_bytes(number: float) -> str:
    """Bytes as people read them, in binary units: `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
