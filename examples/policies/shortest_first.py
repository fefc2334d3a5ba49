"""A policy of one's own: who is predicted to be done first goes first, whatever its tenant has used.

    myriad policy check examples/policies/shortest_first.yaml
    myriad up --policy examples/policies/shortest_first.yaml

Shortest first has the least mean wait, and lets long work wait: `order.starvation` bounds that. Both answers
depend on their arguments alone: no clock, no chance, no state, or the same journal would not give the same
decisions.
"""

from myriad.kernel.units import Instant
from myriad.schedule.asks import Ask
from myriad.schedule.policy import Standing

#: A gang that does not say how long it runs goes after all that do.
UNKNOWN = 1 << 62


class ShortestFirst:
    """Keeps the protocol `myriad.schedule.policy.OrderPolicy`."""

    #: One queue over all tenants: `tenant_key` is not asked then. True is the default.
    by_tenant = False

    def tenant_key(self, standing: Standing, now: Instant, /) -> float:
        """Place of a tenant among its siblings; smaller goes first."""
        return standing.used_chip_ns / standing.weight

    def ask_key(self, ask: Ask) -> tuple[int, ...]:
        """Place within the priority class; smaller goes first. Asked once, when it queues."""
        return (ask.run_ns or UNKNOWN, ask.queued_at)
