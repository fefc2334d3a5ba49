"""Nobody is late for time in which nobody led: no order could be repeated then, and no answer heard."""

from typing import ClassVar

from myriad.kernel.ids import AttemptId
from myriad.kernel.units import Span, show_span
from myriad.protocol import facts
from myriad.protocol.fact import Fact
from myriad.twin.checkers.base import Checker, Scene


class Patience(Checker):
    """Whoever is given up for want of an answer had the whole time for it since somebody led."""

    law: ClassVar[str] = "nobody is late while nobody leads"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        #: How long a gang was given to leave.
        self._leaves: dict[AttemptId, Span] = {}

    def hear(self, fact: Fact) -> None:
        """What is concluded from silence."""
        span_ns = self.scene.core.policy.recover.ns
        if isinstance(fact, facts.LeaveAsked):
            self._leaves[fact.attempt] = fact.until - fact.at
        elif isinstance(fact, facts.GangStopped):
            self._leaves.pop(fact.attempt, None)
        elif isinstance(fact, facts.NodeLost) and fact.detail.startswith("did not stop"):
            self._had(span_ns("stop_timeout"), fact.node, fact)
        elif isinstance(fact, facts.NodeLost) and fact.evidence == ("heartbeat",):
            self._had(span_ns("silence"), fact.node, fact)
        elif isinstance(fact, facts.GangStopping) and fact.why.startswith("did not start in time"):
            self._had(span_ns("start_timeout"), fact.attempt, fact)
        elif isinstance(fact, facts.GangStopping) and fact.why.endswith("did not checkpoint in time"):
            self._had(self._leaves[fact.attempt], fact.attempt, fact)

    def _had(self, patience_ns: Span, subject: str, fact: Fact) -> None:
        led_ns = fact.at - self.scene.led_since
        if self.scene.led_since and led_ns < patience_ns:
            told = f"{subject} is given up after {show_span(patience_ns)}: somebody has led for"
            raise self.broken(subject, f"{told} {show_span(led_ns)}")
