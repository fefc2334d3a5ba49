"""What the ledger remembers of nodes, gangs, jobs, services and tenants. Plain mutable records."""

from enum import IntEnum

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import AttemptId, JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import Instant, Span
from myriad.ledger import buckets
from myriad.ledger.accounts import Account, Busy
from myriad.ledger.buckets import SLOTS, IdleSince, Slot
from myriad.ledger.medians import Recent, Sample
from myriad.ledger.stretches import Timeline
from myriad.protocol.values import Forecast, Outcome, StopCause
from myriad.workload.jobs import TrainingJob
from myriad.workload.prices import PriceBook
from myriad.workload.services import InferenceService

_SLOT_OF: dict[int, Slot] = {
    NodeState.JOINING.value: buckets.BURN_IN,
    NodeState.BURN_IN.value: buckets.BURN_IN,
    NodeState.READY.value: buckets.IDLE,
    NodeState.SUSPECT.value: buckets.DOWN,
    NodeState.REPAIRING.value: buckets.DOWN,
    NodeState.DRAINING.value: buckets.DRAINED,
    NodeState.DRAINED.value: buckets.DRAINED,
    NodeState.OCCUPIED.value: buckets.OCCUPIED,
}
#: States in which a node is not up: their time is not time in service.
OUT_OF_SERVICE = frozenset({NodeState.JOINING, NodeState.BURN_IN, NodeState.REPAIRING, NodeState.RETIRED})
#: States in which whatever a gang had on the node is gone.
GONE = frozenset({NodeState.REPAIRING, NodeState.RETIRED})
#: States in which it is not known any more who else uses the node.
UNHEARD = GONE | {NodeState.JOINING}


class Terms:
    """A chip type and the prices that hold from one SiteOpened until another says otherwise."""

    __slots__ = ("chip", "prices", "since")

    def __init__(self, chip: str, prices: PriceBook, since: Instant) -> None:
        self.chip, self.prices, self.since = chip, prices, since


class Node:
    """A node and its pool: the chips that no gang keeps."""

    __slots__ = (
        "_served_sum",
        "chips",
        "flops",
        "gangs",
        "idle",
        "losses",
        "lost",
        "lost_at",
        "node",
        "pod",
        "pool",
        "rack",
        "repair_ns",
        "repairs",
        "serves",
        "since",
        "slot",
        "spare",
        "state",
        "taken",
        "terms",
        "times",
    )

    def __init__(self, node: NodeId, pod: str, rack: str, chips: int, terms: int, at: Instant) -> None:
        self.node, self.pod, self.rack, self.terms = node, pod, rack, terms
        self.chips = self.pool = chips
        self.state = NodeState.JOINING
        self.spare = self.taken = self.lost = False
        #: Where its pool is (None: not capacity), since when its time is not in `times` yet, and what idle
        #: meant then.
        self.slot: Slot | None = buckets.BURN_IN
        self.since = at
        self.idle = IdleSince()
        #: Chip-time by slot, gangs that still hold chips left out.
        self.times = [0] * SLOTS
        #: Gangs that hold chips here, until they have stopped.
        self.gangs: dict[AttemptId, Gang] = {}
        #: Model FLOPs of gangs that have stopped, as far as its chips did them.
        self.flops = 0.0
        #: Whether it is up: the time that counts towards time to failure, kept as in a `Page`.
        self.serves = False
        self._served_sum: Span = 0
        self.losses = 0
        self.lost_at: Instant | None = None
        self.repairs = 0
        self.repair_ns: Span = 0

    def served_ns(self, now: Instant) -> Span:
        """For how long it was up."""
        return self._served_sum + self.serves * now

    def judge(self, now: Instant) -> None:
        """Find slot and service from the state."""
        self._served_sum += self.serves * now
        self.slot = buckets.DOWN if self.lost else _SLOT_OF.get(self.state)
        if self.slot == buckets.IDLE and (self.spare or self.taken):
            # what is left of a node that others share is theirs
            self.slot = buckets.OCCUPIED if self.taken else buckets.SPARE
        self.serves = not self.lost and self.state not in OUT_OF_SERVICE
        self._served_sum -= self.serves * now

    def settle(self, now: Instant, idle: IdleSince) -> None:
        """Book the time of its pool up to now."""
        before, self.idle = self.idle, idle
        since, self.since = self.since, now
        slot, pool = self.slot, self.pool
        if not pool or slot is None:
            return
        if slot != buckets.IDLE:
            self.times[slot] += (now - since) * pool
        elif before is idle:
            self.times[idle.slot] += (now - since) * pool
        else:
            for k, (late, early) in enumerate(zip(idle.held(now), before.held(since), strict=True)):
                self.times[buckets.IDLE_NO_DEMAND + k] += (late - early) * pool


