"""Is the node lost? Two independent signals that agree are proof; one alone must last (hysteresis)."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from myriad.kernel.units import Instant
from myriad.protocol.values import Signal
from myriad.recover.policy import Policy


class Verdict(NamedTuple):
    """What the evidence says now."""

    health: Literal["well", "suspect", "lost"]
    look_again_at: Instant  # 0: no need
    evidence: tuple[Signal, ...]


def judge(unhealthy_since: Mapping[Signal, Instant], now: Instant, policy: Policy) -> Verdict:
    """Judge the signals that are unhealthy now, each with the instant it turned so."""
    evidence = tuple(unhealthy_since)
    if not evidence:
        return Verdict("well", 0, ())
    if len(evidence) >= 2:
        return Verdict("lost", 0, evidence)
    enough_at = min(unhealthy_since.values()) + policy.ns("silence")
    if now >= enough_at:
        return Verdict("lost", 0, evidence)
    return Verdict("suspect", enough_at, evidence)


def is_lemon(losses: tuple[Instant, ...], now: Instant, policy: Policy) -> bool:
    """Whether a node was lost so often within the window that it should not come back by itself."""
    recent = [at for at in losses if now - at <= policy.ns("lemon_window")]
    return len(recent) >= policy.lemon_losses
