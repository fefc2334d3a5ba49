"""How often to checkpoint: from failure rates that this site and this job have shown.

Two hazards add up (docs/recovery.md): of each node by its hardware, of the job by its software. Each is the
mean of a gamma posterior: prior events in prior time, plus those observed in observed time.
"""

from typing import NamedTuple

from myriad.kernel.units import DAY, SECOND, Span
from myriad.performance import goodput
from myriad.recover.policy import Policy


class Intervals(NamedTuple):
    """Seconds between checkpoints of each tier."""

    storage_s: float
    memory_s: float  # 0: none


def node_losses_per_ns(losses: int, node_ns: int, policy: Policy) -> float:
    """Losses of one node in service: posterior mean. An incident of many nodes counts as one loss."""
    return (policy.prior_losses + losses) / (policy.prior_node_days * DAY + node_ns)


def job_faults_per_ns(faults: int, run_ns: Span, policy: Policy) -> float:
    """Faults of one job by itself while it runs: posterior mean."""
    return (policy.prior_job_faults + faults) / (policy.prior_job_days * DAY + run_ns)


def memory_share(survived: int, died: int, policy: Policy) -> float:
    """Share of failures after which copies in memory are enough: mean of a beta posterior."""
    weight = policy.prior_memory_failures
    return (policy.prior_memory_share * weight + survived) / (weight + survived + died)


def interval_s(cost_ns: Span, failures_per_ns: float) -> float:
    """Seconds between checkpoints that stall training for `cost_ns` each: Young (1974), Daly (2006)."""
    return goodput.young_daly(cost_ns, 1.0 / failures_per_ns) / SECOND


def intervals(*, storage_ns: Span, memory_ns: Span, share: float, failures_per_ns: float) -> Intervals:
    """Both tiers at once. `share` of the failures goes back to memory, the others to storage.

    To first order the two do not disturb each other: each tier pays cost / interval + rate x interval / 2
    with the rate of the failures that go back to it (Benoit et al., IEEE ToC 2017, two levels). Copies
    in memory (cost 0: not in use) are pointless where storage would be written as often.
    """
    if not memory_ns:
        return Intervals(interval_s(storage_ns, failures_per_ns), 0.0)
    memory_s = interval_s(memory_ns, failures_per_ns * share)
    storage_s = interval_s(storage_ns, failures_per_ns * (1 - share))
    alone_s = interval_s(storage_ns, failures_per_ns)
    return Intervals(storage_s, memory_s) if memory_s < alone_s else Intervals(alone_s, 0.0)
