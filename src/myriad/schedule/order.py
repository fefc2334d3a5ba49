"""Who goes first: the orders that come with Myriad.

`fair` is fair share over time on a tree: at each branch the child with the least decayed usage for its weight
goes first, as Slurm's Fair Tree and Hadoop's fair scheduler do; with one resource, chips, that is DRF
(Ghodsi et al., NSDI 2011). Children inside their guaranteed quota go before those that borrow.
"""

import math
from collections.abc import Mapping
from typing import Final

from myriad.kernel.ids import TenantId
from myriad.kernel.units import DAY, Instant, Span
from myriad.schedule.asks import Ask
from myriad.schedule.policy import OrderPolicy, Standing

#: No deadline sorts after every deadline.
_NEVER: Final = 1 << 62


class Fair:
    """Least served for its weight first; within a tenant earliest deadline, then first come."""

    by_tenant = True

    def tenant_key(self, standing: Standing, _now: Instant, /) -> float:
        """Decayed chip-time for each unit of weight."""
        return standing.used_chip_ns / standing.weight

    def ask_key(self, ask: Ask) -> tuple[int, ...]:
        """Latest start that keeps the deadline, then time of submission."""
        return (ask.latest_at or _NEVER, ask.queued_at)


class Fifo:
    """First come, first served over all tenants."""

    by_tenant = False

    def tenant_key(self, _standing: Standing, _now: Instant, /) -> float:
        """Not asked: all tenants queue together."""
        return 0.0

    def ask_key(self, ask: Ask) -> tuple[int, ...]:
        """Time of submission."""
        return (ask.queued_at,)


BUILT_IN: Final[Mapping[str, type[OrderPolicy]]] = {"fair": Fair, "fifo": Fifo}


def decayed(spent: Mapping[int, int], now: Instant, half_life: Span) -> float:
    """Chip-time by day (day number since the epoch -> chip-ns), each day weighed by its age at `now`."""
    today = now // DAY
    age = DAY / half_life
    return sum(chip_ns * math.pow(0.5, (today - day) * age) for day, chip_ns in spent.items())


def band(ask: Ask, starved: bool) -> tuple[int, int, int]:
    """What goes before any order of tenants: chips emptied for it, starvation, class, interruption."""
    return (not (ask.claims or starved), -ask.rank, not ask.resumes)


def tenant_order(over: bool, share: float, name: TenantId) -> tuple[int, float, str]:
    """Place of a tenant among its siblings."""
    return (int(over), share, name)
