"""What the scheduler is asked, and the view of the site it may read. Both are values of one cycle."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, Protocol

from myriad.fleet.columns import Columns
from myriad.kernel.ids import JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import Instant, Span
from myriad.protocol.values import Member, Reason
from myriad.workload.tenants import Quota


class Ask(NamedTuple):
    """A gang that someone wants placed."""

    owner: str  # job or service id; ties are broken by it
    job: JobId | None
    service: ServiceId | None
    tenant: TenantId
    rank: int  # priority; larger first
    queued_at: Instant
    nodes: int
    chips_per_node: int
    run_ns: Span  # predicted run time still ahead; 0: unknown, or a service (endless)
    resumes: bool  # it ran before and was interrupted: first in its class
    #: Hot spares are for those who lost a node; who was moved takes one only if nothing else is free.
    spares: Literal["first", "last", "never"] = "never"
    keep: tuple[NodeId, ...] = ()  # nodes it had: kept where they are still good, in rank order
    avoid: tuple[NodeId, ...] = ()  # nodes that failed it

    @property
    def chips(self) -> int:
        """Chips of the whole gang."""
        return self.nodes * self.chips_per_node


class Running(NamedTuple):
    """A gang that holds nodes now."""

    owner: str
    ends_at: Instant  # predicted; 0: unknown or endless
    nodes: int


class Placed(NamedTuple):
    """Decision: start it here."""

    ask: Ask
    members: tuple[Member, ...]  # in rank order
    replaced: tuple[NodeId, ...]  # of ask.keep, those that gave way


class Waits(NamedTuple):
    """Decision: not now, and why."""

    ask: Ask
    reason: Reason
    starts_at: Instant  # predicted; 0: unknown


class View(Protocol):
    """What of the state a scheduling cycle reads."""

    @property
    def columns(self) -> Columns:
        """The nodes."""
        ...

    @property
    def usage(self) -> Mapping[TenantId, int]:
        """Chips each tenant holds."""
        ...

    def quota(self, tenant: TenantId) -> Quota:
        """What the tenant may hold."""
        ...

    def running(self) -> Iterable[Running]:
        """Every gang that holds nodes, in a stable order."""
        ...
