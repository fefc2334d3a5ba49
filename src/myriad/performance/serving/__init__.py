"""How long inference takes and how many chips it needs.

Prefill, decode, batches under load, replicas, pools. Pure NumPy over arrays of layouts; no clock, chance or
files. In the order they build on each other: `machine` (plain numbers of chip, fabric and stack), `shapes`
(matrices, keys and values, layouts), `times` (one step), `lanes` (steps at every batch), `load` (a lane
under Poisson arrivals), `pools` (replicas for an SLO; prefill apart from decode), `plan` (`serve_plan`).
"""

from myriad.performance.serving.lanes import Lengths
from myriad.performance.serving.plan import ServePlan, serve_plan
from myriad.performance.serving.pools import Slo

__all__ = ["Lengths", "ServePlan", "Slo", "serve_plan"]
