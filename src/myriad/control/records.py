"""What is known of each thing: node, gang, job, service, incident. Mutable records with plain values only."""

from enum import IntEnum

import msgspec

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import AttemptId, IncidentId, JobId, KeyId, NodeId, ServiceId, TenantId
from myriad.kernel.units import DAY, Instant, Span
from myriad.protocol.values import (
    DomainKind,
    Forecast,
    Member,
    Outcome,
    Profile,
    Role,
    RungKind,
    Signal,
    StopCause,
)
from myriad.recover import tiers
from myriad.workload.jobs import TrainingJob
from myriad.workload.services import InferenceService


class GangPhase(IntEnum):
    """Life of one attempt."""

    PLACED = 0  # chips held, the engine was told to start it
    STARTED = 1  # every member's processes exist
    RUNNING = 2  # training goes on, or the replica is ready
    STALLED = 3  # a replica that stopped answering
    STOPPING = 4  # over; what is left of it is being stopped


#: States in which a node is up: the time that counts towards its time to failure.
IN_SERVICE = (
    NodeState.READY,
    NodeState.SUSPECT,
    NodeState.DRAINING,
    NodeState.DRAINED,
    NodeState.OCCUPIED,
)
#: States in which nothing runs in a node: it is expected, being brought back, or gone.
AWAY = (NodeState.JOINING, NodeState.REPAIRING, NodeState.RETIRED)


#: `why` of a suspect node that is well and must stay so for a while.
RECOVERING = "recovering"


class Node(msgspec.Struct, kw_only=True):
    """What is known of a node beside its columns."""

    instance: str = ""
    #: Incarnations before this one: a late word of theirs is ignored.
    past: tuple[str, ...] = ()
    #: Signals that are unhealthy now, and since when.
    unhealthy: dict[Signal, Instant] = {}
    #: When whatever ran there stopped, by the earliest word of the signals that are unhealthy (0: none says).
    silent_since: Instant = 0
    #: Someone wants it out of service.
    cordoned: bool = False
    cordoned_by: str = ""
    cordon_reason: str = ""
    #: Others who use it through the cluster's own scheduler (empty: nobody does), and when they must have
    #: ended (0: unknown).
    taken_by: str = ""
    taken_until: Instant = 0
    why: str = ""
    until: Instant = 0
    #: When it turned suspect, newest last, the last few (flap damping).
    flaps: tuple[Instant, ...] = ()
    #: When it was lost by itself, newest last, as far back as lemons are judged.
    losses: tuple[Instant, ...] = ()
    #: Since when it has been out of service (0: it is not), whether that counts in the rate of failures,
    #: and the incident that took it out.
    lost_at: Instant = 0
    counted: bool = False
    incident: IncidentId = IncidentId("")
    #: Time for a step over that of its peers in the last report that had it as an outlier (0: it is none),
    #: since when it has been so, and the same once that was sustained.
    lagging: float = 0.0
    paced_at: Instant = 0
    slow: float = 0.0
    #: Jobs whose gangs of several nodes failed here first, and when, newest last, the last few.
    blamed: dict[JobId, Instant] = {}
    #: Attempts that hold chips here, in the order they came.
    gangs: dict[AttemptId, None] = {}


