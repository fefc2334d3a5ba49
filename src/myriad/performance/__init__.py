"""How long things take: training and serving of models on chips, layouts for them, and what failures cost.

Usable alone: `from myriad.performance import plan`.
"""

from myriad.performance.planner import plan

__all__ = ["plan"]
