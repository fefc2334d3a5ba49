"""The waiting asks, indexed so that a cycle touches those that could start and not the rest.

Asks of one tenant, band and shape form one sorted list; tenants form a tree in the order of their shares.
Nothing here is truth: it is built from the state and kept in step with it.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

from myriad.kernel.ids import TenantId
from myriad.kernel.units import Instant, Span
from myriad.schedule import order
from myriad.schedule.asks import Ask, Shape
from myriad.schedule.policy import OrderPolicy

Band = tuple[int, int, int]
Key = tuple[tuple[int, ...], str]
_T = TypeVar("_T", Key, tuple[int, str])
#: Whether asks of this tenant and shape are worth a look.
Pick = Callable[[TenantId, Shape], bool]


def everything(_tenant: TenantId, _shape: Shape) -> bool:
    """Leaves nothing out of a walk."""
    return True


#: An unknown run time sorts behind all others.
_ENDLESS: Final = 1 << 62
_OWN_FIRST: Final = (-1, 0.0, "")


class _Entry(NamedTuple):
    ask: Ask
    band: Band
    slot: int
    key: Key


class _Slot:
    """A band and a shape; known by a number, since it is looked up at every branch of a walk."""

    __slots__ = ("band", "runs", "shape")

    def __init__(self, band: Band, shape: Shape) -> None:
        self.band, self.shape = band, shape
        #: Run times, the shortest first.
        self.runs: list[tuple[int, str]] = []


class _Branch:
    """A tenant in the tree."""

    __slots__ = ("children", "lists", "name", "order", "parent", "waiting")

    def __init__(self, name: TenantId, parent: "_Branch | None") -> None:
        self.name, self.parent = name, parent
        self.order = order.tenant_order(False, 0.0, name)
        #: In the order of their shares.
        self.children: list[_Branch] = []
        #: Own asks.
        self.lists: dict[int, list[Key]] = {}
        #: How many of each slot wait here and below.
        self.waiting: dict[int, int] = {}

    def place(self, key: tuple[int, float, str]) -> None:
        """Move to the place of the key among the siblings."""
        if self.parent is None or key == self.order:
            return
        siblings = self.parent.children
        siblings.remove(self)
        self.order = key
        insort(siblings, self, key=lambda branch: branch.order)

    def path(self) -> tuple[tuple[int, float, str], ...]:
        """Orders from the root down to here, then the mark that a branch's own asks go before its parts'."""
        keys: list[tuple[int, float, str]] = [_OWN_FIRST]
        branch = self
        while branch.parent is not None:
            keys.append(branch.order)
            branch = branch.parent
        return tuple(reversed(keys))


def _insert(items: list[_T], item: _T) -> None:
    """Put it in its place, which mostly is the last."""
    if items and item < items[-1]:
        insort(items, item)
    else:
        items.append(item)


class Queue:
    """Everything that waits, in order."""

    def __init__(self, policy: OrderPolicy) -> None:
        self._policy = policy
        self._by_tenant = bool(getattr(policy, "by_tenant", True))
        self._root = _Branch(TenantId(""), None)
        self._branches: dict[TenantId, _Branch] = {TenantId(""): self._root}
        self._entries: dict[str, _Entry] = {}
        #: Asks that came and were not looked for in any order yet: who starts at once never is.
        self._fresh: dict[str, Ask] = {}
        self._slots: list[_Slot] = []
        self._numbers: dict[tuple[Band, Shape], int] = {}
        self._starved: set[str] = set()
        #: Times of queueing.
        self._queued: list[tuple[Instant, str]] = []
        #: Predicted chip-time that waits in each band.
        self._work: Counter[Band] = Counter()

    def __len__(self) -> int:
        return len(self._entries) + len(self._fresh)

    def get(self, owner: str) -> Ask | None:
        """The ask of an owner, if it waits."""
        if (entry := self._entries.get(owner)) is not None:
            return entry.ask
        return self._fresh.get(owner)

    # ---- what waits ------------------------------------------------------------------------------

    def put(self, ask: Ask) -> None:
        """Let it wait; an ask of the same owner is replaced."""
        self.drop(ask.owner)
        self._fresh[ask.owner] = ask

    def _index(self) -> None:
        """Give those that came a place in the order."""
        if self._fresh:
            fresh, self._fresh = self._fresh, {}
            for ask in fresh.values():
                self._enter(ask)

    def _enter(self, ask: Ask) -> None:
        band = order.band(ask, ask.owner in self._starved)
        key = (self._policy.ask_key(ask), ask.owner)
        shape = ask.shape
        number = self._numbers.setdefault((band, shape), len(self._slots))
        if number == len(self._slots):
            self._slots.append(_Slot(band, shape))
        self._entries[ask.owner] = _Entry(ask, band, number, key)
        branch, slot = self._branch_of(ask), self._slots[number]
        _insert(branch.lists.setdefault(number, []), key)
        _insert(self._queued, (ask.queued_at, ask.owner))
        _insert(slot.runs, (ask.run_on(ask.least) or _ENDLESS, ask.owner))
        self._work[band] += ask.run_ns * ask.chips
        at: _Branch | None = branch
        while at is not None:
            at.waiting[number] = at.waiting.get(number, 0) + 1
            at = at.parent

    def drop(self, owner: str) -> None:
        """It waits no more."""
        if self._fresh.pop(owner, None) is not None:
            return
        entry = self._entries.pop(owner, None)
        if entry is None:
            return
        ask, number = entry.ask, entry.slot
        branch, slot = self._branch_of(ask), self._slots[number]
        self._work[entry.band] -= ask.run_ns * ask.chips
        del slot.runs[bisect_left(slot.runs, (ask.run_on(ask.least) or _ENDLESS, owner))]
        del self._queued[bisect_left(self._queued, (ask.queued_at, owner))]
        keys = branch.lists[number]
        del keys[bisect_left(keys, entry.key)]
        if not keys:
            del branch.lists[number]
        at: _Branch | None = branch
        while at is not None:
            left = at.waiting[number] = at.waiting[number] - 1
            if not left:
                del at.waiting[number]
            at = at.parent

    def age(self, before: Instant) -> None:
        """Asks queued before that instant go before every class."""
        self._index()
        old = [owner for _, owner in self._queued[: bisect_left(self._queued, (before, ""))]]
        new = [owner for owner in old if owner not in self._starved]
        self._starved = set(old)
        for owner in new:
            self.put(self._entries[owner].ask)

    # ---- tenants ---------------------------------------------------------------------------------

    def set_parents(self, parents: Mapping[TenantId, TenantId]) -> None:
        """The tree anew: tenant -> what it is part of, empty for the outermost."""
        self._index()
        asks = [entry.ask for entry in self._entries.values()]
        orders = {name: branch.order for name, branch in self._branches.items()}
        self._entries.clear()
        self._work.clear()
        self._queued.clear()
        self._slots.clear()
        self._numbers.clear()
        self._root = _Branch(TenantId(""), None)
        self._branches = {TenantId(""): self._root}

        def grow(name: TenantId) -> _Branch:
            if name not in self._branches:
                above = grow(parents[name]) if parents.get(name) else self._root
                branch = self._branches[name] = _Branch(name, above)
                branch.order = orders.get(name, branch.order)
                insort(above.children, branch, key=lambda one: one.order)
            return self._branches[name]

        for name in parents:
            grow(name)
        for ask in asks:
            self.put(ask)

    def tenants(self) -> list[TenantId]:
        """Those for whom something waits, and what they are part of; none where all queue together."""
        self._index()
        return [name for name, branch in self._branches.items() if branch.waiting and name]

    def set_order(self, tenant: TenantId, *, over: bool | None = None, share: float | None = None) -> None:
        """Whether the tenant holds more than its quota, and what it has used."""
        branch = self._branches[tenant]
        was_over, was_share, name = branch.order
        branch.place((was_over if over is None else int(over), was_share if share is None else share, name))

    def set_shares(self, shares: Mapping[TenantId, float]) -> None:
        """What tenants have used, all at once."""
        parents: dict[TenantId, _Branch] = {}
        for tenant, share in shares.items():
            branch = self._branches[tenant]
            over, _, name = branch.order
            branch.order = (over, share, name)
            if branch.parent is not None:
                parents[branch.parent.name] = branch.parent
        for parent in parents.values():
            parent.children.sort(key=lambda one: one.order)

    def _branch_of(self, ask: Ask) -> _Branch:
        return self._branches[ask.tenant] if self._by_tenant else self._root

    # ---- in order --------------------------------------------------------------------------------

    def shapes(self) -> list[Shape]:
        """Every shape that waits."""
        self._index()
        return list(dict.fromkeys([self._slots[slot].shape for slot in self._root.waiting]))

    def shortest(self, longest: Mapping[Shape, Span], most: int) -> list[Ask]:
        """Asks of these shapes, the shortest predicted run first; each shape up to a run time (0: any)."""
        self._index()
        found: list[tuple[int, str]] = []
        for number in self._root.waiting:
            slot = self._slots[number]
            if (run_ns := longest.get(slot.shape)) is not None:
                upto = bisect_left(slot.runs, (run_ns + 1, "")) if run_ns else len(slot.runs)
                found += slot.runs[: min(upto, most)]
        return [self._entries[owner].ask for _, owner in sorted(found)[:most]]

    def walk(self, pick: Pick, shapes: Collection[Shape] | None = None) -> Iterator[Ask]:
        """Asks in order, of these shapes only; left out are those whose tenant and shape are not picked.

        It must not be changed meanwhile.
        """
        self._index()
        bands: dict[Band, list[int]] = {}
        for number in self._root.waiting:
            slot = self._slots[number]
            if shapes is None or slot.shape in shapes:
                bands.setdefault(slot.band, []).append(number)
        for band in sorted(bands):
            yield from self._walk(self._root, bands[band], pick)

    def _walk(self, branch: _Branch, slots: list[int], pick: Pick) -> Iterator[Ask]:
        waiting = branch.waiting
        here = [slot for slot in slots if slot in waiting]
        if not here:
            return
        if branch.lists:
            yield from self._own(branch, here, pick)
        for child in branch.children:
            if child.waiting:
                yield from self._walk(child, here, pick)

    def _own(self, branch: _Branch, slots: list[int], pick: Pick) -> Iterator[Ask]:
        """Own asks of a branch: its lists, merged."""
        heads: list[tuple[Key, int, int]] = []
        for slot in slots:
            if (keys := branch.lists.get(slot)) and pick(branch.name, self._slots[slot].shape):
                heads.append((keys[0], 0, slot))
        while heads:
            head = min(heads)
            key, index, slot = head
            heads.remove(head)
            if pick(branch.name, self._slots[slot].shape):
                yield self._entries[key[1]].ask
            keys = branch.lists.get(slot) or []
            if index + 1 < len(keys) and pick(branch.name, self._slots[slot].shape):
                heads.append((keys[index + 1], index + 1, slot))

    def position(self, owner: str) -> int:
        """Place in the queue, 1 is next; 0: it does not wait in it."""
        self._index()
        if owner not in self._entries:
            return 0
        every = self.walk(everything)
        return next(number for number, ask in enumerate(every, start=1) if ask.owner == owner)

    def work_before(self, ask: Ask) -> int:
        """Predicted chip-time of what goes before a waiting ask: all of its band and of those before it."""
        self._index()
        band = self._entries[ask.owner].band
        before = [work for other, work in self._work.items() if other <= band]
        return sum(before) - ask.run_ns * ask.chips

    def band(self, owner: str) -> Band:
        """Class of a waiting owner; what goes before any order of tenants."""
        self._index()
        return self._entries[owner].band

    def before(self, one: str, other: str) -> bool:
        """Whether one waiting owner goes before another."""
        self._index()
        first, second = self._entries[one], self._entries[other]
        if first.band != second.band:
            return first.band < second.band
        here, there = self._branch_of(first.ask), self._branch_of(second.ask)
        return first.key < second.key if here is there else here.path() < there.path()
