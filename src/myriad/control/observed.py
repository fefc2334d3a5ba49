"""What this control plane has itself seen of failures and repairs, as rates that policies work with."""

import numpy as np
from numpy.typing import NDArray

from myriad.control.policy import Policy
from myriad.control.records import Job
from myriad.control.state import State
from myriad.kernel.units import Span
from myriad.recover import cadence, sizing
from myriad.schedule import spares


def node_rate(state: State, policy: Policy) -> float:
    """Losses of a node, per ns in service."""
    return cadence.node_losses_per_ns(state.failures, state.service_ns, policy.recover)


def gang_rate(state: State, policy: Policy, job: Job, nodes: int) -> float:
    """Failures of a gang of the job on so many nodes, per ns: any of them, or itself."""
    own = cadence.job_faults_per_ns(job.own_faults, job.run_ns, policy.recover)
    return node_rate(state, policy) * nodes + own


def repair_time(state: State, policy: Policy) -> Span:
    """How long a lost node is away."""
    return sizing.repair_ns(state.repairs, state.repair_ns, policy.recover)


def spares_per_pod(state: State, policy: Policy) -> NDArray[np.intp]:
    """Hot spares that each pod needs, so that one is there for a lost node with the policy's probability."""
    share = sizing.lost_share(node_rate(state, policy), repair_time(state, policy))
    probability = policy.recover.spares_probability
    return spares.wanted_per_pod(state.columns, lambda nodes: sizing.spares(nodes, share, probability))
