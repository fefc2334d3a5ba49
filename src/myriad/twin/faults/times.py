"""How long recovery takes, as laws: the means of `performance.goodput`, each with a spread.

The sources give means; the spread of 0.3 is estimated, from the range of ByteRobust's tables 6 and 7.
"""

from typing import Final, Literal

from myriad.performance import goodput
from myriad.twin.faults.laws import Law

_SPREAD: Final = 0.3
#: requeue: the whole job is scheduled again · reschedule: only what was lost · standby: warm nodes take over
#: · in_place: the same nodes
Way = Literal["requeue", "reschedule", "standby", "in_place"]
_MEANS: Final = {
    "requeue": goodput.requeue_s,
    "reschedule": goodput.reschedule_s,
    "standby": goodput.standby_s,
    "in_place": goodput.in_place_s,
}


def restart(way: Way, chips: int) -> Law:
    """From the decision to the first step, by the way and the size (ByteRobust, 2025, table 7)."""
    return Law(_MEANS[way](chips), _SPREAD)


def save(size_bytes: float, nodes: int) -> Law:
    """Time that training waits while all nodes write a checkpoint to storage, alone there."""
    return Law(goodput.write_s(size_bytes, nodes), _SPREAD)


def load(size_bytes: float, nodes: int, bytes_per_s: float = goodput.WRITE_BYTES_PER_S) -> Law:
    """Time to read a checkpoint; storage is taken to read as fast as it writes. Estimated."""
    return Law(size_bytes / (nodes * bytes_per_s) + goodput.WRITE_LATENCY_S, _SPREAD)
