"""Placement: a gang whole or not at all, on the fewest pods and racks, leaving large holes whole.

Small gangs go into the tightest hole that takes them, so that large holes stay whole; a gang that needs
several domains fills the largest and ends in the tightest. Ranks go rack by rack inside a pod, so that
neighbours in rank are neighbours in the fabric, and a node's chips are consecutive ranks, so that tensor
parallelism stays on its scale-up links. A gang that was interrupted keeps the nodes that are still good; hot
spares stand in for the failed ones first (that is what they are for), then the nearest free nodes.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from myriad.fleet import blocks
from myriad.fleet.columns import Columns, NodeState, Rows
from myriad.kernel.ids import NodeId
from myriad.protocol.values import Member
from myriad.schedule.asks import Ask
from myriad.schedule.policy import PlacementPolicy
from myriad.workload.jobs import Within

Counts = NDArray[np.int32]
_FULL: Final = np.int64(np.iinfo(np.int64).max)


class Choice(NamedTuple):
    """Where a gang goes."""

    members: tuple[Member, ...]  # in rank order
    rows: tuple[int, ...]
    replaced: tuple[NodeId, ...]  # nodes of ask.keep that others stand in for
    pods: int  # how many pods, racks and cores it spans
    racks: int
    cores: int = 1


def choose(
    columns: Columns,
    ask: Ask,
    nodes: int,
    policy: "PlacementPolicy",
    barred: Rows | None = None,
) -> Choice | None:
    """Nodes for the whole gang of `nodes`, or None. Rows in `barred` are not for it."""
    barred = _barred(columns, ask, barred)
    if ask.keep:
        kept = _keep(columns, ask, nodes, barred)
        if kept is not None:
            return kept
    rows = policy.choose(columns, ask, nodes, barred)
    if rows is None and ask.spares != "never":
        rows = _select(columns, ask, nodes, _with_spares(columns, ask, barred))
    return _choice(columns, rows, ask, ()) if rows is not None else None


class Packed:
    """Fewest domains, tightest hole: the placement that comes with Myriad."""

    def choose(
        self, columns: Columns, ask: Ask, nodes: int, barred: Rows | None
    ) -> Sequence[int] | Rows | None:
        """Rows for a fresh gang, in rank order. Nodes without doubt first, the others if it must be."""
        level = columns.level_of(ask.chips_per_node)
        if level == len(columns.levels):
            return None
        if barred is not None:
            offer = _offers(columns, ask)
            offer[barred] = False
            return _select(columns, ask, nodes, offer)
        if nodes == 1 and (hole := columns.holes.tightest(level, _kind(columns, ask))):
            return [columns.first_clean(*hole)]
        for plane in (1, 0):
            racks, pods = columns.rack_nodes[plane, level], columns.pod_nodes[plane, level]
            if len(columns.kinds) > 1:
                of_kind = columns.pod_kind == _kind(columns, ask)
                pods = np.where(of_kind, pods, 0)
                racks = np.where(of_kind[columns.rack_pod], racks, 0)
            if int(pods.sum()) >= nodes:
                rows = _on_fewest(_Room(columns, ask, racks, pods, None, clean=plane == 1), nodes)
                if rows is not None:
                    return rows
        return None


class FirstFit:
    """Nodes in site order, wherever they are: for comparison, and for sites with a flat fabric."""

    def choose(self, columns: Columns, ask: Ask, nodes: int, barred: Rows | None) -> Rows | None:
        """The first rows that offer enough."""
        offer = _offers(columns, ask)
        if barred is not None:
            offer[barred] = False
        rows = np.flatnonzero(offer)
        if ask.within and len(rows):
            # those of the first domain in site order that has enough
            domain = _domain(columns, ask.within)[rows]
            enough = np.bincount(domain) >= nodes
            rows = rows[domain == domain[enough[domain].argmax()]]
        return rows[:nodes] if len(rows) >= nodes else None


BUILT_IN: Final[Mapping[str, type[PlacementPolicy]]] = {"packed": Packed, "first-fit": FirstFit}


# ---- which nodes may be taken --------------------------------------------------------------------


def _kind(columns: Columns, ask: Ask) -> int:
    """The index of the chip type asked for; the site's own is its first."""
    return columns.kinds.index.get(ask.chip, -1) if ask.chip else 0


