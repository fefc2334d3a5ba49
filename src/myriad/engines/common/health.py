"""Evidence about one node: what each source says, told at first and when it changes.

Sources fail independently: a killed agent closes its channel and ends its process; a stopped one keeps
both and only its heart stands still.
"""

from collections.abc import Callable

from myriad.protocol.values import Signal


class Evidence:
    """The last word of each source about one incarnation, told on when it is another one.

    The first is told too: what the control plane before us was told last is not known here, and it may have
    taken a node for silent that is well again.
    """

    def __init__(self, tell: Callable[[Signal, bool, str], None]) -> None:
        self._tell = tell
        self._said: dict[Signal, bool] = {}

    def say(self, source: Signal, healthy: bool, detail: str = "") -> None:
        """What a source sees now."""
        if self._said.get(source) is not healthy:
            self._said[source] = healthy
            self._tell(source, healthy, detail)


class Heart:
    """Pings and answers of one agent."""

    def __init__(self, patience_s: float, now: float) -> None:
        self._patience_s = patience_s
        self._answered_at = self._looked_at = now

    def answered(self, now: float) -> None:
        """The agent gave a sign of life."""
        self._answered_at = now

    def silent_s(self, now: float, every_s: float) -> float:
        """Seconds of silence if it is too long, else 0. `every_s`: how often we mean to look."""
        if now - self._looked_at > 2 * every_s + 0.5:
            self._answered_at = now  # it was we who were held up: answers may lie unread
        self._looked_at = now
        silence_s = now - self._answered_at
        return silence_s if silence_s > self._patience_s else 0.0
