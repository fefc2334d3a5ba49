"""What goes into the core: intents (a person asked) and observations (a body reported).

Every input carries `at`, nanoseconds since the epoch of its world, stamped by the edge that made it:
the core has no other clock.
"""

import msgspec

from myriad.fleet.site import Site
from myriad.kernel.ids import AttemptId, JobId, KeyId, NodeId, RequestId, ServiceId, TenantId
from myriad.kernel.units import Instant, Span
from myriad.protocol.values import Profile, Role, Signal, Tier
from myriad.workload.jobs import TrainingJob
from myriad.workload.prices import PriceBook
from myriad.workload.services import InferenceService
from myriad.workload.tenants import Tenant
from myriad.workload.windows import Window


class Input(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of everything the core can be told."""

    at: Instant


# ---- intents ---------------------------------------------------------------------------------


class OpenSite(Input, frozen=True, kw_only=True):
    """The control plane starts with this site: new nodes join, missing ones retire."""

    site: Site
    prices: PriceBook = PriceBook()


class CloseSite(Input, frozen=True, kw_only=True):
    """Stop everything after a checkpoint, start nothing; work resumes at the next OpenSite."""

    grace_ns: Span


class ApplyTenant(Input, frozen=True, kw_only=True):
    """Create or change a tenant."""

    tenant: Tenant


class IssueKey(Input, frozen=True, kw_only=True):
    """A key was minted at the edge; only its hash ever gets here."""

    key: KeyId
    key_hash: str
    role: Role
    tenant: TenantId = TenantId("")  # for role tenant


class RevokeKey(Input, frozen=True, kw_only=True):
    """The key is no longer good."""

    key: KeyId


class SubmitJob(Input, frozen=True, kw_only=True):
    """A tenant asks for a training job. The edge minted the id; the same id again is the same intent."""

    job: JobId
    spec: TrainingJob
    profile: Profile = Profile()


class CancelJob(Input, frozen=True, kw_only=True):
    """Stop the job, in whatever state it is."""

    job: JobId
    by: str = ""


class ApplyService(Input, frozen=True, kw_only=True):
    """Create or change a service. `model_path` was resolved at the edge."""

    service: ServiceId
    spec: InferenceService
    model_path: str


class RemoveService(Input, frozen=True, kw_only=True):
    """Stop the service's replicas and forget it."""

    service: ServiceId


class DrainNode(Input, frozen=True, kw_only=True):
    """An operator wants the node empty: what runs there checkpoints first, then moves."""

    node: NodeId
    by: str = ""
    reason: str = ""


class UndrainNode(Input, frozen=True, kw_only=True):
    """An operator gives the node back. Also the way out for a node kept out as a lemon."""

    node: NodeId


class SetWindow(Input, frozen=True, kw_only=True):
    """Keep nodes for a tenant, or free of work for maintenance, between two instants."""

    window: Window
    by: str = ""


class EndWindow(Input, frozen=True, kw_only=True):
    """The window is over, or is not needed."""

    name: str


# ---- observations: nodes ---------------------------------------------------------------------


class NodeJoined(Input, frozen=True, kw_only=True):
    """The node's agent is up. `instance` names this incarnation: a new one means it was restarted."""

    node: NodeId
    instance: str
    chips: int


class NodeQualified(Input, frozen=True, kw_only=True):
    """Burn-in is over."""

    node: NodeId
    instance: str
    ok: bool
    gemm_flops: float = 0.0  # FLOP/s of one chip, measured
    detail: str = ""


class NodeSignalled(Input, frozen=True, kw_only=True):
    """One source of evidence says the node is, or is not, well."""

    node: NodeId
    instance: str
    source: Signal
    healthy: bool
    detail: str = ""
    #: When whatever ran there stopped, as far as the source can tell (0: it cannot, or now).
    since: Instant = 0


class NodeFenced(Input, frozen=True, kw_only=True):
    """Nothing runs on the node any more, and nothing can: its incarnation is dead."""

    node: NodeId
    instance: str = ""  # empty: whichever was known


class NodeOccupied(Input, frozen=True, kw_only=True):
    """Others use the node through the body's own scheduler; `by` empty: no longer.

    A body that has such a scheduler says it of every node after NodeJoined, one that nobody uses too, and
    when it changes; what was said before the node was lost is forgotten.
    """

    node: NodeId
    by: str
    #: When that scheduler will end it at the latest (0: unknown).
    until: Instant = 0


# ---- observations: gangs ---------------------------------------------------------------------


class MemberStarted(Input, frozen=True, kw_only=True):
    """The attempt's processes exist on the node."""

    attempt: AttemptId
    node: NodeId


class MemberExited(Input, frozen=True, kw_only=True):
    """All of the attempt's processes on the node ended by themselves; code is the worst of them."""

    attempt: AttemptId
    node: NodeId
    code: int  # negative: killed by that signal
    detail: str = ""
    #: When it last did any work: earlier than its end if it hung (0: now).
    since: Instant = 0


class GangStarted(Input, frozen=True, kw_only=True):
    """The attempt's processes exist on every node: the word of a body that sees a gang as one."""

    attempt: AttemptId


class GangExited(Input, frozen=True, kw_only=True):
    """All of the attempt's processes ended by themselves, on every node; code is the worst of them."""

    attempt: AttemptId
    code: int = 0
    #: The node that failed first, if the body knows.
    root: NodeId = NodeId("")
    detail: str = ""
    #: When it last did any work: earlier than its end if it hung (0: now).
    since: Instant = 0


class GangGone(Input, frozen=True, kw_only=True):
    """Answer to StopGang from a body that stops a gang as one: nothing of it runs on any node."""

    attempt: AttemptId


class MemberGone(Input, frozen=True, kw_only=True):
    """Answer to StopGang: nothing of the attempt runs on the node, nor ever will."""

    attempt: AttemptId
    node: NodeId


class TrainingResumed(Input, frozen=True, kw_only=True):
    """The gang has loaded its state and goes on after `step` (0: from scratch)."""

    attempt: AttemptId
    step: int


class StepsReported(Input, frozen=True, kw_only=True):
    """Steps done since the last report of this attempt."""

    attempt: AttemptId
    step: int  # the last one done
    tokens: int  # over the whole gang, since the last report
    flops: float = 0.0  # model FLOPs, since the last report
    loss: float = 0.0
    step_ns: Span = 0  # the last step's time
    #: Parts of the time since the last report, of one chip: waiting for nodes that are slower than they
    #: should be; communication that no computation hides; what a limit on power or heat took.
    straggled_ns: Span = 0
    exposed_ns: Span = 0
    throttled_ns: Span = 0


class GangPaced(Input, frozen=True, kw_only=True):
    """How long each node worked on a step, waiting for others left out. Some nodes may be missing.

    Engines send it every few steps, and may leave out reports in which all nodes are alike as before.
    """

    attempt: AttemptId
    paces: dict[NodeId, Span]


class CheckpointReported(Input, frozen=True, kw_only=True):
    """A checkpoint is complete: durable, or (tier memory) whole in the memory of the gang's nodes."""

    attempt: AttemptId
    step: int
    path: str
    tier: Tier = "storage"
    checkpoint_bytes: int = 0
    stall_ns: Span = 0  # how long training stood still, for it and `saves` - 1 before that were not reported
    saves: int = 1
    write_ns: Span = 0
    request: str = ""  # the request it answers, if any; only storage answers one


class WorkerSpoke(Input, frozen=True, kw_only=True):
    """A line a worker wants on record; `fatal` names why it is about to fail."""

    attempt: AttemptId
    node: NodeId
    text: str
    fatal: bool = False


# ---- observations: services ------------------------------------------------------------------


class ReplicaReady(Input, frozen=True, kw_only=True):
    """The replica answers its health check."""

    attempt: AttemptId
    url: str


class ReplicaUnready(Input, frozen=True, kw_only=True):
    """The replica stopped answering."""

    attempt: AttemptId
    detail: str = ""


class LoadObserved(Input, frozen=True, kw_only=True):
    """The gateway's view of a service's load, averaged over its reporting period."""

    service: ServiceId
    in_flight: float
    queued: int
    #: Share of what the ready replicas can do that is in use (0: not known; from `in_flight` then).
    busy: float = 0.0


class TokensMetered(Input, frozen=True, kw_only=True):
    """Cumulative tokens of one request: later reports of the same request replace earlier ones."""

    request: RequestId
    tenant: TenantId
    service: ServiceId
    prompt_tokens: int
    completion_tokens: int
    final: bool
    #: The model did not count them: of an answer that was cut, or while it goes on.
    estimated: bool = False


class Listening(Input, frozen=True, kw_only=True):
    """From now on who is to do something can be heard: after a start, or a time in which we stood still."""


class Woke(Input, frozen=True, kw_only=True):
    """An order WakeAt came due."""

    about: str