class Gang(msgspec.Struct, kw_only=True):
    """A live attempt of a job, or a live replica of a service."""

    attempt: AttemptId
    job: JobId
    service: ServiceId
    tenant: TenantId
    #: Its priority when it was placed; larger goes first.
    rank: int
    members: tuple[Member, ...]
    #: Its nodes in rank order, and chips of the whole gang.
    nodes: tuple[NodeId, ...]
    chips: int
    placed_at: Instant
    until: Instant
    phase: GangPhase = GangPhase.PLACED
    #: Nodes whose processes exist; ended by themselves (exit code); and are known to be gone.
    started: dict[NodeId, None] = {}
    done: dict[NodeId, int] = {}
    fenced: dict[NodeId, None] = {}
    lost: dict[NodeId, None] = {}
    #: Nodes where something of it may still run.
    left: dict[NodeId, None] = {}
    running_at: Instant = 0
    resumed_step: int = 0
    step: int = 0
    step_ns: Span = 0
    #: Run time predicted when it was placed; 0: unknown.
    run_ns: Span = 0
    #: So much longer than others it is not sent away, because it was so often.
    spared_ns: Span = 0
    #: The step of the copies that its nodes hold in memory (0: none).
    memory_step: int = 0
    url: str = ""
    leave_request: str = ""
    #: How long it was given to leave.
    leave_ns: Span = 0
    leave_why: str = ""
    leave_cause: StopCause = "moved"
    #: Owner of the gang that it makes room for.
    claimant: str = ""
    cause: StopCause = "done"
    why: str = ""
    #: What was said of it last before it began; the first fatal words of a worker.
    first_words: str = ""
    last_words: str = ""

    @property
    def chips_per_node(self) -> int:
        """Chips it holds on each node."""
        return self.chips // len(self.members)

    @property
    def never_began(self) -> bool:
        """It did nothing yet, and no loss of a node explains that."""
        return not self.running_at and not self.lost


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """One finished attempt, for the job's story."""

    attempt: AttemptId
    nodes: tuple[NodeId, ...]
    placed_at: Instant
    stopped_at: Instant
    cause: StopCause
    why: str
    resumed_step: int
    last_step: int
    kept_step: int
    #: The node where the failure began; empty: nodes were lost, or nobody can tell.
    root: NodeId = NodeId("")


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint on storage."""

    step: int
    path: str = ""  # empty: resumed from, never reported


class Job(msgspec.Struct, kw_only=True):
    """A training job, from admission on; ended ones stay for reports."""

    job: JobId
    spec: TrainingJob
    profile: Profile
    submitted_at: Instant
    queued_at: Instant
    #: Numbers of nodes on which it may run, largest first.
    sizes: tuple[int, ...]
    forecast: Forecast | None = None
    attempts: int = 0
    attempt: AttemptId | None = None
    history: tuple[Ended, ...] = ()
    first_placed_at: Instant = 0
    #: Best step seen, and the step up to which work is safe, with the checkpoint that makes it so.
    step: int = 0
    kept_step: int = 0
    kept_path: str = ""
    checkpoint_cost_ns: Span = 0
    #: The newest checkpoints on storage, oldest first.
    checkpoints: tuple[Checkpoint, ...] = ()
    #: The newest copies in memory: step (0: none), cost, and once their gang has ended the incarnation of
    #: each node that holds them, in rank order (empty: that node was lost).
    memory_step: int = 0
    memory_cost_ns: Span = 0
    memory_nodes: dict[NodeId, str] = {}
    step_ns: Span = 0
    loss: float = 0.0
    tokens: int = 0
    #: Own faults in a row, the root node of each, and the safe step at the last.
    faults: int = 0
    roots: tuple[NodeId, ...] = ()
    fault_step: int = 0
    #: What was done about the last failure; and the limit on what the next attempt may load (-1: none).
    rung: RungKind | None = None
    rung_why: str = ""
    resume_step: int = -1
    #: How often it was sent away for others.
    preempted: int = 0
    #: All its own faults ever, and for how long its gangs have run.
    own_faults: int = 0
    run_ns: Span = 0
    held_until: Instant = 0
    keep: tuple[NodeId, ...] = ()
    #: Chip-time held by the attempts that ended.
    held_chip_ns: int = 0
    cancel_by: str | None = None
    ended_at: Instant = 0
    outcome: Outcome | None = None
    text: str = ""

    @property
    def stored_step(self) -> int:
        """The step of its newest checkpoint on storage."""
        return self.checkpoints[-1].step if self.checkpoints else 0

    @property
    def memory_shift(self) -> int:
        """How far away in rank the partner is that keeps a copy of a node's state."""
        return tiers.shift(len(self.memory_nodes) or len(self.keep) or self.sizes[0])


class Service(msgspec.Struct, kw_only=True):
    """An inference service and its wanted size."""

    service: ServiceId
    spec: InferenceService
    model_path: str
    applied_at: Instant
    wanted: int
    #: The load that the last decision was made on, and since when it has needed fewer replicas.
    in_flight: float = 0.0
    queued: int = 0
    below_since: Instant = 0
    #: Share of its ready replicas' capacity in use, as last told.
    busy: float = 0.0
    attempts: int = 0
    gangs: dict[AttemptId, None] = {}
    faults: int = 0
    held_until: Instant = 0
    until: Instant = 0
    why: str = ""
    removed: bool = False


class Domain(msgspec.Struct, kw_only=True):
    """Nodes that can fail as one."""

    kind: DomainKind
    name: str
    size: int = 0
    #: When each of its nodes was lost last, newest last.
    lost: dict[NodeId, Instant] = {}
    incident: IncidentId = IncidentId("")


class Incident(msgspec.Struct, kw_only=True):
    """One event that took many nodes."""

    incident: IncidentId
    kind: DomainKind
    domain: str
    since: Instant
    last_at: Instant
    why: str
    #: Every node it took, and those that are not back.
    nodes: dict[NodeId, None] = {}
    out: dict[NodeId, None] = {}
    closed_at: Instant = 0
    into: IncidentId = IncidentId("")


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key that is good."""

    key: KeyId
    key_hash: str
    role: Role
    tenant: TenantId


class Spent(msgspec.Struct, kw_only=True):
    """Chip-time a tenant has held, its parts included: by day since the epoch, up to `until`."""

    until: Instant = 0
    days: dict[int, int] = {}

    def settle(self, now: Instant, chips: int) -> None:
        """Book the chips held since the last time, each day its own."""
        at, self.until = self.until, max(self.until, now)
        while chips and at < now:
            day = at // DAY
            upto = now if now <= (day + 1) * DAY else (day + 1) * DAY
            self.days[day] = self.days.get(day, 0) + chips * (upto - at)
            at = upto


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a request still open, cumulative."""

    prompt_tokens: int
    completion_tokens: int
