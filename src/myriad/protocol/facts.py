"""What is now true. Facts alone change state and are journalled; the ledger is a fold of them.

Those about nodes are in `node_facts`, and found here too.
"""

from myriad.fleet.site import Site
from myriad.kernel.ids import AttemptId, JobId, KeyId, NodeId, RequestId, ServiceId, TenantId
from myriad.kernel.units import Instant, Span
from myriad.protocol.fact import Fact
from myriad.protocol.node_facts import (
    IncidentClosed,
    IncidentJoined,
    IncidentOpened,
    LossesForgotten,
    NodeCordoned,
    NodeEvidence,
    NodeLagged,
    NodeLost,
    NodeMeasured,
    NodeMoved,
    NodeSlow,
    NodeSpared,
    NodeTaken,
)
from myriad.protocol.values import (
    Forecast,
    IdleReason,
    Member,
    Outcome,
    Profile,
    Reason,
    Role,
    RungKind,
    StopCause,
    Tier,
)
from myriad.workload.jobs import TrainingJob
from myriad.workload.prices import PriceBook
from myriad.workload.services import InferenceService
from myriad.workload.tenants import Tenant
from myriad.workload.windows import Window

__all__ = [
    "AnyFact",
    "CancelRequested",
    "CheckpointRecorded",
    "Fact",
    "GangFenced",
    "GangPlaced",
    "GangRunning",
    "GangStarted",
    "GangStopped",
    "GangStopping",
    "IdleExplained",
    "IncidentClosed",
    "IncidentJoined",
    "IncidentOpened",
    "JobAdmitted",
    "JobEnded",
    "JobForecast",
    "JobHeld",
    "KeyRevoked",
    "KeySet",
    "LeaveAsked",
    "LookAgain",
    "LossesForgotten",
    "MemberDone",
    "MemberFenced",
    "MemberStarted",
    "NodeCordoned",
    "NodeEvidence",
    "NodeLagged",
    "NodeLost",
    "NodeMeasured",
    "NodeMoved",
    "NodeSlow",
    "NodeSpared",
    "NodeTaken",
    "Refused",
    "ReplicaStalled",
    "RungTaken",
    "ServiceHeld",
    "ServiceLoaded",
    "ServiceRemoved",
    "ServiceScaled",
    "ServiceSet",
    "SiteClosed",
    "SiteOpened",
    "StepsDone",
    "TenantSet",
    "TokensServed",
    "WindowEnded",
    "WindowSet",
    "WorkerNoted",
]

# ---- site, tenants, keys ---------------------------------------------------------------------


class SiteOpened(Fact, frozen=True, kw_only=True):
    """The site may run work. Nodes not known before appear as JOINING, missing ones are RETIRED."""

    site: Site
    prices: PriceBook = PriceBook()


class SiteClosed(Fact, frozen=True, kw_only=True):
    """Nothing new is started; what runs is asked to checkpoint and leave."""

    until: Instant


class TenantSet(Fact, frozen=True, kw_only=True):
    """A tenant is as given."""

    tenant: Tenant


class KeySet(Fact, frozen=True, kw_only=True):
    """A key with this hash is good for this role."""

    key: KeyId
    key_hash: str
    role: Role
    tenant: TenantId = TenantId("")


class KeyRevoked(Fact, frozen=True, kw_only=True):
    """The key is no longer good."""

    key: KeyId


# ---- jobs ------------------------------------------------------------------------------------


class JobAdmitted(Fact, frozen=True, kw_only=True):
    """The job is in the queue and will run when its turn and place come."""

    job: JobId
    spec: TrainingJob
    profile: Profile = Profile()


class Refused(Fact, frozen=True, kw_only=True):
    """An intent that cannot be granted; nothing of it is kept but this, for the audit."""

    intent: str  # the input's type
    subject: str  # the job, service, node or tenant it was about
    reason: Reason


class JobForecast(Fact, frozen=True, kw_only=True):
    """The promise made at submission."""

    job: JobId
    forecast: Forecast


class JobHeld(Fact, frozen=True, kw_only=True):
    """The job will not be placed before `until`: crash-loop back-off."""

    job: JobId
    until: Instant
    reason: Reason


