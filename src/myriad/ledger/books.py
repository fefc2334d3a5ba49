"""The books, and the moves that keep every chip in exactly one slot. `ledger` says which move a fact means.

A move costs what it changes: a gang's members when it is placed or changes phase, one node when a node
moves. Corrections of a running gang cost nothing a node: they reach its nodes when it stops.
"""

from collections.abc import Callable, Iterable, Iterator

from myriad.fleet.site import Site
from myriad.kernel.ids import AttemptId, JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import Instant, Span
from myriad.ledger.buckets import Account, Clock, Slot, summed
from myriad.ledger.records import Gang, Job, Node, Service, Tenant, Terms
from myriad.ledger.stretches import Shift
from myriad.ledger.tokens import Meter
from myriad.workload.prices import PriceBook


class Books:
    """The books of one site."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.site: Site | None = None
        self.terms: list[Terms] = [Terms("", PriceBook(), 0)]
        self.account = Account(self.clock)
        #: Capacity is counted apart, so that the law can be checked against it.
        self.capacity_chips = 0
        self._capacity_ns: Span = 0
        self._serving_nodes = 0
        self._node_ns: Span = 0
        self.nodes: dict[NodeId, Node] = {}
        self.gangs: dict[AttemptId, Gang] = {}
        self.jobs: dict[JobId, Job] = {}
        self.services: dict[ServiceId, Service] = {}
        self.tenants: dict[TenantId, Tenant] = {}
        self.meter = Meter()
        self.losses = 0
        self.repairs: list[Span] = []

    def advance(self, to: Instant) -> None:
        """Let time go on without a fact, to look at the books as of `to`. Goes forward only."""
        elapsed = max(0, to - self.now)
        self._capacity_ns += elapsed * self.capacity_chips
        self._node_ns += elapsed * self._serving_nodes
        self.clock.advance(to)

    @property
    def now(self) -> Instant:
        """The instant that the books have reached."""
        return self.clock.now

    @property
    def capacity_ns(self) -> Span:
        """Chips of the site x time, integrated apart from all slots."""
        return self._capacity_ns

    @property
    def node_ns(self) -> Span:
        """Nodes in service x time: what time to failure is measured in."""
        return self._node_ns

    def check(self) -> None:
        """The law. Raises AssertionError. Cheap: no walk over nodes or jobs."""
        totals = self.account.totals()
        assert all(amount >= 0 for amount in totals.values()), totals
        assert sum(totals.values()) == self._capacity_ns, (sum(totals.values()), self._capacity_ns)
        assert sum(self.account.chips().values()) == self.capacity_chips

    def check_deeply(self) -> None:
        """The law for every node, job, service and tenant, and that they agree with each other."""
        self.check()
        nodes = summed(node_totals(node) for node in self.nodes.values())
        owners = summed(owner.account.totals() for owner in (*self.jobs.values(), *self.services.values()))
        tenants = summed(tenant.account.totals() for tenant in self.tenants.values())
        site = self.account.totals()
        held = {slot: amount for slot, amount in site.items() if slot <= Slot.SERVING}
        for name, part, whole in (
            ("nodes", nodes, site),
            ("owners", owners, held),
            ("tenants", tenants, held),
        ):
            assert _without_zeros(part) == _without_zeros(whole), (name, part, whole)
        for node in self.nodes.values():
            assert all(amount >= 0 for amount in node_totals(node).values()), node.node
            assert (
                node.pool + sum(gang.present.get(node.node, 0) for gang in node.gangs.values()) == node.chips
            )

    # ---- moves -----------------------------------------------------------------------------------

    def add_node(self, node: NodeId, chips: int) -> None:
        """A node of the site that was not known before."""
        record = self.nodes[node] = Node(node, chips, self.clock)
        self._move_pool(record, None, record.slot, chips)
        self.capacity_chips += chips

    def change_node(self, node: Node, change: Callable[[Node], None]) -> None:
        """Let `change` alter the node's state, and take its pool where that belongs."""
        slot, served = node.slot, node.serves
        change(node)
        if node.slot != slot:
            self._move_pool(node, slot, node.slot, node.pool)
            self.capacity_chips += ((node.slot is not None) - (slot is not None)) * node.pool
        self._serving_nodes += node.serves - served

    def _move_pool(self, node: Node, source: Slot | None, target: Slot | None, chips: int) -> None:
        if chips:
            self.account.move(self.term, source, target, chips)
            node.tally.move(source, target, chips)

    def move_gang(self, gang: Gang, target: Slot) -> None:
        """The gang's chips do something else from now on.

        A restart that turns out to be the site's doing was so from its beginning.
        """
        if target == gang.slot:
            return
        if target == Slot.RESTART_SITE:
            self.book(gang, _settled(gang, self.now))
        gang.unsettled = [(self.term, self.now)] if target == Slot.RESTART_OWN else []
        chips = sum(gang.present.values())
        self.account.move(self.term, gang.slot, target, chips)
        self._move_owned(gang, gang.slot, target, chips)
        for node, chips in gang.present.items():
            self.nodes[node].tally.move(gang.slot, target, chips)
        gang.slot = target

    def take_chips(self, gang: Gang) -> None:
        """Every member's chips go from its node's pool to the gang."""
        for node, chips in gang.members.items():
            record = self.nodes[node]
            assert record.slot is not None and record.pool >= chips, f"{node}: {chips} chips are not there"
            record.pool -= chips
            record.gangs[gang.attempt] = gang
            self.account.move(self.term, record.slot, gang.slot, chips)
            record.tally.move(record.slot, gang.slot, chips)
        self._move_owned(gang, None, gang.slot, gang.chips)
        gang.unsettled = [(self.term, self.now)] if gang.slot == Slot.RESTART_OWN else []
        self.gangs[gang.attempt] = gang

    def give_back(self, gang: Gang, node: NodeId) -> None:
        """One member's chips go back to its node's pool."""
        record, chips = self.nodes[node], gang.present.pop(node)
        assert record.slot is not None, f"{node} retired with chips held"
        record.pool += chips
        self.account.move(self.term, gang.slot, record.slot, chips)
        record.tally.move(gang.slot, record.slot, chips)
        self._move_owned(gang, gang.slot, None, chips)

    def close(self, gang: Gang) -> None:
        """The gang has stopped: its chips are free, its corrections reach its nodes."""
        for node in list(gang.present):
            self.give_back(gang, node)
        for node, chips in gang.members.items():
            record = self.nodes[node]
            del record.gangs[gang.attempt]
            for (source, target), span in gang.shifts.items():
                record.tally.shift(source, target, span * chips)
        gang.closed = True
        del self.gangs[gang.attempt]

    def _move_owned(self, gang: Gang, source: Slot | None, target: Slot | None, chips: int) -> None:
        for account in self._owners(gang):
            account.move(self.term, source, target, chips)

    def _owners(self, gang: Gang) -> tuple[Account, Account]:
        return gang.owner.account, self.tenant(gang.owner.tenant).account

    def book(self, gang: Gang, shifts: Iterable[Shift]) -> None:
        """Corrections of time already booked, for every chip of the gang."""
        for shift in shifts:
            if not shift.span:
                continue
            chip_ns = shift.span * gang.chips
            for account in (self.account, *self._owners(gang)):
                account.shift(shift.terms, shift.source, shift.target, chip_ns)
            if gang.closed:
                for node, chips in gang.members.items():
                    self.nodes[node].tally.shift(shift.source, shift.target, shift.span * chips)
            else:
                key = (shift.source, shift.target)
                gang.shifts[key] = gang.shifts.get(key, 0) + shift.span

    @property
    def term(self) -> int:
        """Number of the terms that hold now."""
        return len(self.terms) - 1

    def turn_to(self, terms: Terms) -> None:
        """From now on time is booked under these terms. Costs a step for each live gang."""
        if self.site is None:
            self.terms[0] = terms
            return
        for gang in self.gangs.values():
            if gang.timeline and not gang.ended:
                gang.timeline.cut(self.now, self.term)
        self.terms.append(terms)
        for gang in self.gangs.values():
            if gang.unsettled:
                gang.unsettled.append((self.term, self.now))
        owners = dict.fromkeys(gang.owner.account for gang in self.gangs.values())
        for account in (self.account, *owners, *(tenant.account for tenant in self.tenants.values())):
            account.turn(self.term)

    def tenant(self, tenant: TenantId) -> Tenant:
        """The tenant's books, opened when first needed."""
        if tenant not in self.tenants:
            self.tenants[tenant] = Tenant(tenant, self.clock)
        return self.tenants[tenant]


def _settled(gang: Gang, now: Instant) -> Iterator[Shift]:
    until = now
    for terms, since in reversed(gang.unsettled):
        yield Shift(terms, Slot.RESTART_OWN, Slot.RESTART_SITE, until - since)
        until = since


def node_totals(node: Node) -> dict[Slot, int]:
    """Chip-time of a node, with the corrections of gangs that still hold it."""
    parts = [node.tally.totals()]
    for gang in node.gangs.values():
        for (source, target), span in gang.shifts.items():
            amount = span * gang.members[node.node]
            parts.append({source: -amount, target: amount})
    return summed(parts)


def _without_zeros(totals: dict[Slot, int]) -> dict[Slot, int]:
    return {slot: amount for slot, amount in totals.items() if amount}
