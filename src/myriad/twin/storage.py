"""Shared storage: what many nodes read at once, each gets its share of, so a whole-site restart queues."""

import heapq

from myriad.kernel.units import SECOND
from myriad.twin.timeline import Event, Timeline


class Storage:
    """Transfers of gangs under equal sharing among nodes, exact: each node gets min(own, total / nodes).

    All nodes have the same rate at any time, so one virtual clock (bytes a node that read all along has got)
    serves all of them: a transfer is over when the clock has gone its bytes a node further.
    """

    def __init__(self, timeline: Timeline, total: float, own: float) -> None:
        """`total` of the site and `own` of a node in bytes/s; 0: without limit."""
        self._timeline = timeline
        self._total, self._own = total or float("inf"), own or float("inf")
        self._nodes = 0
        self._clock = 0.0
        self._read_at = 0
        self._epoch = 0
        self._active: list[tuple[float, int, int, Event]] = []
        self._sequence = 0

    def rate(self, nodes: int) -> float:
        """What a node would get now if so many more read, in bytes/s."""
        return min(self._own, self._total / max(1, self._nodes + nodes))

    def transfer(self, size: float, nodes: int, done: Event) -> None:
        """Move `size` bytes in all to or from so many nodes, evenly; `done` happens when all have theirs."""
        if size <= 0 or self.rate(nodes) == float("inf"):
            done()
            return
        self._settle()
        self._sequence += 1
        self._nodes += nodes
        heapq.heappush(self._active, (self._clock + size / nodes, self._sequence, nodes, done))
        self._expect()

    def _settle(self) -> None:
        """Let the virtual clock follow."""
        now = self._timeline.now
        if self._nodes:
            self._clock += self.rate(0) * (now - self._read_at) / SECOND
        self._read_at = now

    def _expect(self) -> None:
        """Wait for the next that ends at the present rate."""
        self._epoch += 1
        if not self._active:
            return
        epoch, left = self._epoch, self._active[0][0] - self._clock
        wait_ns = max(0, int(left / self.rate(0) * SECOND) + 1)

        def arrive() -> None:
            if epoch == self._epoch:
                self._arrive()

        self._timeline.at(self._timeline.now + wait_ns, arrive)

    def _arrive(self) -> None:
        self._settle()
        finished = []
        while self._active and self._active[0][0] <= self._clock * (1 + 1e-12):
            _, _, nodes, done = heapq.heappop(self._active)
            self._nodes -= nodes
            finished.append(done)
        self._expect()
        for done in finished:
            done()
