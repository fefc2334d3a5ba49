"""How many hot spares: the fewest that are enough with a stated probability (binomial tail).

ByteRobust (2025) sizes its warm standbys so, for P99. Losses are taken to be independent: an incident of a
whole rack is beyond any sensible number of spares and is waited for, or shrunk around.
"""

import math

from myriad.kernel.units import Span
from myriad.recover.policy import Policy


def repair_ns(repairs: int, total_ns: Span, policy: Policy) -> Span:
    """Time from losing a node until it is ready again: the mean of prior and observed repairs."""
    prior_ns = policy.prior_repairs * policy.ns("prior_repair")
    return round((prior_ns + total_ns) / (policy.prior_repairs + repairs))


def lost_share(losses_per_ns: float, repair_ns: Span) -> float:
    """Probability that a node is lost within the time that a repair takes."""
    return -math.expm1(-losses_per_ns * repair_ns)


def spares(nodes: int, share: float, probability: float) -> int:
    """The smallest s with P(at most s of `nodes` are lost) >= probability, each lost with `share`.

    Exact: terms of the binomial by their recurrence in logarithms, so that none overflows and those that
    vanish do not matter.
    """
    if nodes <= 0 or share <= 0:
        return 0
    if share >= 1:
        return nodes
    odds = math.log(share) - math.log1p(-share)
    term = nodes * math.log1p(-share)
    sum_so_far = math.exp(term)
    for lost in range(nodes):
        if sum_so_far >= probability:
            return lost
        term += odds + math.log((nodes - lost) / (lost + 1))
        sum_so_far += math.exp(term)
    return nodes
