"""Where a gang of one node goes: counts of what nodes offer, by rack, for the tightest hole.

Plain integers and dictionaries, one small change for each node that changes: most jobs of a busy site take a
part of one node, and arrays of hundreds of racks cost more than all else about them.
"""

from collections.abc import Sequence


class Holes:
    """Counts of nodes without doubt, of every level of what a node can offer."""

    def __init__(self, pod_of: Sequence[int], kind_of: Sequence[int], levels: int) -> None:
        """`pod_of` and `kind_of`: of each rack, its pod and the chip type of that."""
        self._pod_of, self._kind_of = pod_of, kind_of
        kinds, racks, pods = max(kind_of, default=0) + 1, len(pod_of), max(pod_of, default=0) + 1
        #: Nodes that offer the level or more: in each rack, pod, and of each chip type.
        self._racks = [[0] * racks for _ in range(levels)]
        self._pods = [[0] * pods for _ in range(levels)]
        self._sites = [[0] * kinds for _ in range(levels)]
        #: Nodes of each rack that offer the level and no more.
        self._just = [[0] * racks for _ in range(levels)]
        #: [level][chip type]: racks that have such a node, by how many of theirs offer the level or more.
        self._tight: list[list[dict[int, dict[int, None]]]] = [
            [{} for _ in range(kinds)] for _ in range(levels)
        ]

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
