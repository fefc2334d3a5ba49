"""The figures of a simulation by name: every number of its result, as expectations and sweeps address them.

A number inside of a mapping is named with dots (`jobs.failed`, `wait.small.p50`). A mapping of counts has
its own name for their sum (`interruptions`), and chip-time is also told as a share of capacity
(`share.productive`).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

#: Parts of a result that are no figures: what was asked for, and how long the machine took.
_NOT_FIGURES: Final = ("name", "seed", "series", "digest", "wall_s", "span_ns")


def of(outcome: Mapping[str, Any]) -> dict[str, float]:
    """Every figure of an outcome (plain values)."""
    found: dict[str, float] = {}
    for key, value in outcome.items():
        if key not in _NOT_FIGURES:
            found.update(_flat(key, value))
    capacity = outcome.get("capacity_chip_ns") or 0
    for bucket, chip_ns in (outcome.get("buckets") or {}).items():
        found[f"share.{bucket}"] = chip_ns / capacity if capacity else 0.0
    return found


def roots(fields: Iterator[str] | tuple[str, ...]) -> list[str]:
    """Names that figures of an outcome with these fields may begin with."""
    return [*(field for field in fields if field not in _NOT_FIGURES), "share"]


def _flat(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield name, value
    elif isinstance(value, Mapping):
        if value and all(type(one) is int for one in value.values()):
            yield name, sum(value.values())
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