class RungTaken(Fact, frozen=True, kw_only=True):
    """What is done about the job's last failure, and on what evidence."""

    job: JobId
    rung: RungKind
    why: str
    #: Nothing later than this step is loaded (-1: no limit).
    resume_step: int = -1


class CancelRequested(Fact, frozen=True, kw_only=True):
    """Someone asked to cancel the job; its gang is being stopped."""

    job: JobId
    by: str = ""


class JobEnded(Fact, frozen=True, kw_only=True):
    """The job is over."""

    job: JobId
    outcome: Outcome
    text: str = ""


# ---- gangs: one attempt of a job, or one replica of a service --------------------------------


class GangPlaced(Fact, frozen=True, kw_only=True):
    """Chips are held for the attempt, all or none, in rank order. The engine is told to start it."""

    attempt: AttemptId
    #: Exactly one of the two.
    job: JobId = JobId("")
    service: ServiceId = ServiceId("")
    #: What was asked for: the job, or one of the replicas that a service wants.
    owner: str = ""
    members: tuple[Member, ...]
    #: By when every member must have started.
    until: Instant
    #: Nodes of the attempt before that others stand in for now (empty for a fresh placement).
    replaced: tuple[NodeId, ...] = ()
    #: Predicted run time on these nodes; 0: unknown, or a service.
    run_ns: Span = 0


class MemberStarted(Fact, frozen=True, kw_only=True):
    """The attempt's processes exist on the node."""

    attempt: AttemptId
    node: NodeId


class GangStarted(Fact, frozen=True, kw_only=True):
    """Every member's processes exist."""

    attempt: AttemptId


class GangRunning(Fact, frozen=True, kw_only=True):
    """Training goes on after `step`, or the replica is ready at `url`: chips are now useful."""

    attempt: AttemptId
    step: int = 0
    url: str = ""


class ReplicaStalled(Fact, frozen=True, kw_only=True):
    """A ready replica stopped answering: no request goes there. At `until` it is restarted."""

    attempt: AttemptId
    until: Instant
    detail: str = ""


class StepsDone(Fact, frozen=True, kw_only=True):
    """Training progress since the last such fact of the attempt."""

    attempt: AttemptId
    step: int
    steps: int  # how many
    tokens: int = 0
    flops: float = 0.0
    loss: float = 0.0
    step_ns: Span = 0
    #: Parts of the time since the last report, of one chip: waiting for slow nodes, communication that no
    #: computation hides, what a limit on power or heat took.
    straggled_ns: Span = 0
    exposed_ns: Span = 0
    throttled_ns: Span = 0


class LeaveAsked(Fact, frozen=True, kw_only=True):
    """The gang should leave its nodes: training checkpoints first, a replica waits for its substitute.

    At `until` it is stopped anyway.
    """

    attempt: AttemptId
    #: Names this request in the checkpoint that answers it.
    request: str
    why: str
    until: Instant
    cause: StopCause = "moved"
    #: Owner of the gang that it makes room for, if any.
    claimant: str = ""


class CheckpointRecorded(Fact, frozen=True, kw_only=True):
    """A complete checkpoint exists: work up to `step` can no longer be lost.

    In memory it is lost with both nodes that hold the same part; then `GangStopped` says so.
    """

    job: JobId
    attempt: AttemptId
    step: int
    path: str
    checkpoint_bytes: int = 0
    #: For it, and for `saves` - 1 before that nobody told of.
    stall_ns: Span = 0
    saves: int = 1
    write_ns: Span = 0
    request: str = ""
    tier: Tier = "storage"


class WorkerNoted(Fact, frozen=True, kw_only=True):
    """A worker's own words, kept with the attempt's story."""

    attempt: AttemptId
    node: NodeId
    text: str
    fatal: bool = False


class MemberDone(Fact, frozen=True, kw_only=True):
    """The attempt's processes on the node ended with this code."""

    attempt: AttemptId
    node: NodeId
    code: int
    detail: str = ""


class GangStopping(Fact, frozen=True, kw_only=True):
    """The attempt is over; what is left of it is being stopped. At `until` its nodes are fenced."""

    attempt: AttemptId
    cause: StopCause
    why: str = ""
    until: Instant = 0
    #: When work really stopped: from then until now nobody knew (0: when the fact became so).
    since: Instant = 0


