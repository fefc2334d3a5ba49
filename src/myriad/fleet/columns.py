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
from myriad.fleet.holes import Holes
from myriad.fleet.site import NodePlace
from myriad.kernel.ids import NodeId
from myriad.kernel.units import Instant

Rows = NDArray[np.intp]


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
    OCCUPIED = 8  # well, and used by others through the cluster's own scheduler: nothing of ours goes there


#: Looking a member up in its enumeration costs as much as the rest of a small change.
_READY: Final = int(NodeState.READY)
_DRAINING: Final = int(NodeState.DRAINING)
_STATES: Final = tuple(NodeState)
#: Others have no time limit, or nobody knows it.
FOREVER: Final = 1 << 62


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

    `offer` is what a node gives to new work: the largest block of chips free while it is READY, no spare and
    not used by others too.
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
        #: When others, who use the node through the cluster's own scheduler, must have ended; 0: nobody does.
        self.taken_until: NDArray[np.int64] = np.zeros(0, np.int64)
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
        #: Where one node without doubt is taken; keeps plane 1.
        self.holes: Holes
        self.spares = 0  # hot spares, ready
        self.draining = 0
        self.taken = 0  # used by others
        self.chip_count = 0
        self.free_chips = 0  # offered or not as one block, on nodes that take new work
        self._depth: list[int] = []  # of an offer: how many levels it reaches; and what those reach
        self._reach: list[int] = [0]
        # the same as columns, for changes of single rows: plain integers are several times faster there
        self._states: list[NodeState] = []
        self._free: list[int] = []
        self._chips: list[int] = []
        self._takes: list[bool] = []
        self._planes: list[int] = []
        self._depths: list[int] = []  # how many levels its offer reaches
        self._where: list[tuple[int, int, int]] = []
        self._rack_rows: list[list[int]] = []
        # the arrays, for changes of single items; and plane 0 of the counts, by level
        self._state_items: memoryview
        self._spare_items: memoryview
        self._free_items: memoryview
        self._count_items: memoryview
        self._offer_items: memoryview
        self._rack_items: list[memoryview] = []
        self._pod_items: list[memoryview] = []
        self._typical: float | None = 0.0
        self.recount()

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
        for name in ("state", "spare", "losses", "slow", "gemm_flops", "offer", "taken_until"):
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
        self._reach = [0, *self.levels]
        doubt = (self.losses > 0) | self.slow
        takes = (self.state == NodeState.READY) & ~self.spare & (self.taken_until == 0)
        self.offer = np.where(takes, blocks.rooms(self.free, self.chips), 0).astype(np.int16)
        self.chip_count = int(self.chips.sum())
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
        self.taken = int(np.count_nonzero(self.taken_until))
        self._states = [_STATES[state] for state in self.state.tolist()]
        self._free, self._chips, self._takes = self.free.tolist(), self.chips.tolist(), takes.tolist()
        self._planes = np.where(doubt, 1, 2).tolist()
        kinds = self.pod_kind[self.pod]
        self._depths = [self._depth[offer] for offer in self.offer.tolist()]
        self._rack_rows = [rows.tolist() for rows in self.rack_rows]
        self._where = list(zip(self.rack.tolist(), self.pod.tolist(), kinds.tolist(), strict=True))
        self._state_items, self._spare_items = self.state.data, self.spare.data
        self._free_items, self._count_items = self.free.data, self.free_count.data
        self._offer_items = self.offer.data
        self._rack_items = [counts.data for counts in self.rack_nodes[0]]
        self._pod_items = [counts.data for counts in self.pod_nodes[0]]
        self.holes = Holes(self.rack_nodes[1], self.pod_nodes[1], self.rack_pod, self.pod_kind)

    # ---- chips -----------------------------------------------------------------------------------

    def hold(self, rows: Sequence[int], masks: Sequence[int]) -> None:
        """Take chips. They must be free: one chip, one holder. One mask a row."""
        if len(rows) == 1:
            row, mask = rows[0], masks[0]
            free = self._free[row]
            assert mask and free & mask == mask, f"{self.ids[row]}: {mask:b} is not free ({free:b})"
            self._set_one(row, free & ~mask)
            return
        for row, mask in zip(rows, masks, strict=True):
            free = self._free[row]
            assert mask and free & mask == mask, (
                f"{self.ids[row]}: chips {mask:b} are not all free ({free:b})"
            )
        self._set_free(rows, [self._free[row] & ~mask for row, mask in zip(rows, masks, strict=True)])

    def give_back(self, rows: Sequence[int], masks: Sequence[int]) -> None:
        """Return chips that were held."""
        if len(rows) == 1:
            row, mask = rows[0], masks[0]
            free = self._free[row]
            assert mask and free & mask == 0, f"{self.ids[row]}: {mask:b} was not held ({free:b})"
            self._set_one(row, free | mask)
            return
        for row, mask in zip(rows, masks, strict=True):
            free = self._free[row]
            assert mask and free & mask == 0, f"{self.ids[row]}: chips {mask:b} were not held ({free:b})"
        self._set_free(rows, [self._free[row] | mask for row, mask in zip(rows, masks, strict=True)])

    def _set_one(self, row: int, free: int) -> None:
        """Free chips of one node."""
        count, before = free.bit_count(), self._free[row].bit_count()
        self._free[row] = self._free_items[row] = free
        self._count_items[row] = count
        if self._takes[row]:
            self.free_chips += count - before
            self._offer(row, blocks.room(free, self._chips[row]))

    def _set_free(self, rows: Sequence[int], frees: Sequence[int]) -> None:
        """Free chips of some nodes. What changes alike in one rack is counted at once: mostly all of it."""
        now, chips, takes, depths, where = self._free, self._chips, self._takes, self._depths, self._where
        frees_of, counts_of, offers_of = self._free_items, self._count_items, self._offer_items
        alike: dict[tuple[tuple[int, int, int], int, int, int], int] = {}
        freed = 0
        for row, free in zip(rows, frees, strict=True):
            count, before = free.bit_count(), now[row].bit_count()
            now[row] = frees_of[row] = free
            counts_of[row] = count
            if takes[row]:
                freed += count - before
                offer = blocks.room(free, chips[row])
                old, new = depths[row], self._depth[offer]
                if old != new:
                    depths[row], offers_of[row] = new, offer
                    key = (where[row], old, new, self._planes[row])
                    alike[key] = alike.get(key, 0) + 1
        self.free_chips += freed
        for (place, old, new, planes), nodes in alike.items():
            self._count(place, old, new, planes, nodes)

    # ---- nodes -----------------------------------------------------------------------------------

    def set_state(self, node: NodeId, state: NodeState) -> None:
        """Move the node to another state of its life."""
        row = self.index[node]
        before = self._states[row]
        if self._spare_items[row]:
            self.spares += (state is NodeState.READY) - (before is NodeState.READY)
        self.draining += (state is NodeState.DRAINING) - (before is NodeState.DRAINING)
        self._state_items[row] = self._states[row] = state
        self._take(row)

    def set_spare(self, node: NodeId, spare: bool) -> None:
        """Make the node a hot spare, or no longer one."""
        row = self.index[node]
        if self._states[row] is NodeState.READY:
            self.spares += int(spare) - int(self.spare[row])
        self.spare[row] = spare
        self._take(row)

    def set_taken(self, node: NodeId, until: Instant) -> None:
        """Others use the node until then, or (0) no longer."""
        row = self.index[node]
        self.taken += bool(until) - bool(self.taken_until[row])
        self.taken_until[row] = until
        self._take(row)

    def set_doubt(self, node: NodeId, *, losses: int | None = None, slow: bool | None = None) -> None:
        """What speaks against the node: how often it was lost lately, whether it is slow."""
        row = self.index[node]
        offer = self._reach[self._depths[row]]
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
        takes = self._states[row] is NodeState.READY and not self._spare_items[row]
        if takes and self.taken and self.taken_until[row]:
            takes = False
        if takes == self._takes[row]:
            return
        self._takes[row] = takes
        self.free_chips += self._free[row].bit_count() * (1 if takes else -1)
        self._offer(row, blocks.room(self._free[row], self._chips[row]) if takes else 0)

    # ---- the counts ------------------------------------------------------------------------------

    def _offer(self, row: int, offer: int) -> None:
        old, new = self._depths[row], self._depth[offer]
        if old != new:
            self._depths[row], self._offer_items[row] = new, offer
            self._count(self._where[row], old, new, self._planes[row], 1)

    def _count(self, place: tuple[int, int, int], old: int, new: int, planes: int, nodes: int) -> None:
        """So many nodes of a rack now offer `new` levels where they offered `old`."""
        low, high, change = (old, new, nodes) if old < new else (new, old, -nodes)
        rack, pod, kind = place
        for level in range(low, high):
            self._rack_items[level][rack] += change
            self._pod_items[level][pod] += change
            self.site_nodes[level][kind] += change
        if planes == 2:
            self.holes.change(rack, old, new, nodes)

    # ---- questions -------------------------------------------------------------------------------

    def rows(self, nodes: Iterable[NodeId]) -> list[int]:
        """The rows of nodes."""
        index = self.index
        return [index[node] for node in nodes]

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

    def first_clean(self, rack: int, level: int) -> int:
        """The first row of a rack that offers this level and no more, without doubt; there must be one."""
        depths, planes = self._depths, self._planes
        for row in self._rack_rows[rack]:
            if depths[row] == level + 1 and planes[row] == 2:
                return row
        raise AssertionError(f"no node of rack {self.racks.all[rack]} offers just level {level}")

    def pick(self, row: int, count: int) -> int:
        """A mask of so many chips of a node, which offers them."""
        return blocks.pick(self._free[row], self._chips[row], count)

    def pods_of(self, rows: Sequence[int]) -> tuple[dict[int, int], str]:
        """How many of the rows, at least one, are in each pod; and the chip type of the first."""
        found: dict[int, int] = {}
        for row in rows:
            pod = self._where[row][1]
            found[pod] = found.get(pod, 0) + 1
        return found, self.kinds.all[self._where[rows[0]][2]]

    def serving(self, chips: int, kind: str) -> int:
        """Nodes of a chip type in service that have so many chips, free or not. O(site)."""
        rows = (self.state == _READY) & (self.taken_until == 0) & (self.chips >= chips)
        return int((rows & (self.pod_kind[self.pod] == self.kinds.index.get(kind, -1))).sum())

    def others(self, chips: int, kind: str) -> list[Instant]:
        """When others must have ended on each node of a chip type that they use, soonest first."""
        if not self.taken:
            return []
        rows = (self.taken_until > 0) & (self.chips >= chips)
        rows &= self.pod_kind[self.pod] == self.kinds.index.get(kind, -1)
        ends: list[Instant] = np.sort(self.taken_until[rows]).tolist()
        return ends

    def state_of(self, node: NodeId) -> NodeState:
        """The node's state."""
        return self._states[self.index[node]]

    def is_spare(self, node: NodeId) -> bool:
        """Whether it is a hot spare."""
        return bool(self._spare_items[self.index[node]])

    def is_empty(self, node: NodeId) -> bool:
        """Whether no attempt holds a chip of the node."""
        row = self.index[node]
        return self._free[row].bit_count() == self._chips[row]
