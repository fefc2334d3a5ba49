"""What is done about a node that was taken out: how long, by which way, and whether it helped.

Rungs: reboot, automatic, manual, vendor. A repair may say that it failed, or fail in silence; the check
before return catches most of the latter and sends the node one rung up. What it misses comes back unmended.
"""

import heapq
from typing import NamedTuple

from myriad.kernel.rng import Stream
from myriad.kernel.units import SECOND, Instant
from myriad.twin.faults.config import Repair
from myriad.twin.faults.hazards import Fault
from myriad.twin.faults.laws import Law

#: Time at the vendor: days to weeks around the mean. Estimated.
_VENDOR_SPREAD = 0.5


class Plan(NamedTuple):
    """One visit to the workshop, decided in full when it begins. Waiting for a technician is not in it."""

    duration_s: float
    path: tuple[str, ...]  # rungs in order: reboot, automatic, manual, vendor
    fixed: bool  # whether what was wrong is mended
    cured: bool  # whether a lemon is one no more: only by the vendor, who sends another

    @property
    def hands(self) -> bool:
        """Whether a technician is needed."""
        return "manual" in self.path


def plan(repair: Repair, fault: Fault | None, stream: Stream, *, losses: int = 1) -> Plan:
    """The way of a node with a fault; None: nothing is wrong with it (a false alarm, the wrong one).

    `losses`: how often the node was taken out so far, this time included.
    """
    check_s = repair.seconds("burn_in")
    if fault is None or not fault.permanent:
        return Plan(repair.seconds("reboot") + check_s, ("reboot",), True, False)
    if repair.vendor_after and losses >= repair.vendor_after:
        return Plan(_vendor_s(repair, stream) + check_s, ("vendor",), True, True)
    rung = "manual" if stream.happens(repair.manual_first) else "automatic"
    taken_s, path = 0.0, []
    while True:
        path.append(rung)
        if rung == "vendor":
            return Plan(taken_s + _vendor_s(repair, stream) + check_s, tuple(path), True, True)
        taken_s += stream.uniform(repair.seconds(rung), repair.seconds(f"{rung}_most"))
        if not stream.happens(repair.escalates):
            taken_s += check_s
            helped = not stream.happens(
                repair.automatic_fails if rung == "automatic" else repair.manual_fails
            )
            if helped or not stream.happens(repair.recall):
                return Plan(taken_s, tuple(path), helped, False)
        rung = "manual" if rung == "automatic" else "vendor"


def factor_after(repair: Repair, before: float, done: Plan) -> float:
    """How often a node fails after a visit, over a healthy one: for `Hazards.set_factor`.

    `before` is its factor when it was healthy or a lemon, not that of an earlier repair in vain.
    """
    if done.cured:
        return 1.0
    return before if done.fixed else max(before, repair.unmended)


def _vendor_s(repair: Repair, stream: Stream) -> float:
    return Law(repair.seconds("vendor"), _VENDOR_SPREAD).draw(stream)


class Workshop:
    """Technicians, if they are few: who needs hands waits for the first that is free."""

    def __init__(self, repair: Repair) -> None:
        self._hands_on = int(repair.seconds("hands_on") * SECOND)
        self._free: list[Instant] = [0] * repair.technicians

    def book(self, now: Instant, done: Plan) -> Instant:
        """The instant at which a node whose visit begins now is back. Calls come in the order of time."""
        begins = now
        if done.hands and self._free:
            begins = max(now, heapq.heappop(self._free))
            heapq.heappush(self._free, begins + self._hands_on)
        return begins + int(done.duration_s * SECOND)
