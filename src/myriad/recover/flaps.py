"""How long must a node be well before it is trusted? Longer each time it goes down again (flap damping).

As routers damp routes that come and go (RFC 2439): every flap adds a penalty of 1 that halves with each
half-life, and each whole penalty above the first doubles the time to settle, up to a ceiling.
"""

import math
from collections.abc import Iterable

from myriad.kernel.units import Instant, Span
from myriad.recover.policy import Policy


def penalty(flaps: Iterable[Instant], now: Instant, policy: Policy) -> float:
    """What is left of all flaps."""
    half_life = policy.ns("flap_half_life")
    return sum(math.exp2(-(now - at) / half_life) for at in flaps)


def settle_ns(flaps: Iterable[Instant], now: Instant, policy: Policy) -> Span:
    """How long the node must stay well: `settle` after one flap, doubled for each more that is remembered."""
    settle, ceiling = policy.ns("settle"), max(policy.ns("flap_ceiling"), policy.ns("settle"))
    doublings = max(0.0, penalty(flaps, now, policy) - 1.0)
    # beyond 60 doublings the ceiling is reached whatever the units
    return min(round(settle * math.exp2(min(doublings, 60.0))), ceiling)
