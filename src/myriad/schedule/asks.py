"""What the scheduler is asked, what it answers, and the view of the site it may read."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, Protocol

from myriad.fleet.columns import Columns, Rows
from myriad.kernel.ids import AttemptId, JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import Instant, Span
from myriad.protocol.values import Code, Member
from myriad.workload.jobs import Within
from myriad.workload.tenants import Tenant


class Shape(NamedTuple):
    """What decides whether a gang fits: asks of one shape fit, or do not, together."""

    nodes: int  # the fewest it can run on
    chips_per_node: int
    chip: str  # catalogue name of the type; empty: the site's own
    within: Within
    reservation: str
    spares: bool  # hot spares may be used

    @property
    def chips(self) -> int:
        """Chips of the smallest gang."""
        return self.nodes * self.chips_per_node


class Ask(NamedTuple):
    """A gang that someone wants placed."""

    owner: str  # job or service id; ties are broken by it
    job: JobId | None
    service: ServiceId | None
    tenant: TenantId
    rank: int  # priority; larger first
    queued_at: Instant
    nodes: int  # the most it can use
    chips_per_node: int
    run_ns: Span  # predicted run time still ahead on `nodes`; 0: unknown, or a service (endless)
    resumes: bool  # it ran before and was interrupted: first in its class
    #: 90 % bound of the run time; 0: unknown.
    run_high_ns: Span = 0
    #: Hot spares are for those who lost a node; who was moved takes one only if nothing else is free.
    spares: Literal["first", "last", "never"] = "never"
    keep: tuple[NodeId, ...] = ()  # nodes it had: kept where they are still good, in rank order
    avoid: tuple[NodeId, ...] = ()  # nodes that failed it
    #: Sizes at which it may run, largest first; empty: only `nodes`.
    sizes: tuple[int, ...] = ()
    chip: str = ""
    within: Within = ""
    reservation: str = ""
    #: By when it must have started to end in time; 0: no deadline.
    latest_at: Instant = 0
    #: Relative step time of a gang that spans several racks, pods, cores; 1.0 is within one rack.
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    #: Chips are being emptied for it: it goes before everything else.
    claims: bool = False
    #: How long it can wait for chips that are emptied for it; 0: as long as the policy says.
    patience_ns: Span = 0

    @property
    def chips(self) -> int:
        """Chips of the whole gang."""
        return self.nodes * self.chips_per_node

    @property
    def choices(self) -> tuple[int, ...]:
        """Numbers of nodes it may run on, largest first."""
        return self.sizes or (self.nodes,)

    @property
    def least(self) -> int:
        """The fewest nodes it may run on."""
        return self.sizes[-1] if self.sizes else self.nodes

    @property
    def shape(self) -> Shape:
        """What decides whether it fits."""
        spares = self.spares != "never"
        return Shape(self.least, self.chips_per_node, self.chip, self.within, self.reservation, spares)

    def run_on(self, nodes: int) -> Span:
        """Predicted run time on so many nodes: in proportion; 0: unknown."""
        return self.run_ns * self.nodes // nodes


class Running(NamedTuple):
    """A gang that holds nodes now, as preemption sees it."""

    attempt: AttemptId
    owner: str
    tenant: TenantId
    rank: int
    nodes: int
    chips: int
    chips_per_node: int
    least: int  # nodes it can shrink to; `nodes` if it cannot
    chip: str  # catalogue name of their type
    placed_at: Instant
    #: Chip-time that would have to be done again if it left now, after a checkpoint if it can make one.
    lost_chip_ns: int
    #: It may be asked to leave: not a service, not leaving already.
    movable: bool


class Placed(NamedTuple):
    """Decision: start it here."""

    ask: Ask
    members: tuple[Member, ...]  # in rank order
    rows: tuple[int, ...]  # of its nodes
    replaced: tuple[NodeId, ...]  # of ask.keep, those that gave way


class Waits(NamedTuple):
    """Decision: not now, and why, in one word; `explain.reasons` has the sentences."""

    ask: Ask
    code: Code
    starts_at: Instant  # predicted; 0: unknown


class Leaves(NamedTuple):
    """Decision: this gang checkpoints and leaves, for another one or to come back in another size."""

    attempt: AttemptId
    cause: Literal["preempted", "resized"]
    claimant: str  # owner of the ask it leaves for; empty: nobody
    why: str
    grace_ns: Span  # 0: as the policy says


class View(Protocol):
    """What of the state a scheduling cycle reads."""

    @property
    def columns(self) -> Columns:
        """The nodes."""
        ...

    @property
    def usage(self) -> Mapping[TenantId, int]:
        """Chips each tenant holds, those of its parts included."""
        ...

    @property
    def tenants(self) -> Mapping[TenantId, Tenant]:
        """Every tenant."""
        ...

    def path(self, tenant: TenantId) -> tuple[TenantId, ...]:
        """The tenant and what it is part of, outermost last."""
        ...

    def running(
        self, tenant: TenantId, rank: int, before: Instant, chips_per_node: int = 0
    ) -> Iterable[Running]:
        """Gangs of a tenant and priority placed before then, newest first: of that size or more."""
        ...

    def busy_until(self, row: int) -> Instant:
        """When the last gang on the node is predicted to end; far away if one is endless."""
        ...

    @property
    def claims(self) -> Mapping[str, Mapping[AttemptId, None]]:
        """Who waits for chips that are being emptied for it, and the gangs that still are on them."""
        ...

    def coming(self, owner: str) -> int:
        """Nodes that are being emptied for the owner."""
        ...

    def is_spent(self, tenant: TenantId, now: Instant) -> bool:
        """Whether the tenant, or one that it is part of, has spent its budget of the period."""
        ...

    def barred(self, ask: Ask, now: Instant) -> Rows | None:
        """Rows that reservations and maintenance keep from this ask; None: no row is."""
        ...
