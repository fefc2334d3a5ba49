"""Hot spares: booted, qualified, idle nodes kept for replacement, spread over racks."""

from collections.abc import Iterator

import numpy as np

from myriad.fleet.columns import Columns, NodeState
from myriad.kernel.ids import NodeId


def missing(columns: Columns, wanted: int) -> Iterator[NodeId]:
    """Nodes to make spares so that `wanted` are ready. The caller applies each before the next.

    Chosen among empty ready nodes: racks with the fewest spares first, good history, last in site order
    (so that gangs, which fill from the front, keep whole racks).
    """
    while True:
        ready = columns.state == NodeState.READY
        empty = ready & (columns.free_count == columns.chips) & ~columns.spare
        candidates = np.flatnonzero(empty)
        if np.count_nonzero(columns.spare & ready) >= wanted or not len(candidates):
            return
        per_rack = np.bincount(columns.rack[columns.spare], minlength=len(columns.racks))
        keys = (-candidates, columns.losses[candidates], per_rack[columns.rack[candidates]])
        yield columns.ids[candidates[np.lexsort(keys)][0]]
