"""Placement: a gang whole or not at all, on the fewest pods and racks, leaving large holes whole.

A gang that was interrupted keeps the nodes that are still good; failed ones are replaced by hot spares
first (that is what they are for), then by the nearest free nodes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from myriad.fleet.columns import Columns, NodeState
from myriad.kernel.ids import NodeId
from myriad.protocol.values import Member
from myriad.schedule.asks import Ask

Rows = NDArray[np.intp]


class Choice(NamedTuple):
    """Where a gang goes."""

    members: tuple[Member, ...]  # in rank order
    replaced: tuple[NodeId, ...]  # nodes of ask.keep that others stand in for


def choose(columns: Columns, ask: Ask) -> Choice | None:
    """Nodes for the whole gang, or None."""
    usable = _usable(columns, ask)
    if ask.keep:
        kept = _keep(columns, ask, usable)
        if kept is not None:
            return kept
    rows = _fresh(columns, np.flatnonzero(usable & ~columns.spare), ask.nodes)
    if rows is None and ask.spares != "never":
        rows = _fresh(columns, np.flatnonzero(usable), ask.nodes)
    return Choice(_members(columns, rows, ask), ()) if rows is not None else None


def _usable(columns: Columns, ask: Ask) -> NDArray[np.bool_]:
    usable: NDArray[np.bool_] = (columns.state == NodeState.READY) & (
        columns.free_count >= ask.chips_per_node
    )
    for node in ask.avoid:
        if node in columns.index:
            usable[columns.index[node]] = False
    return usable


def _keep(columns: Columns, ask: Ask, usable: NDArray[np.bool_]) -> Choice | None:
    """Every good node stays at its rank; the others are filled in. None when that cannot be done."""
    rows = [columns.index[node] for node in ask.keep]
    good = [bool(usable[row]) for row in rows]
    holes = good.count(False)
    if len(rows) != ask.nodes:
        return None
    others = usable & ~columns.spare if ask.spares == "never" else usable.copy()
    others[rows] = False
    candidates = np.flatnonzero(others)
    if len(candidates) < holes:
        return None
    kept = np.array([row for row, fine in zip(rows, good, strict=True) if fine], np.intp)
    substitutes = iter(_nearest(columns, candidates, kept, spares_first=ask.spares == "first")[:holes])
    final = [row if fine else next(substitutes) for row, fine in zip(rows, good, strict=True)]
    replaced = tuple(node for node, fine in zip(ask.keep, good, strict=True) if not fine)
    return Choice(_members(columns, np.array(final, np.intp), ask), replaced)


def _nearest(columns: Columns, candidates: Rows, kept: Rows, *, spares_first: bool) -> Rows:
    """Candidates best first: spares (or those last), good history, same rack, same pod, site order."""
    near_rack = np.isin(columns.rack[candidates], columns.rack[kept])
    near_pod = np.isin(columns.pod[candidates], columns.pod[kept])
    spares = columns.spare[candidates] ^ spares_first
    keys = (candidates, ~near_pod, ~near_rack, columns.losses[candidates], spares)
    ordered: Rows = candidates[np.lexsort(keys)]
    return ordered


def _fresh(columns: Columns, candidates: Rows, count: int) -> Rows | None:
    """`count` of the candidates on the fewest pods, then racks; tightest fit first."""
    if len(candidates) < count:
        return None
    pods = _fewest(columns.pod[candidates], len(columns.pods), count)
    within = candidates[np.isin(columns.pod[candidates], pods)]
    racks = _fewest(columns.rack[within], len(columns.racks), count)
    # rank order walks rack by rack, so neighbours in rank are neighbours in the fabric
    position = np.full(len(columns.racks), len(racks))
    position[racks] = np.arange(len(racks))
    within = within[position[columns.rack[within]] < len(racks)]
    keys = (within, columns.free_count[within], columns.losses[within], position[columns.rack[within]])
    chosen: Rows = within[np.lexsort(keys)][:count]
    return chosen


def _fewest(domain: NDArray[np.int32], domains: int, count: int) -> Rows:
    """The fewest domains that together hold `count`: full ones greedily, the last one the tightest fit.

    One domain that holds all is the smallest such (large holes stay whole).
    """
    room = np.bincount(domain, minlength=domains)
    taken: list[int] = []
    while count > 0:
        enough = np.flatnonzero(room >= count)
        best = enough[np.argmin(room[enough])] if len(enough) else np.argmax(room)
        taken.append(int(best))
        count -= int(room[best])
        room[best] = 0
    return np.array(taken, np.intp)


def _members(columns: Columns, rows: Rows, ask: Ask) -> tuple[Member, ...]:
    nodes = [columns.ids[row] for row in rows]
    return tuple(Member(node=node, chips=columns.pick_chips(node, ask.chips_per_node)) for node in nodes)
