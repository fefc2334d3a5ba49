"""Backfill: who may pass a gang that waits for room.

EASY: a later gang may go first if it cannot delay the first one that waits (Lifka, The ANL/IBM SP Scheduling
System, 1995). Conservative: nor any other that has a reservation (Mu'alem and Feitelson, 2001). Run times are
predicted, not the users' guesses, and corrected when a gang outlives its prediction (Tsafrir, Etsion and
Feitelson, 2007); that of a candidate is multiplied, so that an error does not delay who waits. An unknown run
time counts as endless.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from myriad.kernel.ids import AttemptId
from myriad.kernel.units import MINUTE, Instant, Span
from myriad.schedule.asks import Ask

#: A gang that outlives its prediction is expected to go on for as long as it is late, and for this at least.
OVERDUE: Final[Span] = MINUTE
#: Sorting anew costs less than changes by themselves, if one in so many ends is new or gone.
_FEW: Final = 8


class Reservation(NamedTuple):
    """What is kept for the gang in front."""

    starts_at: Instant  # predicted; 0: cannot be told, because what runs has no predicted end
    extra: int  # what will be free then beyond what it needs


class End(NamedTuple):
    """Nodes that come back at a predicted instant."""

    at: Instant
    attempt: AttemptId  # breaks ties
    kind: str  # chip type
    nodes: int
    chips_per_node: int
    placed_at: Instant
    pods: Mapping[int, int]  # nodes in each pod


class Ends:
    """The predicted ends of what runs, earliest first, kept in order as predictions change."""

    def __init__(self) -> None:
        self._ordered: list[tuple[Instant, AttemptId]] = []
        self._ends: dict[AttemptId, End] = {}
        #: What came since somebody last asked for the order, and what was in it and went.
        self._fresh: dict[AttemptId, None] = {}
        self._gone: list[tuple[Instant, AttemptId]] = []

    def __len__(self) -> int:
        return len(self._ends)

    def put(self, end: End) -> None:
        """A gang is predicted to end then; an earlier prediction of it is replaced."""
        self.drop(end.attempt)
        self._ends[end.attempt] = end
        self._fresh[end.attempt] = None

    def drop(self, attempt: AttemptId) -> None:
        """It holds no nodes any more, or has no predicted end."""
        end = self._ends.pop(attempt, None)
        if end is None:
            return
        if attempt in self._fresh:
            del self._fresh[attempt]
        elif len(self._gone) < len(self._ordered):
            self._gone.append((end.at, attempt))

    def _index(self) -> None:
        """The order anew: by its changes, or as a whole where these are many."""
        fresh, gone, ordered = self._fresh, self._gone, self._ordered
        if (len(fresh) + len(gone)) * _FEW > len(ordered):
            self._ordered = sorted([(end.at, attempt) for attempt, end in self._ends.items()])
        else:
            for key in gone:
                del ordered[bisect_left(ordered, key)]
            for attempt in fresh:
                insort(ordered, (self._ends[attempt].at, attempt))
        self._fresh, self._gone = {}, []

    def move(self, attempt: AttemptId, at: Instant) -> None:
        """Another prediction for a gang that is known."""
        end = self._ends.get(attempt)
        if end is not None and end.at != at:
            self.put(end._replace(at=at))

    def get(self, attempt: AttemptId) -> End | None:
        """The predicted end of a gang."""
        return self._ends.get(attempt)

    def coming(self, now: Instant) -> Iterator[tuple[Instant, End]]:
        """Ends from now on, in order; of what is overdue, corrected instants."""
        if self._fresh or self._gone:
            self._index()
        ordered, ends = self._ordered, self._ends
        ahead = bisect_left(ordered, (now, AttemptId("")))
        # the latest to be overdue is the least late: corrected, they come in the opposite order
        late = ahead - 1
        while late >= 0 or ahead < len(ordered):
            late_at = now + max(now - ordered[late][0], OVERDUE) if late >= 0 else 0
            if late >= 0 and (ahead == len(ordered) or late_at <= ordered[ahead][0]):
                yield late_at, ends[ordered[late][1]]
                late -= 1
            else:
                at, attempt = ordered[ahead]
                yield at, ends[attempt]
                ahead += 1


def reserve(need: int, free: int, coming: Iterable[tuple[Instant, int]], now: Instant) -> Reservation:
    """When `need` (nodes, or chips) will be free, given `free` now and what comes back: instant, how many."""
    if free >= need:
        return Reservation(now, free - need)
    for at, nodes in coming:
        free += nodes
        if free >= need:
            return Reservation(at, free - need)
    return Reservation(0, 0)


def reserve_in_pod(
    need: int, free: Iterable[int], coming: Iterable[tuple[Instant, Mapping[int, int]]], now: Instant
) -> Reservation:
    """When one pod will have `need` nodes free, given how many each has now and what comes back where."""
    room = list(free)
    if max(room, default=0) >= need:
        return Reservation(now, max(room) - need)
    for at, pods in coming:
        for pod, nodes in pods.items():
            room[pod] += nodes
            if room[pod] >= need:
                return Reservation(at, room[pod] - need)
    return Reservation(0, 0)


def chips_of(end: End, ask: Ask, kind: str) -> int:
    """How many chips the end gives to this ask, in parts of nodes too."""
    if end.kind != kind:
        return 0
    return end.nodes * min(end.chips_per_node, ask.chips_per_node)


def nodes_of(end: End, ask: Ask, kind: str) -> int:
    """How many nodes the end gives to this ask: parts of nodes count as the nodes they add up to."""
    if end.kind != kind:
        return 0
    if end.chips_per_node >= ask.chips_per_node:
        return end.nodes
    return end.nodes * end.chips_per_node // ask.chips_per_node


def ends_in_time(run_ns: Span, held: Reservation, now: Instant) -> bool:
    """Whether a run started now is predicted to end before the reserved start."""
    return bool(run_ns and held.starts_at and now + run_ns <= held.starts_at)


class Profile:
    """Nodes free over time, for reservations one after another (conservative backfill)."""

    def __init__(self, now: Instant, free: int, coming: Iterable[tuple[Instant, int]]) -> None:
        self._at: list[Instant] = [now]
        self._free: list[int] = [free]
        for at, nodes in coming:
            if at == self._at[-1]:
                self._free[-1] += nodes
            else:
                self._at.append(at)
                self._free.append(self._free[-1] + nodes)

    def copy(self) -> "Profile":
        """Another one that changes by itself."""
        other = Profile(0, 0, ())
        other._at, other._free = self._at.copy(), self._free.copy()
        return other

    def reserve(self, nodes: int, run_ns: Span) -> Instant:
        """Take `nodes` for `run_ns` (0: for ever) at the first instant they are free; 0: never."""
        start: int | None = None
        for index, free in enumerate(self._free):
            if free < nodes:
                start = None
                continue
            start = index if start is None else start
            if run_ns and index + 1 < len(self._at) and self._at[index + 1] < self._at[start] + run_ns:
                continue
            if not run_ns and index + 1 < len(self._at):
                continue
            self._take(start, nodes, run_ns)
            return self._at[start]
        return 0

    def fits_now(self, nodes: int, run_ns: Span) -> bool:
        """Whether `nodes` are free from now on for so long (0: for ever)."""
        until = self._at[0] + run_ns
        for at, free in zip(self._at, self._free, strict=True):
            if run_ns and at >= until:
                return True
            if free < nodes:
                return False
        return True

    def take_now(self, nodes: int, run_ns: Span) -> None:
        """They are taken from now on."""
        self._take(0, nodes, run_ns)

    def _take(self, start: int, nodes: int, run_ns: Span) -> None:
        until = self._at[start] + run_ns if run_ns else None
        index = start
        while index < len(self._at) and (until is None or self._at[index] < until):
            self._free[index] -= nodes
            index += 1
        if until is not None and (index == len(self._at) or self._at[index] > until):
            self._at.insert(index, until)
            self._free.insert(index, self._free[index - 1] + nodes)