class MemberFenced(Fact, frozen=True, kw_only=True):
    """Nothing of the attempt runs on the node any more. Chips stay held until GangStopped."""

    attempt: AttemptId
    node: NodeId


class GangFenced(Fact, frozen=True, kw_only=True):
    """Nothing of the attempt runs on any node any more: MemberFenced of all that were left."""

    attempt: AttemptId


class GangStopped(Fact, frozen=True, kw_only=True):
    """Nothing of the attempt runs anywhere and its chips are free, all at once.

    Whatever was done after `kept_step` must be redone.
    """

    attempt: AttemptId
    cause: StopCause
    kept_step: int = 0
    #: Where the checkpoint of `kept_step` is.
    tier: Tier = "storage"
    why: str = ""
    #: The node whose processes failed first by themselves, if any did.
    root: NodeId = NodeId("")


# ---- services --------------------------------------------------------------------------------


class ServiceSet(Fact, frozen=True, kw_only=True):
    """The service exists as given."""

    service: ServiceId
    spec: InferenceService
    model_path: str


class ServiceScaled(Fact, frozen=True, kw_only=True):
    """How many replicas are wanted now, and why. `until`: when to look again (0: no need)."""

    service: ServiceId
    replicas: int
    #: The load that decided it, and since when it has needed fewer (0: it does not).
    in_flight: float = 0.0
    queued: int = 0
    below_since: Instant = 0
    why: str
    until: Instant = 0


class ServiceLoaded(Fact, frozen=True, kw_only=True):
    """The share of its ready replicas' capacity that is in use from now on; told when it changed much."""

    service: ServiceId
    busy: float


class ServiceHeld(Fact, frozen=True, kw_only=True):
    """No replica is started before `until`: crash-loop back-off."""

    service: ServiceId
    until: Instant
    reason: Reason


class ServiceRemoved(Fact, frozen=True, kw_only=True):
    """The service is gone; its replicas are being stopped."""

    service: ServiceId


class TokensServed(Fact, frozen=True, kw_only=True):
    """Tokens of one request, cumulative: the last fact of a request is the one that counts."""

    request: RequestId
    tenant: TenantId
    service: ServiceId
    prompt_tokens: int
    completion_tokens: int
    final: bool
    #: The model did not count them: of an answer that was cut, or while it goes on.
    estimated: bool = False


# ---- reservations and maintenance --------------------------------------------------------------


class WindowSet(Fact, frozen=True, kw_only=True):
    """Nodes are kept for a tenant, or free of work, between two instants."""

    window: Window
    by: str = ""


class WindowEnded(Fact, frozen=True, kw_only=True):
    """The window is over."""

    name: str


# ---- the site as a whole ---------------------------------------------------------------------


class LookAgain(Fact, frozen=True, kw_only=True):
    """The scheduler wants to be called at that instant even if nothing happens before."""

    until: Instant


class IdleExplained(Fact, frozen=True, kw_only=True):
    """Why free chips are idle from now on."""

    reason: IdleReason


AnyFact = (
    SiteOpened
    | SiteClosed
    | TenantSet
    | KeySet
    | KeyRevoked
    | NodeMoved
    | NodeCordoned
    | NodeTaken
    | NodeSpared
    | NodeEvidence
    | NodeLost
    | LossesForgotten
    | IncidentOpened
    | IncidentJoined
    | IncidentClosed
    | NodeLagged
    | NodeSlow
    | NodeMeasured
    | JobAdmitted
    | Refused
    | JobForecast
    | JobHeld
    | RungTaken
    | CancelRequested
    | JobEnded
    | GangPlaced
    | MemberStarted
    | GangStarted
    | GangRunning
    | ReplicaStalled
    | StepsDone
    | LeaveAsked
    | CheckpointRecorded
    | WorkerNoted
    | MemberDone
    | GangStopping
    | MemberFenced
    | GangFenced
    | GangStopped
    | ServiceSet
    | ServiceScaled
    | ServiceLoaded
    | ServiceHeld
    | ServiceRemoved
    | TokensServed
    | WindowSet
    | WindowEnded
    | LookAgain
    | IdleExplained
)
