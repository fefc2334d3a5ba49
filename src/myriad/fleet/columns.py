"""The nodes of a site as columns, and what they can take, counted for each rack and pod as it changes.

One row a node, NumPy arrays throughout. A placement reads counts and then only the rows it takes; no decision
walks the site. Every change goes through a method, which keeps the counts true.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from myriad.fleet import blocks
from myriad.fleet.site import NodePlace
from myriad.kernel.ids import NodeId

Rows = NDArray[np.intp]
#: Below so many rows plain integers are faster than arrays.
_FEW: Final = 6


class NodeState(IntEnum):
    """Life of a node. `allocated` is not stored: it is READY (or DRAINING) with chips held."""

    JOINING = 0  # declared, its agent has not been heard from
    BURN_IN = 1  # being qualified
    READY = 2
    SUSPECT = 3  # signals disagree or are silent: nothing new is placed here
    DRAINING = 4  # what runs here is asked to leave
    DRAINED = 5  # empty, kept out of service by an operator
    REPAIRING = 6  # lost or failed qualification: the engine is asked to bring it back
    RETIRED = 7  # no longer part of the site


#: Looking a member up in its enumeration costs as much as the rest of a small change.
_READY: Final = int(NodeState.READY)
_DRAINING: Final = int(NodeState.DRAINING)
_STATES: Final = tuple(NodeState)


class Names:
    """Names of one kind of domain, and their indices."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self.index: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.all)

    def of(self, name: str) -> int:
        """The index of a name; a new one is appended."""
        if name not in self.index:
            self.index[name] = len(self.all)
            self.all.append(name)
        return self.index[name]


