"""Hot spares: booted, qualified, idle nodes kept for replacement, spread over racks.

A site says how many there should be, for the whole site or for each pod; `wanted_per_pod` asks a sizing rule
how many a pod of that size needs.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from myriad.fleet.columns import Columns, NodeState
from myriad.kernel.ids import NodeId

#: Wanted spares: of the site, or of each pod in the order of `columns.pods`.
Wanted = int | NDArray[np.intp]

#: Where nothing of ours runs, nor will soon.
_GONE = (NodeState.RETIRED, NodeState.DRAINED, NodeState.OCCUPIED)


def wanted_per_pod(columns: Columns, spares_of: Callable[[int], int]) -> NDArray[np.intp]:
    """How many spares each pod should have, by a rule from the number of its nodes that do or will serve."""
    serving = ~np.isin(columns.state, _GONE)
    sizes = np.bincount(columns.pod[serving], minlength=len(columns.pods))
    return np.array([spares_of(int(size)) for size in sizes], np.intp)


def missing(columns: Columns, wanted: Wanted) -> Iterator[NodeId]:
    """Nodes to make spares so that as many as wanted are ready. The caller applies each before the next.

    Chosen among empty ready nodes: racks with the fewest spares first, good history, last in site order
    (so that gangs, which fill from the front, keep whole racks).
    """
    while True:
        ready = columns.state == NodeState.READY
        empty = ready & (columns.free_count == columns.chips) & ~columns.spare
        candidates = np.flatnonzero(empty & _short(columns, ready & columns.spare, wanted))
        if not len(candidates):
            return
        per_rack = np.bincount(columns.rack[columns.spare], minlength=len(columns.racks))
        keys = (-candidates, columns.losses[candidates], per_rack[columns.rack[candidates]])
        yield columns.ids[candidates[np.lexsort(keys)][0]]


def surplus(columns: Columns, wanted: Wanted) -> Iterator[NodeId]:
    """Spares that are more than wanted, to be given back: racks with the most spares first, then site order.

    The caller applies each before the next.
    """
    while True:
        spares = (columns.state == NodeState.READY) & columns.spare
        candidates = np.flatnonzero(spares & _over(columns, spares, wanted))
        if not len(candidates):
            return
        per_rack = np.bincount(columns.rack[spares], minlength=len(columns.racks))
        keys = (candidates, -per_rack[columns.rack[candidates]])
        yield columns.ids[candidates[np.lexsort(keys)][0]]


def _short(columns: Columns, spares: NDArray[np.bool_], wanted: Wanted) -> NDArray[np.bool_]:
    """By node, whether its pod (or the site) has too few spares."""
    lacks: NDArray[np.bool_] = (_counts(columns, spares, wanted) < wanted)[_domains(columns, wanted)]
    return lacks


def _over(columns: Columns, spares: NDArray[np.bool_], wanted: Wanted) -> NDArray[np.bool_]:
    exceeds: NDArray[np.bool_] = (_counts(columns, spares, wanted) > wanted)[_domains(columns, wanted)]
    return exceeds


def _domains(columns: Columns, wanted: Wanted) -> NDArray[np.int32]:
    return np.zeros(len(columns), np.int32) if isinstance(wanted, int) else columns.pod


def _counts(columns: Columns, spares: NDArray[np.bool_], wanted: Wanted) -> NDArray[np.intp]:
    domains = 1 if isinstance(wanted, int) else len(columns.pods)
    return np.bincount(_domains(columns, wanted)[spares], minlength=domains)
