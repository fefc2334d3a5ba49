"""Virtual time: a heap of (instant, sequence, event). Nothing happens between events."""

import heapq
from collections.abc import Callable

from myriad.kernel.units import Instant

Event = Callable[[], None]


class Timeline:
    """What will happen, in the order of its instants; ties happen in the order they were asked for."""

    def __init__(self) -> None:
        self.now: Instant = 0
        self._heap: list[tuple[Instant, int, Event]] = []
        self._sequence = 0

    def at(self, instant: Instant, event: Event) -> None:
        """Let the event happen at an instant, or now if that is over."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(instant, self.now), self._sequence, event))

    def pending(self) -> bool:
        """Whether anything will still happen."""
        return bool(self._heap)

    def next_at(self) -> Instant:
        """When the next event happens; there must be one."""
        return self._heap[0][0]

    def happen(self) -> None:
        """Let the next event happen."""
        self.now, _, event = heapq.heappop(self._heap)
        event()