def fitting(columns: Columns, ask: Ask) -> int:
    """Nodes that could take a member of the gang now, hot spares included if it may have them."""
    kind = _kind(columns, ask)
    count = columns.fitting(ask.chips_per_node, kind)
    if ask.spares != "never" and columns.spare.any():
        rows = np.flatnonzero(columns.spare & (columns.state == NodeState.READY))
        enough = columns.chips[rows] >= ask.chips_per_node
        count += int((enough & (columns.pod_kind[columns.pod[rows]] == kind)).sum())
    return count


def beside(columns: Columns, ask: Ask, barred: Rows | None) -> int:
    """Nodes that could join a gang where it stands, on `ask.keep`: in its domain, of its type, not barred."""
    if barred is None and not ask.within:
        return columns.fitting(ask.chips_per_node, _kind(columns, ask))
    offer = _offers(columns, ask)
    if barred is not None:
        offer[barred] = False
    if ask.within and ask.keep:
        domain = _domain(columns, ask.within)
        offer &= domain == domain[columns.index[ask.keep[0]]]
    return int(offer.sum())


def _offers(columns: Columns, ask: Ask) -> NDArray[np.bool_]:
    offer: NDArray[np.bool_] = columns.offer >= ask.chips_per_node
    if len(columns.kinds) > 1:
        offer &= columns.pod_kind[columns.pod] == _kind(columns, ask)
    return offer


def _with_spares(columns: Columns, ask: Ask, barred: Rows | None) -> NDArray[np.bool_]:
    offer = _offers(columns, ask)
    spares = np.flatnonzero(columns.spare & (columns.state == NodeState.READY))
    enough = columns.chips[spares] >= ask.chips_per_node
    if len(columns.kinds) > 1:
        enough &= columns.pod_kind[columns.pod[spares]] == _kind(columns, ask)
    offer[spares[enough]] = True
    if barred is not None:
        offer[barred] = False
    return offer


def _barred(columns: Columns, ask: Ask, barred: Rows | None) -> Rows | None:
    avoid = [columns.index[node] for node in ask.avoid if node in columns.index] if ask.avoid else ()
    if not avoid:
        return barred
    rows = np.array(avoid, np.intp)
    return rows if barred is None else np.union1d(rows, barred)


# ---- the survivors of a gang -----------------------------------------------------------------------


def _keep(columns: Columns, ask: Ask, nodes: int, barred: Rows | None) -> Choice | None:
    """Every good node stays, in rank order; holes are filled in. None when that cannot be done."""
    usable = _with_spares(columns, ask, barred) if ask.spares != "never" else _offers(columns, ask)
    if barred is not None:
        usable[barred] = False
    had = [columns.index[node] for node in ask.keep]
    good = [bool(usable[row]) for row in had]
    if len(had) != nodes:
        return _resized(
            columns, ask, nodes, [row for row, fine in zip(had, good, strict=True) if fine], usable
        )
    holes = good.count(False)
    usable[had] = False
    candidates = np.flatnonzero(usable)
    if len(candidates) < holes:
        return None
    kept = np.array([row for row, fine in zip(had, good, strict=True) if fine], np.intp)
    substitutes = iter(_nearest(columns, candidates, kept, spares_first=ask.spares == "first")[:holes])
    final = [row if fine else int(next(substitutes)) for row, fine in zip(had, good, strict=True)]
    if not _is_within(columns, ask, final):
        return None
    replaced = tuple(node for node, fine in zip(ask.keep, good, strict=True) if not fine)
    return _choice(columns, final, ask, replaced)


