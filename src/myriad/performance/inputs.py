"""Which figures behind a plan are judgements: estimated, or derived and known only as a range.

Below `planner`. A parameter that a calibration derived has an interval too, but runs were measured to get it.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from myriad.catalog import listing
from myriad.catalog.chips import Chip
from myriad.catalog.fabrics import Fabric
from myriad.catalog.figures import Figure
from myriad.catalog.stacks import Stack
from myriad.performance.answers import Input
from myriad.performance.machine import LEVELS, STACK

#: Figures of a chip that training reads, its peak FLOP/s and the share of low precision left out.
_READ: Final = (
    "memory_bytes", "memory_bytes_per_s", "scale_up_bytes_per_s",
    *(
        f"parameters.{name}"
        for name in (
            "gemm_share", "gemm_half", "attention_share", "memory_share", "scale_up_share",
            "scale_up_latency_s", "nic_share", "nic_latency_s",
        )
    ),
)  # fmt: skip
#: Of these, those that decide a step time.
_DECISIVE: Final = ("flops", "memory_bytes_per_s", "gemm_share", "scale_up_bytes_per_s")


def judged(chip: Chip, fabric: Fabric, stack: Stack, precision: str) -> Iterator[Input]:
    """Judgements among the figures that a plan in this precision reads."""
    plain = precision == "bf16"
    peak = chip.training_precision if plain else precision
    read = {*_READ, f"flops.{peak}"} | (set() if plain else {f"parameters.{precision}_share"})
    levels = tuple(f"levels.{number}." for number in range(LEVELS - 1))
    rows = [("chip", row) for row in listing.rows(chip) if row.field in read]
    rows += [("fabric", row) for row in listing.rows(fabric) if row.field.startswith((*levels, "scale_up"))]
    rows += [("stack", row) for row in listing.rows(stack) if row.field.removeprefix("parameters.") in STACK]
    for of, row in rows:
        figure = row.figure
        if _is_judgement(figure):
            shown = listing.show(figure.value, row.measures)
            name = f"{of}.{row.field.removeprefix('parameters.')}"
            yield Input(name, figure.value, figure.low, figure.high, shown, figure.status, figure.source)


def decisive(found: Iterable[Input]) -> bool:
    """Whether one of the figures that decide a step time is known only as a range."""
    names = (one.name.split(".")[1] for one in found if one.name.startswith("chip.") and one.low is not None)
    return any(name in _DECISIVE for name in names)


def _is_judgement(figure: Figure) -> bool:
    if figure.status == "estimated":
        return True
    return (
        figure.status == "derived" and figure.low is not None and not figure.source.startswith("calibrated")
    )