class Phase(IntEnum):
    """What a gang's chips are doing."""

    STARTING = 0
    USEFUL = 1
    STALLED = 2
    ENDING = 3


class Gang:
    """A live attempt or replica; an attempt stays with its job afterwards, until its work is safe.

    All its chips do the same at the same time, so its time is kept for one chip.
    """

    __slots__ = (
        "attempt",
        "away",
        "busy_from",
        "chips",
        "closed",
        "detected",
        "done",
        "ended_at",
        "entered_at",
        "flops",
        "held",
        "lost_slot",
        "members",
        "owner",
        "phase",
        "shifts",
        "since",
        "slot",
        "spans",
        "tenant",
        "terms",
        "timeline",
        "unsettled",
        "useful_at",
    )

    def __init__(
        self, attempt: AttemptId, owner: "Owner", tenant: "Tenant", members: dict[NodeId, int], at: Instant
    ) -> None:
        self.attempt, self.owner, self.tenant, self.members = attempt, owner, tenant, members
        self.terms = 0
        #: Its chips, and those of them that it still holds: those on lost nodes went back to their nodes.
        self.chips = self.held = sum(members.values())
        self.away: dict[NodeId, None] = {}
        self.phase = Phase.STARTING
        self.slot = buckets.RESTART_OWN
        #: Since when its time is not in `spans` yet, and since when it is in this slot under these terms.
        self.since = self.entered_at = at
        #: ns of each chip by slot, while it was held and these terms were in force.
        self.spans: dict[Slot, Span] = {}
        #: Corrections of each of its chips, by (terms, from, to).
        self.shifts: dict[tuple[int, Slot, Slot], Span] = {}
        #: Terms and begin of a restart that is the owner's unless the site turns out to be its cause, and
        #: terms and length of the time until control knew.
        self.unsettled: list[tuple[int, Instant]] = []
        self.detected: tuple[int, Span] = (0, 0)
        self.timeline: Timeline | None = None
        #: When it first was useful, and when its useful time ended.
        self.useful_at: Instant | None = None
        self.ended_at: Instant | None = None
        self.lost_slot = buckets.LOST_OWN
        self.closed = False
        self.flops = 0.0
        #: What its service's `Busy` said when this replica became ready.
        self.busy_from: Span = 0
        #: Exit codes of members that ended by themselves.
        self.done: dict[NodeId, int] = {}

    @property
    def ended(self) -> bool:
        """Whether its useful time is over."""
        return self.ended_at is not None

    def settle(self, now: Instant) -> None:
        """Book the time of one chip up to now."""
        if elapsed := now - self.since:
            self.spans[self.slot] = self.spans.get(self.slot, 0) + elapsed
            self.since = now

    def corrections(self, now: Instant) -> dict[tuple[int, Slot, Slot], Span]:
        """All corrections so far, with what a serving replica's chips were busy."""
        if self.slot != buckets.SERVING_HEADROOM:
            return self.shifts
        assert isinstance(self.owner, Service)
        key = (self.terms, buckets.SERVING_HEADROOM, buckets.SERVING_BUSY)
        return {**self.shifts, key: self.shifts.get(key, 0) + self.owner.busy.at(now) - self.busy_from}

    def bank_busy(self, now: Instant) -> None:
        """What its chips were busy so far is a correction like any other."""
        if self.slot == buckets.SERVING_HEADROOM:
            assert isinstance(self.owner, Service)
            self.shifts = self.corrections(now)
            self.busy_from = self.owner.busy.at(now)

    def pour(self, account: Account, now: Instant) -> None:
        """Add all its time, of the chips it holds, to an account."""
        for slot, span in self.spans.items():
            account.add(self.terms, slot, span * self.held)
        if elapsed := now - self.since:
            account.add(self.terms, self.slot, elapsed * self.held)
        for (terms, source, target), span in self.corrections(now).items():
            account.add(terms, source, -span * self.chips)
            account.add(terms, target, span * self.chips)


