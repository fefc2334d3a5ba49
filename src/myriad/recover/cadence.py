"""How often to checkpoint: Young (1974) and Daly (2006), with a failure rate learned from this site."""

from myriad.kernel.units import DAY, SECOND, Span
from myriad.performance import goodput
from myriad.recover.policy import Policy


def node_losses_per_ns(losses: int, node_ns: int, policy: Policy) -> float:
    """Posterior mean of the loss rate of one node: a gamma prior updated by what was observed."""
    return (policy.prior_losses + losses) / (policy.prior_node_days * DAY + node_ns)


def interval_s(cost_ns: Span, nodes: int, losses_per_ns: float) -> float:
    """Seconds between checkpoints of a gang of `nodes`, each checkpoint stalling it for `cost_ns`."""
    mean_ns = 1.0 / (losses_per_ns * nodes)
    return goodput.young_daly(cost_ns, mean_ns) / SECOND
