"""What a chip can be doing: slots, and the buckets that people read.

A slot is finer than a bucket: lost, detect and restart also say whose cause they were. Slots are plain
small integers, since they number the places of lists.
"""

from collections.abc import Mapping
from typing import Final, NewType

from myriad.kernel.units import Span
from myriad.protocol.values import IdleReason

Slot = NewType("Slot", int)

PRODUCTIVE: Final = Slot(0)
SERVING_BUSY: Final = Slot(1)
CHECKPOINT: Final = Slot(2)
LOST_OWN: Final = Slot(3)
LOST_SITE: Final = Slot(4)
DETECT_OWN: Final = Slot(5)
DETECT_SITE: Final = Slot(6)
RESTART_OWN: Final = Slot(7)
RESTART_SITE: Final = Slot(8)
STRAGGLING: Final = Slot(9)
EXPOSED: Final = Slot(10)
THROTTLED: Final = Slot(11)
#: A ready replica's chips are here; the share that was in use is booked over to SERVING_BUSY.
SERVING_HEADROOM: Final = Slot(12)
IDLE_NO_DEMAND: Final = Slot(13)
IDLE_FRAGMENTATION: Final = Slot(14)
IDLE_QUOTA: Final = Slot(15)
IDLE_HELD_BACK: Final = Slot(16)
SPARE: Final = Slot(17)
#: Used by others through the cluster's own scheduler: no tenant of ours is charged for it.
OCCUPIED: Final = Slot(18)
DRAINED: Final = Slot(19)
DOWN: Final = Slot(20)
BURN_IN: Final = Slot(21)
#: How many there are.
SLOTS: Final = 22
#: Of a node's pool only: idle for whatever reason holds.
IDLE: Final = Slot(22)

BUCKET_OF: Final[tuple[str, ...]] = (
    "productive",
    "serving_busy",
    "checkpoint",
    "lost",
    "lost",
    "detect",
    "detect",
    "restart",
    "restart",
    "straggling",
    "exposed",
    "throttled",
    "serving_headroom",
    "idle_no_demand",
    "idle_fragmentation",
    "idle_quota",
    "idle_held_back",
    "spare",
    "occupied",
    "drained",
    "down",
    "burn_in",
)
#: Every bucket, in the order of a waterfall: useful first.
BUCKETS: Final[tuple[str, ...]] = tuple(dict.fromkeys(BUCKET_OF))
#: Slots of chips that someone holds.
HELD: Final = tuple(Slot(k) for k in range(IDLE_NO_DEMAND))
#: What is useful: work that was kept, and requests that were answered.
USEFUL: Final = (PRODUCTIVE, SERVING_BUSY)
#: All the time of training steps that were kept, whatever held them up.
KEPT: Final = (PRODUCTIVE, STRAGGLING, EXPOSED, THROTTLED)
LOST: Final = (LOST_OWN, LOST_SITE)
#: The site's doing: not charged.
BY_SITE: Final = (LOST_SITE, DETECT_SITE, RESTART_SITE)
#: Nobody could have used them.
OUT: Final = (OCCUPIED, DRAINED, DOWN, BURN_IN)

_IDLE: Final[dict[IdleReason, Slot]] = {
    "no_demand": IDLE_NO_DEMAND,
    "fragmentation": IDLE_FRAGMENTATION,
    "quota": IDLE_QUOTA,
    "held_back": IDLE_HELD_BACK,
}

#: Chip-time by slot.
Times = Mapping[Slot, int]


class IdleSince:
    """Which idle reason has held since when, and how long each had before: so that a new one costs nothing
    a node."""

    __slots__ = ("_before", "_since", "slot")

    def __init__(
        self, slot: Slot = IDLE_NO_DEMAND, since: int = 0, before: tuple[int, ...] = (0,) * 4
    ) -> None:
        self.slot, self._since, self._before = slot, since, before

    def then(self, reason: IdleReason, now: int) -> "IdleSince":
        """What holds from now on."""
        return IdleSince(_IDLE[reason], now, tuple(self.held(now)))

    def held(self, at: int) -> list[int]:
        """How long each reason had held at an instant in which this one did."""
        held = list(self._before)
        held[self.slot - IDLE_NO_DEMAND] += at - self._since
        return held


def by_bucket(times: Times) -> dict[str, Span]:
    """Every bucket in the order of the waterfall, those without time too."""
    found = dict.fromkeys(BUCKETS, 0)
    for slot, amount in times.items():
        found[BUCKET_OF[slot]] += amount
    return found


def total(times: Times, slots: tuple[Slot, ...]) -> int:
    """Over these slots."""
    return sum([times.get(slot, 0) for slot in slots])
