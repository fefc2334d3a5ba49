"""The best schedule of a small instance, proved: a mixed-integer programme solved by HiGHS (through SciPy).

Time is cut into whole slots; x[j, t] = 1 when job j starts in slot t; in every slot the nodes of those that
run fit the site (Pritsker, Watters and Wolfe, 1969; good bounds for weighted completion times: Sousa and
Wolsey, 1992). All jobs are there at 0, run times are known, nodes are alike and racks are ignored.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

#: Seconds for one solve; one that takes longer is an error, since nothing would be proved.
PATIENCE_S = 300
#: The optimum is known to this, and the bound below it is what is used: a gap is never flattered.
PRECISION = 2e-3


class Task(NamedTuple):
    """A job of a small instance."""

    nodes: int
    slots: int


def makespan(site_nodes: int, tasks: Sequence[Task], known: int) -> int:
    """The smallest time by which all can be done. `known`: that of some schedule."""
    work = sum(task.nodes * task.slots for task in tasks)
    for end in range(max(-(-work // site_nodes), *(task.slots for task in tasks)), known):
        if _solve(site_nodes, tasks, [0.0] * len(tasks), [end] * len(tasks)) is not None:
            return end
    return known


def weighted_completion(
    site_nodes: int, tasks: Sequence[Task], weights: Sequence[float], known: float
) -> float:
    """The smallest sum of weight x completion time, from below. `known`: that of some schedule."""
    alone = [weight * task.slots for weight, task in zip(weights, tasks, strict=True)]
    # a job that ended later than this would alone spoil `known`; and some best schedule never idles
    rest = known - sum(alone)
    whole = sum(task.slots for task in tasks)
    ends = [
        min(whole, int((rest + mine) / weight + 1e-6)) for mine, weight in zip(alone, weights, strict=True)
    ]
    best = _solve(site_nodes, tasks, weights, ends)
    assert best is not None, "the known schedule is one"
    return best


def _solve(
    site_nodes: int, tasks: Sequence[Task], weights: Sequence[float], ends: Sequence[int]
) -> float | None:
    """Smallest sum of weight x completion with job j done by ends[j]; None if there is no such schedule."""
    starts = [
        (j, t)
        for j, (task, end) in enumerate(zip(tasks, ends, strict=True))
        for t in range(end - task.slots + 1)
    ]
    cost = np.array([weights[j] * (t + tasks[j].slots) for j, t in starts])
    job = np.array([j for j, _ in starts])
    column = np.arange(len(starts))
    once = coo_array((np.ones(len(starts)), (job, column)), (len(tasks), len(starts)))
    cells = [(t + k, n, tasks[j].nodes) for n, (j, t) in enumerate(starts) for k in range(tasks[j].slots)]
    slot, where, nodes = np.array(cells).T
    held = coo_array((nodes.astype(float), (slot, where)), (max(ends), len(starts)))
    found = milp(
        cost,
        integrality=np.ones(len(starts)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(once, 1, 1), LinearConstraint(held, -np.inf, site_nodes)],
        options={"time_limit": PATIENCE_S, "mip_rel_gap": PRECISION},
    )
    if found.status == 2:  # infeasible
        return None
    assert found.status == 0, f"not proved in {PATIENCE_S} s: {found.message}"
    return float(found.mip_dual_bound)
