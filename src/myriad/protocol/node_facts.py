"""Facts about nodes: their life, what speaks against them, and incidents that take several at once."""

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import IncidentId, NodeId
from myriad.kernel.units import Instant
from myriad.protocol.fact import Fact
from myriad.protocol.values import DomainKind, Signal


class NodeMoved(Fact, frozen=True, kw_only=True):
    """The node is in a new state. `until`: when control wants to look again (0: no need)."""

    node: NodeId
    state: NodeState
    why: str = ""
    until: Instant = 0
    #: The incarnation this is about, when one is known.
    instance: str = ""


class NodeCordoned(Fact, frozen=True, kw_only=True):
    """Whether someone (an operator, or Myriad about a lemon) wants the node kept out of service."""

    node: NodeId
    cordoned: bool
    by: str = ""
    reason: str = ""


class NodeTaken(Fact, frozen=True, kw_only=True):
    """Others use the node through the cluster's own scheduler; `by` empty: no longer."""

    node: NodeId
    by: str = ""
    #: When that scheduler ends it at the latest (0: unknown).
    until: Instant = 0


class NodeSpared(Fact, frozen=True, kw_only=True):
    """The node is (or no longer is) a hot spare."""

    node: NodeId
    spare: bool


class NodeEvidence(Fact, frozen=True, kw_only=True):
    """A signal about the node changed."""

    node: NodeId
    source: Signal
    healthy: bool
    detail: str = ""
    #: When whatever ran there stopped, as far as the source can tell (0: it cannot, or when it became so).
    since: Instant = 0


class NodeLost(Fact, frozen=True, kw_only=True):
    """The evidence is enough: the node is gone, its chips do nothing for anyone. Counted for lemons."""

    node: NodeId
    evidence: tuple[Signal, ...]
    detail: str = ""
    #: When it really was gone: from then until now nobody knew (0: when the fact became so).
    since: Instant = 0


class LossesForgotten(Fact, frozen=True, kw_only=True):
    """Losses of the node before an instant are too old to be held against it."""

    node: NodeId
    before: Instant
    #: When the next will be (0: none is left).
    until: Instant = 0


class IncidentOpened(Fact, frozen=True, kw_only=True):
    """Losses that came together are one event of their domain: they are no longer held against the nodes."""

    incident: IncidentId
    kind: DomainKind
    domain: str
    nodes: tuple[NodeId, ...]
    since: Instant
    why: str = ""


class IncidentJoined(Fact, frozen=True, kw_only=True):
    """One more node lost by an incident that is open."""

    incident: IncidentId
    node: NodeId


class IncidentClosed(Fact, frozen=True, kw_only=True):
    """All nodes of the incident are back, or a wider one explains it (`into`)."""

    incident: IncidentId
    into: IncidentId = IncidentId("")


class NodeLagged(Fact, frozen=True, kw_only=True):
    """The node takes `ratio` times as long for a step as its peers do; 0: no longer."""

    node: NodeId
    ratio: float = 0.0


class NodeSlow(Fact, frozen=True, kw_only=True):
    """The node has lagged for so long that new work avoids it; or has not for so long that it is well."""

    node: NodeId
    slow: bool
    ratio: float = 0.0


class NodeMeasured(Fact, frozen=True, kw_only=True):
    """What burn-in measured."""

    node: NodeId
    gemm_flops: float
