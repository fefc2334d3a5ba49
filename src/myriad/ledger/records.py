"""What the ledger remembers of nodes, gangs, jobs, services and tenants. Plain mutable records."""

from enum import IntEnum

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import AttemptId, JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import Instant, Span
from myriad.ledger.buckets import Account, Clock, Slot, Tally
from myriad.ledger.medians import Sample
from myriad.ledger.stretches import Timeline
from myriad.protocol.values import Forecast, Outcome, StopCause
from myriad.workload.jobs import TrainingJob
from myriad.workload.prices import PriceBook
from myriad.workload.services import InferenceService

_SLOT_OF = {
    NodeState.JOINING: Slot.BURN_IN,
    NodeState.BURN_IN: Slot.BURN_IN,
    NodeState.SUSPECT: Slot.DOWN,
    NodeState.REPAIRING: Slot.DOWN,
    NodeState.DRAINING: Slot.DRAINED,
    NodeState.DRAINED: Slot.DRAINED,
}
#: States in which a node is not up: their time is not time in service.
OUT_OF_SERVICE = frozenset({NodeState.JOINING, NodeState.BURN_IN, NodeState.REPAIRING, NodeState.RETIRED})
#: States in which whatever a gang had on the node is gone.
GONE = frozenset({NodeState.REPAIRING, NodeState.RETIRED})


class Terms:
    """Chip type and prices that hold from one SiteOpened until another says otherwise."""

    def __init__(self, chip: str, prices: PriceBook, since: Instant) -> None:
        self.chip, self.prices, self.since = chip, prices, since


class Node:
    """A node and its pool: the chips that no gang keeps."""

    def __init__(self, node: NodeId, chips: int, clock: Clock) -> None:
        self.node = node
        self.chips = self.pool = chips
        self.state = NodeState.JOINING
        self.spare = self.lost = False
        self.tally = Tally(clock)
        #: Gangs that hold chips here, until they have stopped.
        self.gangs: dict[AttemptId, Gang] = {}
        self.losses = 0
        self.lost_at: Instant | None = None

    @property
    def slot(self) -> Slot | None:
        """Where its pool is; None: not capacity."""
        if self.state == NodeState.RETIRED:
            return None
        if self.lost:
            return Slot.DOWN
        if self.state == NodeState.READY:
            return Slot.SPARE if self.spare else Slot.IDLE
        return _SLOT_OF[self.state]

    @property
    def serves(self) -> bool:
        """Whether it is up: the time that counts towards time to failure."""
        return not self.lost and self.state not in OUT_OF_SERVICE


class Phase(IntEnum):
    """What a gang's chips are doing."""

    STARTING = 0
    USEFUL = 1
    STALLED = 2
    ENDING = 3


class Gang:
    """A live attempt or replica; an attempt stays with its job afterwards, until its work is safe."""

    def __init__(self, attempt: AttemptId, owner: "Owner", members: dict[NodeId, int], at: Instant) -> None:
        self.attempt, self.owner, self.members, self.placed_at = attempt, owner, members, at
        self.chips = sum(members.values())
        #: Members whose chips are with the gang; those on lost nodes went back to their nodes.
        self.present = dict(members)
        self.phase = Phase.STARTING
        self.slot = Slot.RESTART_OWN
        #: Terms and begin of a restart that is the owner's unless the site turns out to be its cause.
        self.unsettled: list[tuple[int, Instant]] = []
        self.timeline: Timeline | None = None
        #: When its useful time ended.
        self.ended_at: Instant | None = None
        self.lost_slot = Slot.LOST_OWN
        self.closed = False
        #: Corrections for each chip so far, by (from, to): booked to its nodes when it stops.
        self.shifts: dict[tuple[Slot, Slot], Span] = {}
        #: Exit codes of members that ended by themselves.
        self.done: dict[NodeId, int] = {}

    @property
    def ended(self) -> bool:
        """Whether its useful time is over."""
        return self.ended_at is not None


class Owner:
    """Who holds chips: common to jobs and services."""

    def __init__(self, tenant: TenantId, clock: Clock) -> None:
        self.tenant = tenant
        self.account = Account(clock)
        self.placements = 0
        #: Why the last gang ended: whose the restart is.
        self.last_cause: StopCause = "done"
        self.interruptions: dict[StopCause, int] = {}


class Job(Owner):
    """A training job from admission on."""

    def __init__(self, job: JobId, spec: TrainingJob, at: Instant, clock: Clock) -> None:
        super().__init__(spec.tenant, clock)
        self.job, self.spec, self.submitted_at = job, spec, at
        self.forecast: Forecast | None = None
        self.first_placed_at: Instant | None = None
        self.ended_at: Instant | None = None
        self.outcome: Outcome | None = None
        self.step = 0
        self.tokens = 0
        self.flops = 0.0
        self.checkpoints = 0
        self.step_ns = Sample()
        #: When the present interruption began.
        self.interrupted_at: Instant | None = None
        self.recoveries: list[Span] = []
        #: Attempts that did useful work, oldest first.
        self.runs: list[Gang] = []


class Service(Owner):
    """An inference service, for as long as the books are kept."""

    def __init__(self, service: ServiceId, spec: InferenceService, clock: Clock) -> None:
        super().__init__(spec.tenant, clock)
        self.service, self.spec = service, spec


class Tenant:
    """A customer: its time, and what it owns."""

    def __init__(self, tenant: TenantId, clock: Clock) -> None:
        self.tenant = tenant
        self.account = Account(clock)
        self.jobs: list[JobId] = []
        self.services: list[ServiceId] = []
