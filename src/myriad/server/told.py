"""Observations and facts worth a line of the log: orders that the body refused, nodes that were lost."""

from collections.abc import Sequence
from typing import Final

from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.protocol.inputs import Input
from myriad.server import log

#: Exit code of what could not even be started, as shells have it.
_CANNOT_START: Final = 126


def by_body(given: Input) -> None:
    """An observation, as it comes from the body."""
    match given:
        case inputs.MemberExited(code=code) | inputs.GangExited(code=code) if code == _CANNOT_START:
            where = f" on {given.node}" if isinstance(given, inputs.MemberExited) else ""
            log.often(
                "warning",
                "order-refused",
                f"the body refuses to start {given.attempt}{where}: {given.detail}",
                attempt=given.attempt,
            )


def by_brain(_seq: int, _cause: str, happened: Sequence[Fact]) -> None:
    """What has just become true. An observer of the wheel, not of the fold at the start."""
    for fact in happened:
        match fact:
            case facts.NodeLost():
                log.often("warning", "node-lost", _lost(fact), node=fact.node)
            case facts.IncidentOpened():
                log.often(
                    "warning",
                    "incident",
                    f"{fact.kind} {fact.domain} failed as one: {fact.why}",
                    incident=fact.incident,
                    kind=fact.kind,
                    domain=fact.domain,
                )


def _lost(fact: facts.NodeLost) -> str:
    why = "does not do what it is told" if "order" in fact.evidence else ", ".join(fact.evidence)
    return f"{fact.node} is lost ({why}){': ' if fact.detail else ''}{fact.detail}"
