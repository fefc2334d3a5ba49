"""What failures cost a training run: checkpoints, lost work, restarts, and the calendar time that is left.

Usable alone; `recover` takes its checkpoint interval from here. Sources of the formulas: Young (1974) and
Daly (2006). Of the numbers: ByteRobust (2025), tables 7 and 8; The Llama 3 Herd of Models (2024).
"""

import math
from dataclasses import dataclass
from typing import Final

from myriad.kernel import units
from myriad.kernel.errors import UserError
from myriad.kernel.units import DAY

DAY_S: Final = 86_400.0
#: Weight in 16 bits, master weight and two Adam moments in 32.
STATE_BYTES: Final = 14.0
#: What a node writes to storage while all do, bytes/s: Llama 3's 2 TB/s over some 2,000 nodes. Estimated.
WRITE_BYTES_PER_S: Final = 1e9
#: Agreement of all ranks around a write. With the rate above a write of a 70B model on 256 nodes takes 6.8 s
#: and of a 256B model on 512 nodes 10 s; ByteRobust (table 8) measured 6.8 to 7.1 s and 13 s. Derived.
WRITE_LATENCY_S: Final = 3.0
#: Requeue of a whole job: 454 s at 2,048 chips, 545, 635 and 768 s at each doubling (ByteRobust, table 7).
#: Measured.
REQUEUE_S: Final = 454.0
REQUEUE_CHIPS: Final = 2048
REQUEUE_DOUBLING_S: Final = 105.0
#: Restart in place, as after an update of the code: 46 s at 2,048 chips, 51, 54 and 65 s at each doubling
#: (table 7); least squares. Measured.
IN_PLACE_S: Final = 45.0
IN_PLACE_DOUBLING_S: Final = 6.0
#: Replacing lost nodes by warm standbys is so much faster than a requeue, and than scheduling new nodes for
#: the lost ones only (ByteRobust, 2025). Measured.
STANDBY_SPEEDUP: Final = 10.87
STANDBY_OVER_RESCHEDULE: Final = 5.36
#: From a fault to its detection, with inspections of the nodes (ByteRobust, table 3: 10 to 60 s). Measured.
DETECT_S: Final = 60.0
_LEAST_RESTART_S: Final = 120.0
_LEAST_IN_PLACE_S: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodput:
    """A job under failures that come independently, the first of any chip interrupts all."""

    failures_per_chip_day: float
    mean_between_s: float  # of the whole job
    checkpoint_bytes: float
    checkpoint_s: float  # all chips wait this long for each
    interval_s: float  # between checkpoints
    restart_s: float
    #: Share of the wall clock in which steps are done that are kept.
    share: float


def young_daly(cost: float, mean: float) -> float:
    """Best time of work between checkpoints that cost `cost`, failures coming every `mean`; any unit of time.

    Daly's first-order optimum sqrt(2 C M) - C for C < 2 M, else M; never more often than the cost.
    """
    best = math.sqrt(2.0 * cost * mean) - cost if cost < 2 * mean else mean
    return max(best, cost)


def share(interval_s: float, cost_s: float, restart_s: float, mean_s: float) -> float:
    """Expected share of useful time (Daly, 2006): exponential failures, also while a checkpoint is written.

    A segment of `interval_s` takes M e^(R/M) (e^((t + C)/M) - 1) on average, so the share is above 0 at any
    rate.
    """
    exponent = (interval_s + cost_s) / mean_s
    if exponent + restart_s / mean_s > 500:
        return 0.0
    return interval_s / (mean_s * math.exp(restart_s / mean_s) * math.expm1(exponent))


def mean_between_s(chips: float, failures_per_chip_day: float) -> float:
    """Mean time to failure of a gang that the failure of any chip interrupts: 1 / (N r)."""
    return DAY_S / (chips * failures_per_chip_day)


def first_order(interval_s: float, cost_s: float, restart_s: float, mean_s: float) -> float:
    """The same to first order in the losses (Kokolis et al., HPCA 2025): (1 - (R + t/2)/M) / (1 + C/t).

    Below 0 where it means nothing: see `first_order_error`.
    """
    return (1.0 - losses(interval_s, restart_s, mean_s)) / (1.0 + cost_s / interval_s)


def losses(interval_s: float, restart_s: float, mean_s: float) -> float:
    """Share of the time that failures take, to first order: half an interval and a restart each."""
    return (restart_s + interval_s / 2.0) / mean_s


def first_order_error(interval_s: float, cost_s: float, restart_s: float, mean_s: float) -> float:
    """How far `first_order` may be below `share`: half the square of the losses, checkpoints in them.

    Expanding `share` for small x = (R + (t + C)/2)/M leaves R^2/2 + R t/2 + t^2/12 in units of M, at most
    x^2/2.
    """
    return losses(interval_s + cost_s, restart_s, mean_s) ** 2 / 2.0


def expected(
    *,
    parameters: float,
    chips: int,
    chips_per_node: int,
    failures_per_chip_day: float,
    checkpoint_s: float | None = None,
    restart_s: float | None = None,
) -> Goodput:
    """The goodput of a run of a model of `parameters` weights; times that are not given are estimated.

    A checkpoint is taken to be written while training waits, its bytes spread over all nodes.
    """
    mean = mean_between_s(chips, failures_per_chip_day)
    size = STATE_BYTES * parameters
    cost = write_s(size, max(chips // chips_per_node, 1)) if checkpoint_s is None else checkpoint_s
    restart = requeue_s(chips) + DETECT_S if restart_s is None else restart_s
    interval = young_daly(cost, mean)
    return Goodput(
        failures_per_chip_day=failures_per_chip_day,
        mean_between_s=mean,
        checkpoint_bytes=size,
        checkpoint_s=cost,
        interval_s=interval,
        restart_s=restart,
        share=share(interval, cost, restart, mean),
    )


def write_s(size_bytes: float, nodes: int) -> float:
    """Time to write a checkpoint from all nodes at once."""
    return size_bytes / (nodes * WRITE_BYTES_PER_S) + WRITE_LATENCY_S


def requeue_s(chips: int) -> float:
    """Time from the end of a job to its first step on the same chips."""
    return max(REQUEUE_S + REQUEUE_DOUBLING_S * math.log2(chips / REQUEUE_CHIPS), _LEAST_RESTART_S)


def in_place_s(chips: int) -> float:
    """Time of a restart on the same nodes without giving them back."""
    return max(IN_PLACE_S + IN_PLACE_DOUBLING_S * math.log2(chips / REQUEUE_CHIPS), _LEAST_IN_PLACE_S)


def standby_s(chips: int) -> float:
    """Time to go on with warm standbys in place of lost nodes."""
    return requeue_s(chips) / STANDBY_SPEEDUP


def reschedule_s(chips: int) -> float:
    """Time to go on with nodes that are started anew in place of lost ones."""
    return standby_s(chips) * STANDBY_OVER_RESCHEDULE


def rate(text: str) -> float:
    """Failures per chip-day of `0.5` (failures per 1,000 chip-days) or `2000d`, `5y` (MTBF of one chip).

    Raises UserError.
    """
    try:
        if text.replace(".", "", 1).isdigit():
            found = float(text) / 1000
        elif text.endswith("y"):
            found = 1 / (float(text[:-1]) * 365.25)
        else:
            found = DAY / units.span_ns(text)
    except (ValueError, ZeroDivisionError):
        found = 0.0
    if found <= 0:
        remedy = "Write 0.5 (failures per 1,000 chip-days) or 2000d (mean time between failures of one chip)"
        raise UserError("is not a failure rate", field="reliability", value=text, remedy=remedy)
    return found