def _resized(
    columns: Columns, ask: Ask, nodes: int, kept: list[int], usable: NDArray[np.bool_]
) -> Choice | None:
    """Another size: survivors keep their order; a larger gang adds the nearest, a smaller drops the last."""
    if len(kept) < nodes:
        usable[kept] = False
        candidates = np.flatnonzero(usable)
        if len(candidates) < nodes - len(kept):
            return None
        near = _nearest(columns, candidates, np.array(kept, np.intp), spares_first=False)
        kept = kept + [int(row) for row in near[: nodes - len(kept)]]
    rows = kept[:nodes]
    return _choice(columns, rows, ask, ()) if _is_within(columns, ask, rows) else None


def _nearest(columns: Columns, candidates: Rows, kept: Rows, *, spares_first: bool) -> Rows:
    """Candidates best first: spares (or those last), no doubt, same rack, same pod, site order."""
    near_rack = np.isin(columns.rack[candidates], columns.rack[kept])
    near_pod = np.isin(columns.pod[candidates], columns.pod[kept])
    spares = columns.spare[candidates] ^ spares_first
    doubt = columns.losses[candidates] + columns.slow[candidates]
    ordered: Rows = candidates[np.lexsort((candidates, ~near_pod, ~near_rack, doubt, spares))]
    return ordered


# ---- a fresh gang ------------------------------------------------------------------------------------


class _Room(NamedTuple):
    """Nodes that may be taken, and how many each rack and pod has of them."""

    columns: Columns
    ask: Ask
    racks: NDArray[np.integer]
    pods: NDArray[np.integer]
    offer: NDArray[np.bool_] | None  # None: whoever offers enough
    clean: bool  # of these only those without doubt

    def rows(self, rack: int) -> Rows:
        """Those of one rack."""
        columns, rows = self.columns, self.columns.rack_rows[rack]
        if self.offer is not None:
            return rows[self.offer[rows]]
        rows = rows[columns.offer[rows] >= self.ask.chips_per_node]
        return rows[(columns.losses[rows] == 0) & ~columns.slow[rows]] if self.clean else rows


def _select(columns: Columns, ask: Ask, nodes: int, offer: NDArray[np.bool_]) -> Rows | None:
    """As `Packed`, among the nodes given."""
    rows = np.flatnonzero(offer)
    if len(rows) < nodes:
        return None
    racks = np.bincount(columns.rack[rows], minlength=len(columns.racks))
    pods = np.bincount(columns.pod[rows], minlength=len(columns.pods))
    return _on_fewest(_Room(columns, ask, racks, pods, offer, clean=False), nodes)


def _on_fewest(room: _Room, nodes: int) -> Rows | None:
    """Rows on the fewest domains; together they have enough."""
    columns, within = room.columns, room.ask.within
    rack = _one_rack(room, nodes)
    if rack is not None:
        return _rows_of(room, (rack,), nodes)
    if within == "rack":
        return None
    enough = room.pods >= nodes
    if enough.any():
        # the pod that is left with the least: large holes stay whole
        pod = int(np.where(enough, room.pods, _FULL).argmin())
        return _rows_of(room, _cover(columns.pod_racks[pod], room.racks, nodes), nodes)
    if within == "pod":
        return None
    chosen: list[int] = []
    for pod in _pods(room, nodes):
        here = min(nodes - len(chosen), int(room.pods[pod]))
        chosen += _rows_of(room, _cover(columns.pod_racks[pod], room.racks, here), here).tolist()
    return np.array(chosen, np.intp) if len(chosen) == nodes else None


def _one_rack(room: _Room, nodes: int) -> int | None:
    """The rack with the tightest hole, in the pod with the least left. Parts of nodes go to broken nodes."""
    columns, ask = room.columns, room.ask
    enough = room.racks >= nodes
    if not enough.any():
        return None
    if room.offer is None and nodes == 1 and ask.chips_per_node < columns.levels[-1]:
        # a part of a node: where a node is broken up most tightly already
        plane = columns.rack_nodes[int(room.clean)]
        level = columns.level_of(ask.chips_per_node)
        for higher in range(level + 1, len(columns.levels)):
            broken = enough & (plane[level] > plane[higher])
            if broken.any():
                enough = broken
                break
    left = room.racks.astype(np.int64) << 32 | room.pods[columns.rack_pod]
    return int(np.where(enough, left, _FULL).argmin())


