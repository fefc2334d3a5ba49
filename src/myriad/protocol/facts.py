"""What is now true. Facts alone change state and are journalled; the ledger is a fold of them.

Those about nodes and gangs are in `node_facts` and `gang_facts`, and found here too.
"""

from myriad.fleet.site import Site
from myriad.kernel.ids import JobId, KeyId, RequestId, ServiceId, TenantId
from myriad.kernel.units import Instant
from myriad.protocol.fact import Fact
from myriad.protocol.gang_facts import (
    CheckpointRecorded,
    DeadlineMoved,
    GangFenced,
    GangPlaced,
    GangRunning,
    GangStarted,
    GangStopped,
    GangStopping,
    LeaveAsked,
    MemberDone,
    MemberFenced,
    MemberStarted,
    ReplicaStalled,
    StepsDone,
    WorkerNoted,
)
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
    Outcome,
    Profile,
    Reason,
    Role,
    RungKind,
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
    "DeadlineMoved",
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
    | DeadlineMoved
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