class Owner:
    """Who holds chips: common to jobs and services."""

    __slots__ = ("account", "ends", "gangs", "last_cause", "placements", "tenant")

    def __init__(self, tenant: TenantId) -> None:
        self.tenant = tenant
        #: What gangs that have stopped had; those that live come on top.
        self.account = Account()
        self.gangs: dict[AttemptId, Gang] = {}
        self.placements = 0
        #: Why the last gang ended: whose the restart is.
        self.last_cause: StopCause = "done"
        #: How its gangs ended: cause -> times.
        self.ends: dict[StopCause, int] = {}


class Job(Owner):
    """A training job from admission on."""

    __slots__ = (
        "checkpoints",
        "chip",
        "ended_at",
        "first_placed_at",
        "flops",
        "forecast",
        "interrupted_at",
        "job",
        "kept_ns",
        "outcome",
        "paces",
        "recoveries",
        "recovery_ns",
        "runs",
        "spec",
        "step",
        "step_ns",
        "submitted_at",
        "tokens",
    )

    def __init__(self, job: JobId, spec: TrainingJob, at: Instant) -> None:
        super().__init__(spec.tenant)
        self.job, self.spec, self.submitted_at = job, spec, at
        self.forecast: Forecast | None = None
        #: Catalogue name of the chips it last ran on.
        self.chip = ""
        self.first_placed_at: Instant | None = None
        self.ended_at: Instant | None = None
        self.outcome: Outcome | None = None
        #: Once it ended: chip-time of steps that were kept.
        self.kept_ns: Span = 0
        self.step = 0
        self.tokens = 0
        self.flops = 0.0
        self.checkpoints = 0
        #: Step times: a sample while it lives, their median afterwards.
        self.step_ns: Sample | Span = 0
        #: Nodes of a gang -> the last step times on so many.
        self.paces: dict[int, Recent] = {}
        #: When the present interruption began.
        self.interrupted_at: Instant | None = None
        self.recoveries = 0
        self.recovery_ns: Span = 0
        #: Attempts that did useful work, oldest first.
        self.runs: list[Gang] = []

    @property
    def step_median_ns(self) -> Span:
        """The median of its step times; 0: none was told."""
        return self.step_ns.median() if isinstance(self.step_ns, Sample) else self.step_ns

    def wall_ns(self, now: Instant) -> Span:
        """Since its first placement, up to its end."""
        if self.first_placed_at is None:
            return 0
        return (now if self.ended_at is None else self.ended_at) - self.first_placed_at

    def end(self, outcome: Outcome, at: Instant) -> None:
        """It is over: what only a living job needs is dropped."""
        self.outcome, self.ended_at = outcome, at
        self.step_ns, self.paces, self.runs = self.step_median_ns, {}, []
        if not self.gangs:
            self.gangs = {}


class Service(Owner):
    """An inference service, for as long as the books are kept."""

    __slots__ = ("booked_ns", "busy", "ready", "service", "spec")

    def __init__(self, service: ServiceId, spec: InferenceService) -> None:
        super().__init__(spec.tenant)
        self.service, self.spec = service, spec
        self.busy = Busy()
        #: Terms -> chips of ready replicas; and up to where `busy` is in the site's books for them.
        self.ready: dict[int, int] = {}
        self.booked_ns: Span = 0


class Past:
    """Jobs that ended long ago, as one."""

    __slots__ = ("account", "checkpoints", "flops", "jobs", "kept_ns", "outcomes", "tokens", "wall_ns")

    def __init__(self) -> None:
        self.account = Account()
        self.jobs = 0
        self.outcomes: dict[Outcome, int] = {}
        #: Chip-time of steps that were kept, and chips x time since placement: what ETTR is the ratio of.
        self.kept_ns: Span = 0
        self.wall_ns: Span = 0
        self.tokens = 0
        self.flops = 0.0
        self.checkpoints = 0


class Tenant:
    """A customer: its time, and what it owns."""

    __slots__ = ("account", "flops", "gangs", "jobs", "past", "services", "tenant")

    def __init__(self, tenant: TenantId) -> None:
        self.tenant = tenant
        self.account = Account()
        self.gangs: dict[AttemptId, Gang] = {}
        self.jobs: dict[JobId, None] = {}
        self.services: dict[ServiceId, None] = {}
        self.past = Past()
        self.flops = 0.0
