"""Nodes of this machine as real processes.

    control plane ── unix socket ──> agent of n0 ──fork──> worker rank 0
      (LocalEngine)                  agent of n1 ──fork──> worker rank 1
            └── unix socket ──> zygote: imports torch once, forks agents

The control plane may die at any time: zygote, agents and workers live on and are adopted by the next
one. Killing an agent kills its workers, as losing a real node would.
"""

from myriad.engines.local.engine import LocalEngine

__all__ = ["LocalEngine"]