class Columns:
    """State of every node. Rows are never removed; a node that leaves the site is RETIRED.

    `offer` is what a node gives to new work: the largest block of chips free while it is READY and no spare.
    `*_nodes[plane, level, domain]` counts the nodes that offer at least `levels[level]` chips: plane 0 all of
    them, plane 1 those without doubt (no recent loss, not slow).
    """

    def __init__(self) -> None:
        self.ids: list[NodeId] = []
        self.index: dict[NodeId, int] = {}
        self.racks, self.pods, self.cores, self.powers, self.kinds = (Names() for _ in range(5))
        self.state: NDArray[np.int8] = np.zeros(0, np.int8)
        self.rack: NDArray[np.int32] = np.zeros(0, np.int32)
        self.pod: NDArray[np.int32] = np.zeros(0, np.int32)
        #: Chips of the node, and a bit for each chip that no attempt holds.
        self.chips: NDArray[np.int16] = np.zeros(0, np.int16)
        self.free: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self.free_count: NDArray[np.int16] = np.zeros(0, np.int16)
        self.spare: NDArray[np.bool_] = np.zeros(0, np.bool_)
        #: How often the node was lost lately, and whether it is slower than its peers: taken last.
        self.losses: NDArray[np.int16] = np.zeros(0, np.int16)
        self.slow: NDArray[np.bool_] = np.zeros(0, np.bool_)
        #: FLOP/s of one chip that burn-in measured; 0: not yet.
        self.gemm_flops: NDArray[np.float64] = np.zeros(0)
        self.offer: NDArray[np.int16] = np.zeros(0, np.int16)
        #: Of each rack: its pod and its rows. Of each pod: its core, power feed, chip type and racks.
        self.rack_pod: NDArray[np.int32] = np.zeros(0, np.int32)
        self.rack_rows: list[Rows] = []
        self.pod_core: NDArray[np.int32] = np.zeros(0, np.int32)
        self.pod_power: NDArray[np.int32] = np.zeros(0, np.int32)
        self.pod_kind: NDArray[np.int32] = np.zeros(0, np.int32)
        self.pod_racks: list[Rows] = []
        self.levels: list[int] = []
        #: The same counts over the whole site, all nodes: [level][chip type].
        self.site_nodes: list[list[int]] = []
        self.rack_nodes: NDArray[np.int32] = np.zeros((2, 0, 0), np.int32)
        self.pod_nodes: NDArray[np.int32] = np.zeros((2, 0, 0), np.int32)
        self.spares = 0  # hot spares, ready
        self.draining = 0
        self.free_chips = 0  # offered or not as one block, on nodes that take new work
        self._depth: list[int] = []
        # the same as columns, for changes of single rows: plain integers are several times faster there
        self._free: list[int] = []
        self._chips: list[int] = []
        self._takes: list[bool] = []
        self._planes: list[int] = []
        self._where: list[tuple[int, int, int]] = []
        self._typical: float | None = 0.0

    def __len__(self) -> int:
        return len(self.ids)

    # ---- growing ---------------------------------------------------------------------------------

    def add(self, places: Iterable[NodePlace]) -> None:
        """Append rows for new nodes, JOINING and empty."""
        rows = list(places)
        if not rows:
            return
        for row in rows:
            assert row.node not in self.index, row
            self.index[row.node] = len(self.ids)
            self.ids.append(row.node)
        count = len(rows)
        chips = np.array([row.chips for row in rows], np.int16)
        full = np.array([(1 << row.chips) - 1 for row in rows], np.uint64)
        self.rack = np.concatenate([self.rack, [self.racks.of(row.rack) for row in rows]]).astype(np.int32)
        self.pod = np.concatenate([self.pod, [self.pods.of(row.pod) for row in rows]]).astype(np.int32)
        self.chips = np.concatenate([self.chips, chips])
        self.free = np.concatenate([self.free, full])
        self.free_count = np.concatenate([self.free_count, chips])
        for name in ("state", "spare", "losses", "slow", "gemm_flops", "offer"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros(count, column.dtype)]))
        self._join(rows)
        self.recount()

    def _join(self, rows: Sequence[NodePlace]) -> None:
        """What belongs to what, learned from new rows."""
        core, power, kind = list(self.pod_core), list(self.pod_power), list(self.pod_kind)
        for row in rows[:]:
            if self.pods.of(row.pod) == len(core):
                core.append(self.cores.of(row.core))
                power.append(self.powers.of(row.power or row.pod))
                kind.append(self.kinds.of(row.chip))
        self.pod_core, self.pod_power, self.pod_kind = (
            np.array(column, np.int32) for column in (core, power, kind)
        )
        self.rack_rows = [np.flatnonzero(self.rack == rack) for rack in range(len(self.racks))]
        self.rack_pod = np.array([self.pod[rows[0]] for rows in self.rack_rows], np.int32)
        self.pod_racks = [np.flatnonzero(self.rack_pod == pod) for pod in range(len(self.pods))]

    def recount(self) -> None:
        """Every derived column and count anew, O(site). Only after columns were changed by hand."""
        self.levels = sorted({*blocks.SIZES, *(int(count) for count in np.unique(self.chips))})
        self._depth = [bisect_left(self.levels, offer + 1) for offer in range(65)]
        doubt = (self.losses > 0) | self.slow
        takes = (self.state == NodeState.READY) & ~self.spare
        self.offer = np.where(takes, blocks.rooms(self.free, self.chips), 0).astype(np.int16)
        self.free_chips = int(self.free_count[takes].sum())
        self.spares = int((self.spare & (self.state == NodeState.READY)).sum())
        shape = (2, len(self.levels))
        self.rack_nodes = np.zeros((*shape, len(self.racks)), np.int32)
        self.pod_nodes = np.zeros((*shape, len(self.pods)), np.int32)
        for plane, among in enumerate((takes, takes & ~doubt)):
            for level, chips in enumerate(self.levels):
                rows = among & (self.offer >= chips)
                self.rack_nodes[plane, level] = np.bincount(self.rack[rows], minlength=len(self.racks))
                self.pod_nodes[plane, level] = np.bincount(self.pod[rows], minlength=len(self.pods))
        self.site_nodes = [
            np.bincount(self.pod_kind, weights=counts, minlength=len(self.kinds)).astype(int).tolist()
            for counts in self.pod_nodes[0]
        ]
        self.draining = int((self.state == _DRAINING).sum())
        self._free, self._chips, self._takes = self.free.tolist(), self.chips.tolist(), takes.tolist()
        self._planes = np.where(doubt, 1, 2).tolist()
        kinds = self.pod_kind[self.pod]
        self._where = list(zip(self.rack.tolist(), self.pod.tolist(), kinds.tolist(), strict=True))

    # ---- chips -----------------------------------------------------------------------------------

    def hold(self, rows: Sequence[int] | Rows, masks: Sequence[int]) -> None:
        """Take chips. They must be free: one chip, one holder. One mask a row."""
        if len(rows) <= _FEW:
            for row, mask in zip(rows, masks, strict=True):
                free = self._free[row]
                assert mask and free & mask == mask, (
                    f"{self.ids[row]}: chips {mask:b} are not all free ({free:b})"
                )
                self._set_free(row, free & ~mask)
        else:
            where, taken = np.asarray(rows, np.intp), np.array(masks, np.uint64)
            before = self.free[where]
            assert (taken != 0).all() and (before & taken == taken).all(), "chips are held twice"
            self._set_free_many(where, before & ~taken)

    def give_back(self, rows: Sequence[int] | Rows, masks: Sequence[int]) -> None:
        """Return chips that were held."""
        if len(rows) <= _FEW:
            for row, mask in zip(rows, masks, strict=True):
                free = self._free[row]
                assert mask and free & mask == 0, f"{self.ids[row]}: chips {mask:b} were not held ({free:b})"
                self._set_free(row, free | mask)
        else:
            where, given = np.asarray(rows, np.intp), np.array(masks, np.uint64)
            before = self.free[where]
            assert (given != 0).all() and (before & given == 0).all(), "chips were not held"
            self._set_free_many(where, before | given)

    def _set_free(self, row: int, free: int) -> None:
        count, before = free.bit_count(), self._free[row].bit_count()
        self.free[row] = self._free[row] = free
        self.free_count[row] = count
        if self._takes[row]:
            self.free_chips += count - before
            self._offer(row, blocks.room(free, self._chips[row]))

    def _set_free_many(self, rows: Rows, free: NDArray[np.uint64]) -> None:
        counts = np.bitwise_count(free).astype(np.int16)
        takes = (self.state[rows] == _READY) & ~self.spare[rows]
        self.free_chips += int((counts - self.free_count[rows])[takes].sum())
        self.free[rows], self.free_count[rows] = free, counts
        for row, mask in zip(rows.tolist(), free.tolist(), strict=True):
            self._free[row] = mask
        if not takes.all():
            rows, free = rows[takes], free[takes]
        self._offer_many(rows, blocks.rooms(free, self.chips[rows]))

    # ---- nodes -----------------------------------------------------------------------------------

    def set_state(self, node: NodeId, state: NodeState) -> None:
        """Move the node to another state of its life."""
        row = self.index[node]
        before = self.state[row]
        self.spares += (int(state == _READY) - int(before == _READY)) * int(self.spare[row])
        self.draining += int(state == _DRAINING) - int(before == _DRAINING)
        self.state[row] = state
        self._take(row)

    def set_spare(self, node: NodeId, spare: bool) -> None:
        """Make the node a hot spare, or no longer one."""
        row = self.index[node]
        if self.state[row] == _READY:
            self.spares += int(spare) - int(self.spare[row])
        self.spare[row] = spare
        self._take(row)

    def set_doubt(self, node: NodeId, *, losses: int | None = None, slow: bool | None = None) -> None:
        """What speaks against the node: how often it was lost lately, whether it is slow."""
        row = self.index[node]
        offer = int(self.offer[row])
        self._offer(row, 0)
        if losses is not None:
            self.losses[row] = min(losses, 32_000)
        if slow is not None:
            self.slow[row] = slow
        self._planes[row] = 1 if self.losses[row] or self.slow[row] else 2
        self._offer(row, offer)

    def set_gemm(self, node: NodeId, flops: float) -> None:
        """Keep what burn-in measured, FLOP/s of one chip."""
        self.gemm_flops[self.index[node]] = flops
        self._typical = None

    def typical_gemm(self) -> float:
        """Median of what burn-ins measured, FLOP/s of one chip; 0 when nothing was."""
        if self._typical is None:
            measured = np.sort(self.gemm_flops[self.gemm_flops > 0])
            self._typical = float(measured[len(measured) // 2]) if len(measured) else 0.0
        return self._typical

    def _take(self, row: int) -> None:
        """Whether the node takes new work may have changed."""
        takes = bool(self.state[row] == _READY and not self.spare[row])
        if takes == self._takes[row]:
            return
        self._takes[row] = takes
        self.free_chips += self._free[row].bit_count() * (1 if takes else -1)
        self._offer(row, blocks.room(self._free[row], self._chips[row]) if takes else 0)

    # ---- the counts ------------------------------------------------------------------------------

    def _offer(self, row: int, offer: int) -> None:
        old, new = self._depth[self.offer[row]], self._depth[offer]
        self.offer[row] = offer
        if old == new:
            return
        low, high, change = (old, new, 1) if old < new else (new, old, -1)
        rack, pod, kind = self._where[row]
        planes = self._planes[row]
        self.rack_nodes[:planes, low:high, rack] += change
        self.pod_nodes[:planes, low:high, pod] += change
        for level in range(low, high):
            self.site_nodes[level][kind] += change

    def _offer_many(self, rows: Rows, offers: NDArray[np.int16]) -> None:
        was = self.offer[rows]
        self.offer[rows] = offers
        doubt = (self.losses[rows] > 0) | self.slow[rows]
        # rows that change alike are counted together: mostly all of them, whole nodes taken or given back
        kinds = was.astype(np.int32) << 8 | offers.astype(np.int32) << 1 | doubt
        for alike in np.unique(kinds):
            among = rows[kinds == alike]
            old, new = self._depth[int(alike) >> 8], self._depth[int(alike) >> 1 & 127]
            if old == new:
                continue
            low, high, change = (old, new, 1) if old < new else (new, old, -1)
            planes = 1 if alike & 1 else 2
            racks = np.bincount(self.rack[among], minlength=len(self.racks)).astype(np.int32)
            pods = np.bincount(self.pod[among], minlength=len(self.pods)).astype(np.int32)
            self.rack_nodes[:planes, low:high] += change * racks
            self.pod_nodes[:planes, low:high] += change * pods
            for kind, more in enumerate(np.bincount(self.pod_kind, weights=pods, minlength=len(self.kinds))):
                for level in range(low, high):
                    self.site_nodes[level][kind] += change * int(more)

    # ---- questions -------------------------------------------------------------------------------

    def level_of(self, chips: int) -> int:
        """The level whose count says how many nodes can take `chips` chips each."""
        return bisect_left(self.levels, chips)

    def fitting(self, chips: int, kind: int | None = None) -> int:
        """Nodes (of one chip type) that offer `chips` chips to new work."""
        level = self.level_of(chips)
        if level == len(self.levels):
            return 0
        counts = self.site_nodes[level]
        return sum(counts) if kind is None else counts[kind] if kind >= 0 else 0

    def serving(self, chips: int, kind: str) -> int:
        """Nodes of a chip type in service that have so many chips, free or not. O(site)."""
        rows = (self.state == _READY) & (self.chips >= chips)
        return int((rows & (self.pod_kind[self.pod] == self.kinds.index.get(kind, -1))).sum())

    def state_of(self, node: NodeId) -> NodeState:
        """The node's state."""
        return _STATES[int(self.state[self.index[node]])]

    def is_empty(self, node: NodeId) -> bool:
        """Whether no attempt holds a chip of the node."""
        row = self.index[node]
        return bool(self.free_count[row] == self.chips[row])
