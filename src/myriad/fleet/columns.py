"""The nodes of a site as columns: what placement and accounting read, updated where something changed.

One row a node. NumPy arrays so that a decision over 6,250 nodes is a handful of vector operations; ids
and indices map both ways. Chips of a node are bits of a mask, so a chip is held by at most one attempt.
"""

from collections.abc import Iterable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from myriad.fleet.site import NodePlace
from myriad.kernel.ids import NodeId


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


class Columns:
    """State of every node. Rows are never removed; a node that leaves the site is RETIRED."""

    def __init__(self) -> None:
        self.ids: list[NodeId] = []
        self.index: dict[NodeId, int] = {}
        self.racks: list[str] = []
        self.rack_index: dict[str, int] = {}
        self.pods: list[str] = []
        self.pod_index: dict[str, int] = {}
        self.state: NDArray[np.int8] = np.zeros(0, np.int8)
        self.rack: NDArray[np.int32] = np.zeros(0, np.int32)
        self.pod: NDArray[np.int32] = np.zeros(0, np.int32)
        #: Chips of the node, and a bit for each chip that no attempt holds.
        self.chips: NDArray[np.int16] = np.zeros(0, np.int16)
        self.free: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self.free_count: NDArray[np.int16] = np.zeros(0, np.int16)
        self.spare: NDArray[np.bool_] = np.zeros(0, np.bool_)
        #: How often the node was lost lately; placement avoids lemons.
        self.losses: NDArray[np.int16] = np.zeros(0, np.int16)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, places: Iterable[NodePlace]) -> None:
        """Append rows for new nodes, JOINING and empty."""
        rows = list(places)
        for row in rows:
            assert row.node not in self.index, row
            self.index[row.node] = len(self.ids)
            self.ids.append(row.node)
            self._intern(row.rack, self.racks, self.rack_index)
            self._intern(row.pod, self.pods, self.pod_index)
        chips = np.array([row.chips for row in rows], np.int16)
        full = np.array([(1 << row.chips) - 1 for row in rows], np.uint64)
        racks = np.array([self.rack_index[row.rack] for row in rows], np.int32)
        pods = np.array([self.pod_index[row.pod] for row in rows], np.int32)
        self.state = np.concatenate([self.state, np.zeros(len(rows), np.int8)])
        self.rack = np.concatenate([self.rack, racks])
        self.pod = np.concatenate([self.pod, pods])
        self.chips = np.concatenate([self.chips, chips])
        self.free = np.concatenate([self.free, full])
        self.free_count = np.concatenate([self.free_count, chips])
        self.spare = np.concatenate([self.spare, np.zeros(len(rows), np.bool_)])
        self.losses = np.concatenate([self.losses, np.zeros(len(rows), np.int16)])

    @staticmethod
    def _intern(name: str, names: list[str], index: dict[str, int]) -> None:
        if name not in index:
            index[name] = len(names)
            names.append(name)

    def hold(self, node: NodeId, mask: int) -> None:
        """Take chips. They must be free: one chip, one holder."""
        row = self.index[node]
        free = int(self.free[row])
        assert mask and free & mask == mask, f"{node}: chips {mask:b} are not all free ({free:b})"
        self.free[row] = free & ~mask
        self.free_count[row] -= mask.bit_count()

    def give_back(self, node: NodeId, mask: int) -> None:
        """Return chips that were held."""
        row = self.index[node]
        free = int(self.free[row])
        assert mask and free & mask == 0, f"{node}: chips {mask:b} were not held ({free:b})"
        self.free[row] = free | mask
        self.free_count[row] += mask.bit_count()

    def state_of(self, node: NodeId) -> NodeState:
        """The node's state."""
        return NodeState(int(self.state[self.index[node]]))

    def is_empty(self, node: NodeId) -> bool:
        """Whether no attempt holds a chip of the node."""
        row = self.index[node]
        return bool(self.free_count[row] == self.chips[row])

    def pick_chips(self, node: NodeId, count: int) -> int:
        """A mask of `count` free chips, lowest first. The node must have them."""
        free, mask = int(self.free[self.index[node]]), 0
        for _ in range(count):
            bit = free & -free
            assert bit, f"{node} has fewer than {count} free chips"
            mask |= bit
            free &= ~bit
        return mask