def _cover(of: Rows, counts: NDArray[np.integer], nodes: int) -> list[int]:
    """The fewest of these domains that hold `nodes`: the largest whole, the last one the tightest fit."""
    here = counts[of]
    ordered = np.argsort(-here, kind="stable")
    total = np.cumsum(here[ordered])
    whole = int(np.searchsorted(total, nodes))
    left = nodes - (int(total[whole - 1]) if whole else 0)
    taken, rest = ordered[:whole], ordered[whole:]
    last = rest[np.where(here[rest] >= left, here[rest], _FULL).argmin()]
    return sorted(int(of[index]) for index in (*taken, last))


def _pods(room: _Room, nodes: int) -> list[int]:
    """The fewest pods that hold `nodes`, inside one core if one can; none if a core may not be left."""
    columns = room.columns
    cores = np.bincount(columns.pod_core, weights=room.pods, minlength=len(columns.cores))
    among = np.arange(len(room.pods))
    enough = cores >= nodes
    if enough.any():
        core = int(np.where(enough, cores, np.inf).argmin())
        among = np.flatnonzero(columns.pod_core == core)
    elif room.ask.within == "core":
        return []
    return _cover(among, room.pods, nodes)


def _rows_of(room: _Room, racks: Sequence[int], nodes: int) -> Rows:
    """`nodes` rows of these racks, rack by rack. What is not needed is left in one rack, all together."""
    columns = room.columns
    parts = [room.rows(rack) for rack in racks]
    slack = sum(len(rows) for rows in parts) - nodes
    for index, rows in enumerate(parts):
        if slack and len(rows) > slack:
            # those without doubt and with the tightest room are taken
            doubt = columns.losses[rows] + columns.slow[rows]
            ordered = rows[np.lexsort((rows, columns.offer[rows], doubt))]
            parts[index] = np.sort(ordered[: len(rows) - slack])
            break
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


# ---- the answer ----------------------------------------------------------------------------------------


def _is_within(columns: Columns, ask: Ask, rows: Sequence[int]) -> bool:
    if not ask.within:
        return True
    return len(np.unique(_domain(columns, ask.within)[np.asarray(rows, np.intp)])) == 1


def _domain(columns: Columns, within: Within) -> NDArray[np.int32]:
    """Of each row, the rack, pod or core that it is in."""
    if within == "core":
        cores: NDArray[np.int32] = columns.pod_core[columns.pod]
        return cores
    return columns.rack if within == "rack" else columns.pod


def _choice(columns: Columns, rows: Rows | Sequence[int], ask: Ask, replaced: tuple[NodeId, ...]) -> Choice:
    count, ids = ask.chips_per_node, columns.ids
    if len(rows) == 1:
        row = int(rows[0])
        only = Member(node=ids[row], chips=columns.pick(row, count))
        return Choice((only,), (row,), replaced, 1, 1, 1)
    plain = rows.tolist() if isinstance(rows, np.ndarray) else list(rows)
    if len(plain) > 16:
        where = np.asarray(plain, np.intp)
        free, chips = columns.free[where].tolist(), columns.chips[where].tolist()
        racks, pods = np.unique(columns.rack[where]), np.unique(columns.pod[where])
    else:
        free = [int(columns.free[row]) for row in plain]
        chips = [int(columns.chips[row]) for row in plain]
        racks = {int(columns.rack[row]) for row in plain}  # type: ignore[assignment]
        pods = {int(columns.rack_pod[rack]) for rack in racks}  # type: ignore[assignment]
    members = tuple(
        [
            Member(node=ids[row], chips=blocks.pick(mask, size, count))
            for row, mask, size in zip(plain, free, chips, strict=True)
        ]
    )
    cores = len({int(columns.pod_core[pod]) for pod in pods}) if len(columns.cores) > 1 else 1
    return Choice(members, tuple(plain), replaced, len(pods), len(racks), cores)
