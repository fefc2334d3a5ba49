"""Facts about gangs, each one attempt of a job or one replica of a service: from its placing to its end."""

from myriad.kernel.ids import AttemptId, JobId, NodeId, ServiceId
from myriad.kernel.units import Instant, Span
from myriad.protocol.fact import Fact
from myriad.protocol.values import Member, StopCause, Tier


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


class DeadlineMoved(Fact, frozen=True, kw_only=True):
    """What the attempt, or else the node, was to do by then may take until `until`: nobody led meanwhile."""

    attempt: AttemptId = AttemptId("")
    node: NodeId = NodeId("")
    until: Instant


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
