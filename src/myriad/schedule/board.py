"""What a cycle finds before it: the rules of the site, and what is kept between cycles."""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple, Protocol

from myriad.kernel.ids import TenantId
from myriad.kernel.units import Instant
from myriad.protocol.values import Code
from myriad.schedule.backfill import Ends, Reservation
from myriad.schedule.policy import (
    Backfill,
    Order,
    Placement,
    PlacementPolicy,
    Preemption,
    PreemptionPolicy,
)
from myriad.schedule.queue import Queue

_MANY: Final = 1 << 60


class Rules(NamedTuple):
    """The policies of a site, and their knobs."""

    placement: PlacementPolicy
    preemption: PreemptionPolicy | None  # None: nobody is sent away
    place: Placement
    backfill: Backfill
    preempt: Preemption
    order: Order


class Front(NamedTuple):
    """The first gang that waits for room."""

    owner: str
    held: Reservation
    code: Code
    chips_per_node: int
    kind: str  # chip type: who wants another is not in its way


class Full:
    """Tenants at their quota: the fewest chips that were too many, and whose quota it is."""

    def __init__(self) -> None:
        self.chips: dict[TenantId, int] = {}
        self._by: dict[TenantId, dict[TenantId, None]] = {}

    def copy(self) -> "Full":
        """Another one that changes by itself."""
        other = Full()
        other.chips = dict(self.chips)
        other._by = {name: dict(tenants) for name, tenants in self._by.items()}
        return other

    def add(self, tenant: TenantId, chips: int, by: TenantId) -> None:
        """So many chips were too many for the tenant, by the quota of one that it is part of."""
        self.chips[tenant] = min(chips, self.chips.get(tenant, _MANY))
        self._by.setdefault(by, {})[tenant] = None

    def release(self, path: Iterable[TenantId]) -> None:
        """These tenants hold less than they did."""
        for name in path:
            for tenant in self._by.pop(name, ()):
                self.chips.pop(tenant, None)

    def clear(self) -> None:
        """Quotas changed."""
        self.chips.clear()
        self._by.clear()


class Board(Protocol):
    """What is kept between cycles: indexes of the state, and who waits in front."""

    queue: Queue
    ends: Ends
    #: Holds until chips, quotas or the order may have changed.
    front: Front | None
    full: "Full"
    #: When a search for victims may find some again; by owner.
    victims_at: dict[str, Instant]
    #: Until when an ask that has room on many racks waits for fewer; by owner.
    gathers: dict[str, Instant]

    @property
    def holders(self) -> Collection[tuple[TenantId, int]]:
        """Tenant and priority of whatever holds nodes."""
        ...
