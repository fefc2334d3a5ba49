"""Nobody is late for time in which nobody led: no order could be repeated then, and no answer heard."""

from typing import ClassVar

from myriad.kernel.units import show_span
from myriad.protocol import facts
from myriad.protocol.fact import Fact
from myriad.twin.checkers.base import Checker


class Patience(Checker):
    """Whoever is given up for want of an answer had the whole time for it since somebody led."""

    law: ClassVar[str] = "nobody is late while nobody leads"

    def hear(self, fact: Fact) -> None:
        """What is concluded from silence."""
        if isinstance(fact, facts.NodeLost) and fact.detail.startswith("did not stop"):
            self._had("stop_timeout", fact.node, fact)
        elif isinstance(fact, facts.NodeLost) and fact.evidence == ("heartbeat",):
            self._had("silence", fact.node, fact)
        elif isinstance(fact, facts.GangStopping) and fact.why.startswith("did not start in time"):
            self._had("start_timeout", fact.attempt, fact)
        elif isinstance(fact, facts.GangStopping) and fact.why.endswith("did not checkpoint in time"):
            self._had("stop_timeout", fact.attempt, fact)

    def _had(self, span: str, subject: str, fact: Fact) -> None:
        led_ns = fact.at - self.scene.led_since
        patience_ns = self.scene.core.policy.recover.ns(span)
        if self.scene.led_since and led_ns < patience_ns:
            told = f"{subject} is given up after {span}, {show_span(patience_ns)}: somebody has led for"
            raise self.broken(subject, f"{told} {show_span(led_ns)}")
