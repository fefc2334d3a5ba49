"""Jobs by size: how long their gangs ran, how often they were interrupted, how much of it was training.

A class is named by the number of chips that its largest job has: 1, 2, 4, 8 …
"""

from myriad.kernel.units import Span
from myriad.protocol.values import Outcome, StopCause

#: What interrupts a job against its will.
INTERRUPTIONS: tuple[StopCause, ...] = ("job", "node")


class Class:
    """Sums over the jobs of one size."""

    __slots__ = ("chips", "ends", "kept_ns", "outcomes", "recoveries", "recovery_ns", "running_ns", "wall_ns")

    def __init__(self, chips: int) -> None:
        self.chips = chips
        #: Time of gangs from the first useful moment to the last, and how they ended.
        self.running_ns: Span = 0
        self.ends: dict[StopCause, int] = {}
        #: Jobs that ended, their chip-time in steps that were kept, and their chips x time since placement.
        self.outcomes: dict[Outcome, int] = {}
        self.kept_ns: Span = 0
        self.wall_ns: Span = 0
        self.recoveries = 0
        self.recovery_ns: Span = 0


class Classes:
    """Every class that had a job."""

    def __init__(self) -> None:
        self.all: dict[int, Class] = {}

    def of(self, chips: int) -> Class:
        """The class of jobs of so many chips."""
        size = 1 << max(0, chips - 1).bit_length()
        found = self.all.get(size)
        if found is None:
            found = self.all[size] = Class(size)
        return found
