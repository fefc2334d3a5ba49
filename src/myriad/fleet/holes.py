"""Where a gang of one node goes: counts of what nodes offer, by rack, for the tightest hole.

Plain integers and dictionaries, one small change for each node that changes: most jobs of a busy site take a
part of one node, and arrays of hundreds of racks cost more than all else about them.
"""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int32]
Indices = NDArray[np.int32]


class Holes:
    """Counts of nodes without doubt, of every level of what a node can offer."""

    def __init__(self, racks: Counts, pods: Counts, rack_pod: Indices, pod_kind: Indices) -> None:
        """Counts of nodes that offer a level or more, [level, rack] and [level, pod]: kept true from here.

        `rack_pod` and `pod_kind`: of each rack its pod, of each pod its chip type.
        """
        self._pod_of, self._kind_of = rack_pod.tolist(), pod_kind[rack_pod].tolist()
        kinds = int(pod_kind.max(initial=-1)) + 1
        self._racks, self._pods = [of.data for of in racks], [of.data for of in pods]
        #: The same of each chip type: [level][type].
        self._sites = [np.bincount(pod_kind, weights=of, minlength=kinds).astype(int).tolist() for of in pods]
        above = np.vstack([racks[1:], np.zeros_like(racks[:1])])
        #: Nodes of each rack that offer the level and no more.
        self._just: list[list[int]] = (racks - above).tolist()
        #: [level][chip type]: racks that have such a node, by how many of theirs offer the level or more.
        self._tight: list[list[dict[int, dict[int, None]]]] = [
            [{} for _ in range(kinds)] for _ in range(len(racks))
        ]
        for level, just in enumerate(self._just):
            for rack, nodes in enumerate(just):
                if nodes:
                    tight = self._tight[level][self._kind_of[rack]]
                    tight.setdefault(self._racks[level][rack], {})[rack] = None

    def is_like(self, other: "Holes") -> bool:
        """Whether both count the same."""
        same = (one == another for one, another in zip(self._racks, other._racks, strict=True))
        return all(same) and (self._sites, self._just, self._tight) == (
            other._sites,
            other._just,
            other._tight,
        )

    def change(self, rack: int, old: int, new: int, nodes: int) -> None:
        """So many nodes of a rack offer `new` levels that offered `old`."""
        pod, kind = self._pod_of[rack], self._kind_of[rack]
        low, high, change, edge = (old, new, nodes, old - 1) if old < new else (new, old, -nodes, new - 1)
        for level in range(low, high):
            racks = self._racks[level]
            before = racks[rack]
            racks[rack] = before + change
            self._pods[level][pod] += change
            self._sites[level][kind] += change
            just = self._just[level]
            if just[rack]:
                self._leave(level, kind, before, rack)
            if level == high - 1:
                just[rack] += change
            if just[rack]:
                self._tight[level][kind].setdefault(before + change, {})[rack] = None
        if edge >= 0:
            just = self._just[edge]
            had = just[rack]
            just[rack] = had - change
            if not had:
                self._tight[edge][kind].setdefault(self._racks[edge][rack], {})[rack] = None
            elif had == change:
                self._leave(edge, kind, self._racks[edge][rack], rack)

    def _leave(self, level: int, kind: int, count: int, rack: int) -> None:
        tight = self._tight[level][kind]
        del tight[count][rack]
        if not tight[count]:
            del tight[count]

    def tightest(self, level: int, kind: int) -> tuple[int, int] | None:
        """The rack for a node that offers the level, and the least level above that any node offers.

        Of the racks that have just such a node the one with the fewest that offer as much, then in the pod
        with the fewest, then the first.
        """
        sites, top = self._sites, len(self._sites) - 1
        if kind < 0 or kind >= len(sites[level]) or not (left := sites[level][kind]):
            return None
        while level < top and sites[level + 1][kind] == left:
            level += 1
        tight = self._tight[level][kind]
        racks, pods, pod_of = tight[min(tight)], self._pods[level], self._pod_of
        if len(racks) == 1:
            return next(iter(racks)), level
        least, best = 1 << 62, -1
        for rack in racks:
            count = pods[pod_of[rack]]
            if count < least or (count == least and rack < best):
                least, best = count, rack
        return best, level
