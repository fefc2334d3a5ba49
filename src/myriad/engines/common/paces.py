"""How fast the nodes of each gang are: what agents tell with their heartbeats, put together.

A slow node shows only beside its peers, so one report has all of them; a node that was not heard of since the
last one keeps its figure for a while, since the slowest is also the one that tells least often.
"""

from typing import Final

from myriad.kernel.ids import AttemptId, NodeId
from myriad.kernel.units import SECOND, Instant, Span
from myriad.protocol import inputs

#: So often at most a gang's paces are told.
EVERY_NS: Final[Span] = 2 * SECOND
#: What is older says nothing of now.
STALE_NS: Final[Span] = 60 * SECOND


class Paces:
    """The latest word of each node, by attempt."""

    def __init__(self) -> None:
        self._heard: dict[AttemptId, dict[NodeId, tuple[Span, Instant]]] = {}
        self._told_at: dict[AttemptId, Instant] = {}

    def hear(self, attempt: AttemptId, node: NodeId, pace: Span, now: Instant) -> inputs.GangPaced | None:
        """A node's word; the gang's paces when it is time to tell them."""
        heard = self._heard.setdefault(attempt, {})
        heard[node] = (pace, now)
        # the first report waits as long as the others, so that every node has spoken
        if now - self._told_at.setdefault(attempt, now) < EVERY_NS:
            return None
        self._told_at[attempt] = now
        paces = {name: one for name, (one, at) in heard.items() if now - at <= STALE_NS}
        return inputs.GangPaced(at=now, attempt=attempt, paces=paces) if len(paces) > 1 else None

    def forget(self, attempt: AttemptId) -> None:
        """It ended, or began to."""
        self._heard.pop(attempt, None)
        self._told_at.pop(attempt, None)
