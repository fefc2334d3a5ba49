"""What the plots need and the books do not keep: who was where and when, and every step's loss."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import AttemptId, JobId, NodeId
from myriad.kernel.units import Instant, Span
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.values import StopCause

#: State shown for a READY node that is a hot spare.
SPARE = "SPARE"


class StateSpan(msgspec.Struct):
    """A node was in a state; `end` None: it still is."""

    state: str
    start: Instant
    end: Instant | None = None


class Attempt(msgspec.Struct, kw_only=True):
    """One gang, from placement to its end."""

    attempt: AttemptId
    owner: str
    is_service: bool
    nodes: tuple[NodeId, ...]
    placed_at: Instant
    #: Useful stretches; the last may still be open.
    useful: list[StateSpan] = []
    stopped_at: Instant | None = None
    cause: StopCause | None = None
    why: str = ""
    resumed_step: int = 0
    kept_step: int = 0


class Point(NamedTuple):
    """One report of training progress."""

    at: Instant
    attempt: AttemptId
    step: int
    loss: float
    step_ns: Span


class Story:
    """A fold of facts, like the ledger; made on demand from a journal."""

    def __init__(self) -> None:
        self.opened_at: Instant | None = None
        self.now: Instant = 0
        self.nodes: dict[NodeId, list[StateSpan]] = {}
        self._states: dict[NodeId, NodeState] = {}
        self._spares: dict[NodeId, bool] = {}
        self.attempts: dict[AttemptId, Attempt] = {}
        self.points: dict[JobId, list[Point]] = {}
        self.checkpoints: dict[JobId, list[tuple[Instant, int]]] = {}
        self.losses: list[tuple[Instant, NodeId]] = []

    def fold(self, fact: Fact) -> None:
        """Remember what a plot will want of it."""
        self.now = max(self.now, fact.at)
        if remember := _REMEMBER.get(type(fact)):
            remember(self, fact)

    def fold_all(self, many: Iterable[Fact]) -> "Story":
        """Fold many facts; returns itself."""
        for fact in many:
            self.fold(fact)
        return self

    def _node(self, node: NodeId, at: Instant) -> None:
        state = self._states.get(node, NodeState.JOINING)
        name = SPARE if state == NodeState.READY and self._spares.get(node) else state.name
        spans = self.nodes.setdefault(node, [])
        if spans and spans[-1].state == name:
            return
        if spans:
            spans[-1].end = at
        spans.append(StateSpan(name, at))

    def opened(self, fact: facts.SiteOpened) -> None:
        """Nodes appear."""
        self.opened_at = fact.at if self.opened_at is None else self.opened_at
        for place in fact.site.places():
            self._node(place.node, fact.at)

    def moved(self, fact: facts.NodeMoved) -> None:
        """A node is in a new state."""
        self._states[fact.node] = fact.state
        self._node(fact.node, fact.at)

    def spared(self, fact: facts.NodeSpared) -> None:
        """A node became a spare, or was taken into use."""
        self._spares[fact.node] = fact.spare
        self._node(fact.node, fact.at)

    def lost(self, fact: facts.NodeLost) -> None:
        """A mark on the time line."""
        self.losses.append((fact.at, fact.node))

    def placed(self, fact: facts.GangPlaced) -> None:
        """A bar begins on every member's row."""
        self.attempts[fact.attempt] = Attempt(
            attempt=fact.attempt,
            owner=fact.job or fact.service,
            is_service=bool(fact.service),
            nodes=tuple(member.node for member in fact.members),
            placed_at=fact.at,
        )

    def running(self, fact: facts.GangRunning) -> None:
        """It is useful now."""
        attempt = self.attempts[fact.attempt]
        attempt.resumed_step = fact.step
        if not attempt.useful or attempt.useful[-1].end is not None:
            attempt.useful.append(StateSpan("useful", fact.at))

    def paused(self, fact: facts.ReplicaStalled | facts.GangStopping) -> None:
        """It is not useful any more."""
        attempt = self.attempts[fact.attempt]
        if attempt.useful and attempt.useful[-1].end is None:
            attempt.useful[-1].end = fact.at

    def stopped(self, fact: facts.GangStopped) -> None:
        """Its bar ends."""
        attempt = self.attempts[fact.attempt]
        if attempt.useful and attempt.useful[-1].end is None:
            attempt.useful[-1].end = fact.at
        attempt.stopped_at, attempt.cause, attempt.why = fact.at, fact.cause, fact.why
        attempt.kept_step = fact.kept_step

    def progressed(self, fact: facts.StepsDone) -> None:
        """A point of the curves."""
        job = JobId(self.attempts[fact.attempt].owner)
        point = Point(fact.at, fact.attempt, fact.step, fact.loss, fact.step_ns)
        self.points.setdefault(job, []).append(point)

    def saved(self, fact: facts.CheckpointRecorded) -> None:
        """A mark under the curves."""
        self.checkpoints.setdefault(fact.job, []).append((fact.at, fact.step))


_REMEMBER: dict[type[Fact], Callable[[Story, Any], None]] = {
    facts.SiteOpened: Story.opened,
    facts.NodeMoved: Story.moved,
    facts.NodeSpared: Story.spared,
    facts.NodeLost: Story.lost,
    facts.GangPlaced: Story.placed,
    facts.GangRunning: Story.running,
    facts.ReplicaStalled: Story.paused,
    facts.GangStopping: Story.paused,
    facts.GangStopped: Story.stopped,
    facts.StepsDone: Story.progressed,
    facts.CheckpointRecorded: Story.saved,
}
