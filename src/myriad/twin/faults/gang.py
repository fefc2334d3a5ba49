"""One job under failures, without a site around it: what closed forms (`performance.goodput`) are held to.

`interruptions` plays the faults of a site one by one for a gang on all its nodes. `ettr` is a Monte Carlo of
the share of useful time over many runs at once, in NumPy, seeded from a Stream.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from myriad.kernel.rng import Stream
from myriad.kernel.units import SECOND
from myriad.twin.faults.config import Faults
from myriad.twin.faults.hazards import NEVER, Fault, Hazards, Terrain
from myriad.twin.faults.software import software_fault
from myriad.twin.faults.times import Way, restart

Array = NDArray[np.float64]

#: Symptoms that stop a gang; what only slows it does not.
STOPS: Final = ("crash", "hang", "down", "corrupt")
#: Two-sided 95 % of a normal mean.
_Z: Final = 1.96


def interruptions(faults: Faults, terrain: Terrain, stream: Stream) -> Iterator[tuple[float, Fault]]:
    """Faults that stop a gang on every chip of the terrain, with their instants in seconds; without end.

    Time that the gang stands still is not taken off, as where failures are counted by the calendar. Ends only
    where nothing can fail.
    """
    hazards, own = Hazards(faults, terrain, stream), stream.split("software")
    chips = sum(terrain.chips)
    at, struck = hazards.next(0)
    own_s, bug = software_fault(faults, own, chips)
    while at < NEVER or bug is not None:
        if bug is not None and own_s * SECOND < at:
            yield own_s, bug
            after, bug = software_fault(faults, own, chips, age_s=own_s)
            own_s += after
            continue
        if struck.symptom in STOPS:
            yield at / SECOND, struck
        at, struck = hazards.next(at)


def down_s(fault: Fault, chips: int, way: Way, stream: Stream) -> float:
    """How long a gang stands still for a fault: until it is seen, placed, and the gang restarted.

    Faults of software restart in place. Where the wrong node is named it fails again and all is done twice.
    What is computed from corrupt numbers until they are seen is lost, and counted here.
    """
    seen_s = fault.detect_s + fault.diagnose_s
    again = 1 if fault.blamed else 2
    law = restart("in_place" if fault.scope == "software" else way, chips)
    return sum(seen_s + law.draw(stream) for _ in range(again))


class Measured(NamedTuple):
    """A mean over runs, and its 95 % interval."""

    mean: float
    low: float
    high: float


def ettr(
    *,
    mean_s: float,
    interval_s: float,
    cost_s: float,
    down: Sequence[float],
    span_s: float,
    runs: int,
    stream: Stream,
) -> Measured:
    """Share of the wall clock in which work is done that is kept, failures coming by chance.

    `mean_s` is between failures. `down`: standstills after one, one of which is drawn each time; a failure
    during one begins another. A checkpoint every `interval_s` of work stops it for `cost_s`.
    """
    draws = np.random.default_rng(stream.integer(0, 2**53 - 1))
    gaps = _gaps(mean_s, span_s, runs, draws)
    pool = np.asarray(down, dtype=float)
    still = pool[draws.integers(0, len(pool), gaps.shape)]
    still[:, 0] = 0.0
    works = np.maximum(gaps - still, 0.0)
    saved = np.floor(works / (interval_s + cost_s)) * interval_s
    # what runs when the span ends has not failed: nothing of it is lost
    unsaved = np.minimum(works % (interval_s + cost_s), interval_s)
    open_ended = np.cumsum(gaps, axis=1) >= span_s * (1 - 1e-12)
    kept = saved + np.where(open_ended, unsaved, 0.0)
    return _measured(kept.sum(axis=1) / span_s)


def _gaps(mean_s: float, span_s: float, runs: int, draws: np.random.Generator) -> Array:
    """Times between failures of each run, cut off at the end of the span; shape (runs, enough)."""
    expected = span_s / mean_s
    enough = int(expected + 6.0 * np.sqrt(expected) + 10)
    ends = np.minimum(np.cumsum(draws.exponential(mean_s, (runs, enough)), axis=1), span_s)
    ends[:, -1] = span_s
    return np.diff(ends, axis=1, prepend=0.0)


def _measured(values: Array) -> Measured:
    mean = float(values.mean())
    half = _Z * float(values.std(ddof=1)) / float(np.sqrt(len(values)))
    return Measured(mean, mean - half, mean + half)
