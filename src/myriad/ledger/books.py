"""The books, and the moves that keep every chip in exactly one slot. `ledger` says which move a fact means.

A move costs what it changes: a node when it moves, the members of a gang when it is placed or stops, and
the same for 6 nodes and for 6,000 when it goes from one phase to another or its time is corrected.
"""

from collections.abc import Iterable, Iterator

from myriad.fleet.site import Site
from myriad.kernel.ids import AttemptId, JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import Instant, Span
from myriad.ledger import buckets
from myriad.ledger.accounts import Account, Page, summed
from myriad.ledger.buckets import SLOTS, IdleSince, Slot
from myriad.ledger.classes import Classes
from myriad.ledger.records import Gang, Job, Node, Owner, Service, Tenant, Terms
from myriad.ledger.scores import Kept
from myriad.ledger.stretches import Shift
from myriad.ledger.tokens import Meter
from myriad.workload.prices import PriceBook


class Books:
    """The books of one site."""

    def __init__(self) -> None:
        #: The instant that the books have reached.
        self.now: Instant = 0
        self.site: Site | None = None
        #: Each with its page; and the terms that hold now for each type of chip.
        self.terms: list[Terms] = [Terms("", PriceBook(), 0)]
        self.pages: list[Page] = [Page()]
        self.terms_of: dict[str, int] = {"": 0}
        self.idle = IdleSince()
        #: Capacity and nodes in service are counted apart from all slots, so that the law can be checked
        #: against them. As in a `Page`: a sum, and what is there now times now.
        self.capacity_chips = 0
        self._capacity_sum: Span = 0
        self._serving_nodes = 0
        self._node_sum: Span = 0
        self.nodes: dict[NodeId, Node] = {}
        self.gangs: dict[AttemptId, Gang] = {}
        self.jobs: dict[JobId, Job] = {}
        #: Jobs that have not ended.
        self.open_jobs: dict[JobId, Job] = {}
        self.services: dict[ServiceId, Service] = {}
        #: Those with ready replicas.
        self.ready_services: dict[ServiceId, Service] = {}
        self.tenants: dict[TenantId, Tenant] = {}
        self.classes = Classes()
        #: Promises to jobs that were forgotten.
        self.kept_promises = Kept()
        self.meter = Meter()
        self.flops = 0.0
        self.losses = 0
        self.repairs = 0
        self.repair_ns: Span = 0
        self.recoveries = 0
        self.recovery_ns: Span = 0

    def advance(self, to: Instant) -> None:
        """Let time go on without a fact, to look at the books as of `to`. Goes forward only."""
        self.now = max(self.now, to)

    @property
    def capacity_ns(self) -> Span:
        """Chips of the site x time, integrated apart from all slots."""
        return self._capacity_sum + self.capacity_chips * self.now

    @property
    def node_ns(self) -> Span:
        """Nodes in service x time: what time to failure is measured in."""
        return self._node_sum + self._serving_nodes * self.now

    @property
    def term(self) -> int:
        """Number of the terms that hold now for the site's own type of chip."""
        return self.terms_of[self.site.chip if self.site else ""]

    def totals(self) -> dict[Slot, int]:
        """Chip-time of the whole site by slot."""
        return summed(self.by_terms().values())

    def by_terms(self) -> dict[int, dict[Slot, int]]:
        """Chip-time of the whole site by terms and slot."""
        self.settle()
        return {terms: page.totals(self.now) for terms, page in enumerate(self.pages)}

    def chips_now(self) -> list[int]:
        """Chips in each slot now."""
        return [sum(page.chips[slot] for page in self.pages) for slot in range(SLOTS)]

    def account(self, owner: Owner | Tenant) -> Account:
        """All that an owner had up to now, with what its live gangs have had. To be read only."""
        if not owner.gangs:
            return owner.account
        whole = owner.account.copy()
        for gang in owner.gangs.values():
            gang.pour(whole, self.now)
        return whole

    def node_totals(self, node: Node) -> dict[Slot, int]:
        """Chip-time of a node by slot, with that of gangs that still hold it."""
        node.settle(self.now, self.idle)
        parts = [{Slot(slot): amount for slot, amount in enumerate(node.times) if amount}]
        for gang in node.gangs.values():
            gang.settle(self.now)
            chips = gang.members[node.node]
            if node.node not in gang.away:
                parts.append({slot: span * chips for slot, span in gang.spans.items()})
            for (_, source, target), span in gang.corrections(self.now).items():
                parts.append({source: -span * chips, target: span * chips})
        return summed(parts)

    def tenant(self, tenant: TenantId) -> Tenant:
        """The tenant's books, opened when first needed."""
        if tenant not in self.tenants:
            self.tenants[tenant] = Tenant(tenant)
        return self.tenants[tenant]

    # ---- the law ---------------------------------------------------------------------------------

    def check(self) -> None:
        """The law. Raises AssertionError. Cheap: no walk over nodes or jobs."""
        totals = self.totals()
        assert all(amount >= 0 for amount in totals.values()), totals
        assert sum(totals.values()) == self.capacity_ns, (sum(totals.values()), self.capacity_ns)
        chips = self.chips_now()
        assert sum(chips) == self.capacity_chips and min(chips) >= 0, (chips, self.capacity_chips)

    def check_deeply(self) -> None:
        """The law for every node, job, service and tenant, and that they agree with each other."""
        self.check()
        owners: list[Owner] = [*self.jobs.values(), *self.services.values()]
        parts = [self.account(owner).totals() for owner in owners]
        parts += [tenant.past.account.totals() for tenant in self.tenants.values()]
        tenants = [self.account(tenant).totals() for tenant in self.tenants.values()]
        nodes = [self.node_totals(node) for node in self.nodes.values()]
        site = self.totals()
        held = {slot: amount for slot, amount in site.items() if slot in buckets.HELD}
        for name, some, whole in (
            ("nodes", nodes, site),
            ("owners", parts, held),
            ("tenants", tenants, held),
        ):
            assert _without_zeros(summed(some)) == _without_zeros(whole), (name, summed(some), whole)
            assert all(amount >= 0 for one in some for amount in one.values()), (name, some)
        for node in self.nodes.values():
            gone = [gang.members[node.node] for gang in node.gangs.values() if node.node not in gang.away]
            assert node.pool + sum(gone) == node.chips, node.node

    # ---- moves: nodes ----------------------------------------------------------------------------

    def add_node(self, node: NodeId, pod: str, rack: str, chips: int, chip: str) -> None:
        """A node of the site that was not known before."""
        terms = self.terms_of[chip]
        record = self.nodes[node] = Node(node, pod, rack, chips, terms, self.now)
        self._enter(record, record.pool)
        self._grow(chips)

    def change_node(self, node: Node) -> None:
        """Its state, loss or use as a spare changed: take its pool where that belongs."""
        node.settle(self.now, self.idle)
        slot, served = node.slot, node.serves
        self._enter(node, -node.pool)
        node.judge(self.now)
        self._enter(node, node.pool)
        self._grow(((node.slot is not None) - (slot is not None)) * node.pool)
        if change := node.serves - served:
            self._serving_nodes += change
            self._node_sum -= change * self.now

    def explain_idle(self, idle: IdleSince) -> None:
        """From now on idle chips are idle for another reason."""
        for page in self.pages:
            if chips := page.chips[self.idle.slot]:
                page.move(self.now, self.idle.slot, idle.slot, chips)
        self.idle = idle

    def _enter(self, node: Node, chips: int) -> None:
        if node.slot is not None and chips:
            self.pages[node.terms].enter(self.now, self._place(node.slot), chips)

    def _place(self, slot: Slot) -> Slot:
        return self.idle.slot if slot == buckets.IDLE else slot

    def _grow(self, chips: int) -> None:
        self.capacity_chips += chips
        self._capacity_sum -= chips * self.now

    # ---- moves: gangs ----------------------------------------------------------------------------

    def take_chips(self, gang: Gang) -> None:
        """Every member's chips go from its node's pool to the gang."""
        now, idle, nodes = self.now, self.idle, self.nodes
        first = next(iter(gang.members))
        gang.terms = nodes[first].terms
        taken: dict[Slot, int] = {}
        for node, chips in gang.members.items():
            record = nodes[node]
            slot = record.slot
            assert slot is not None and record.pool >= chips, f"{node}: {chips} chips are not there"
            record.settle(now, idle)
            record.pool -= chips
            record.gangs[gang.attempt] = gang
            taken[slot] = taken.get(slot, 0) + chips
        page = self.pages[gang.terms]
        for slot, chips in taken.items():
            page.move(now, self._place(slot), gang.slot, chips)
        if gang.slot == buckets.RESTART_OWN:
            gang.unsettled = [(gang.terms, now)]
        self.gangs[gang.attempt] = gang.owner.gangs[gang.attempt] = gang.tenant.gangs[gang.attempt] = gang

    def move_gang(self, gang: Gang, target: Slot) -> None:
        """The gang's chips do something else from now on.

        A restart that turns out to be the site's doing was so from its beginning.
        """
        source = gang.slot
        if target == source:
            return
        now = self.now
        if target == buckets.RESTART_SITE:
            self.book(gang, _settled(gang, now))
        gang.settle(now)
        gang.unsettled = [(gang.terms, now)] if target == buckets.RESTART_OWN else []
        if source == buckets.SERVING_HEADROOM:
            gang.bank_busy(now)
            self._ready(gang, -gang.held)
        self.pages[gang.terms].move(now, source, target, gang.held)
        gang.slot, gang.entered_at = target, now
        if target == buckets.SERVING_HEADROOM:
            assert isinstance(gang.owner, Service)
            gang.busy_from = gang.owner.busy.at(now)
            self._ready(gang, gang.held)

    def give_back(self, gang: Gang, node: NodeId) -> None:
        """One member's chips go back to its node's pool before the gang has stopped."""
        assert gang.slot != buckets.SERVING_HEADROOM, "it would be ready with a part of its chips"
        record, chips = self.nodes[node], gang.members[node]
        assert record.slot is not None, f"{node} retired with chips held"
        gang.settle(self.now)
        record.settle(self.now, self.idle)
        for slot, span in gang.spans.items():
            record.times[slot] += span * chips
            for account in (gang.owner.account, gang.tenant.account):
                account.add(gang.terms, slot, span * chips)
        gang.away[node] = None
        gang.held -= chips
        record.pool += chips
        self.pages[gang.terms].move(self.now, gang.slot, self._place(record.slot), chips)

    def close(self, gang: Gang) -> None:
        """The gang has stopped: its chips are free, and its time goes to its nodes and owners for good."""
        now, idle, nodes, attempt, spans = self.now, self.idle, self.nodes, gang.attempt, gang.spans
        gang.bank_busy(now)
        if gang.slot == buckets.SERVING_HEADROOM:
            self._ready(gang, -gang.held)
        gang.settle(now)
        gang.pour(gang.owner.account, now)
        gang.pour(gang.tenant.account, now)
        corrected = _of_one_chip(gang, {})
        whole = _of_one_chip(gang, spans)
        freed: dict[Slot, int] = {}
        for node, chips in gang.members.items():
            record = nodes[node]
            record.settle(now, idle)
            here = node not in gang.away
            if here:
                slot = record.slot
                assert slot is not None, f"{node} retired with chips held"
                record.pool += chips
                freed[slot] = freed.get(slot, 0) + chips
            times = record.times
            for one, span in whole if here else corrected:
                times[one] += span * chips
            if gang.flops:
                record.flops += gang.flops * chips / gang.chips
            del record.gangs[attempt]
        page = self.pages[gang.terms]
        for slot, chips in freed.items():
            page.move(now, gang.slot, self._place(slot), chips)
        gang.closed = True
        del self.gangs[attempt], gang.owner.gangs[attempt], gang.tenant.gangs[attempt]

    def book(self, gang: Gang, shifts: Iterable[Shift]) -> None:
        """Corrections of time already booked, for every chip of the gang."""
        for terms, source, target, span in shifts:
            if not span:
                continue
            chip_ns = span * gang.chips
            self.pages[terms].shift(source, target, chip_ns)
            if not gang.closed:
                key = (terms, source, target)
                gang.shifts[key] = gang.shifts.get(key, 0) + span
                continue
            for account in (gang.owner.account, gang.tenant.account):
                account.add(terms, source, -chip_ns)
                account.add(terms, target, chip_ns)
            for node, chips in gang.members.items():
                times = self.nodes[node].times
                times[source] -= span * chips
                times[target] += span * chips

    # ---- moves: services -------------------------------------------------------------------------

    def settle(self) -> None:
        """Book how busy ready replicas were up to now. Looking never changes what is booked later."""
        for service in self.ready_services.values():
            self.settle_service(service)

    def settle_service(self, service: Service) -> None:
        """Book how busy its ready replicas were up to now."""
        busy = service.busy.at(self.now)
        if span := busy - service.booked_ns:
            for terms, chips in service.ready.items():
                self.pages[terms].shift(buckets.SERVING_HEADROOM, buckets.SERVING_BUSY, span * chips)
            service.booked_ns = busy

    def _ready(self, gang: Gang, chips: int) -> None:
        """So many more chips of its service are in replicas that are ready."""
        service = gang.owner
        assert isinstance(service, Service)
        self.settle_service(service)
        service.ready[gang.terms] = service.ready.get(gang.terms, 0) + chips
        if any(service.ready.values()):
            self.ready_services[service.service] = service
        else:
            self.ready_services.pop(service.service, None)

    # ---- terms of price --------------------------------------------------------------------------

    def turn_to(self, site: Site, prices: PriceBook) -> None:
        """From now on time is booked under these prices, for each type of chip the site has.

        Costs a step for each node and each member of a live gang.
        """
        if self.site is None:
            self.terms, self.pages, self.terms_of = [], [], {}
        self.settle()
        for gang in self.gangs.values():
            self._turn_away(gang)
        for node in self.nodes.values():
            node.settle(self.now, self.idle)
            self._enter(node, -node.pool)
        chip_of = {place.node: place.chip for place in site.places()}
        before = [terms.chip for terms in self.terms]
        for chip in dict.fromkeys(
            [site.chip, *site.kinds(), *(before[n.terms] for n in self.nodes.values())]
        ):
            self.terms_of[chip] = len(self.terms)
            self.terms.append(Terms(chip, prices, self.now))
            self.pages.append(Page())
        for node in self.nodes.values():
            node.terms = self.terms_of[chip_of.get(node.node) or before[node.terms]]
            self._enter(node, node.pool)
        for gang in self.gangs.values():
            self._turn_towards(gang)

    def _turn_away(self, gang: Gang) -> None:
        if gang.timeline and not gang.ended:
            gang.timeline.cut(self.now, gang.terms)
        gang.bank_busy(self.now)
        if gang.slot == buckets.SERVING_HEADROOM:
            self._ready(gang, -gang.held)
        gang.settle(self.now)
        for slot, span in gang.spans.items():
            for account in (gang.owner.account, gang.tenant.account):
                account.add(gang.terms, slot, span * gang.held)
            for node, chips in gang.members.items():
                if node not in gang.away:
                    self.nodes[node].times[slot] += span * chips
        gang.spans = {}
        self.pages[gang.terms].enter(self.now, gang.slot, -gang.held)

    def _turn_towards(self, gang: Gang) -> None:
        gang.terms, gang.entered_at = self.nodes[next(iter(gang.members))].terms, self.now
        self.pages[gang.terms].enter(self.now, gang.slot, gang.held)
        if gang.unsettled:
            gang.unsettled.append((gang.terms, self.now))
        if gang.slot == buckets.SERVING_HEADROOM:
            self._ready(gang, gang.held)


def _settled(gang: Gang, now: Instant) -> Iterator[Shift]:
    """What was called the owner's cause was the site's, from the moment work stopped."""
    until = now
    for terms, since in reversed(gang.unsettled):
        yield Shift(terms, buckets.RESTART_OWN, buckets.RESTART_SITE, until - since)
        until = since
    terms, span = gang.detected
    gang.detected = (0, 0)
    yield Shift(terms, buckets.DETECT_OWN, buckets.DETECT_SITE, span)


def _of_one_chip(gang: Gang, spans: dict[Slot, Span]) -> list[tuple[Slot, Span]]:
    """These spans with all corrections of the gang."""
    found = spans.copy()
    for (_, source, target), span in gang.shifts.items():
        found[source] = found.get(source, 0) - span
        found[target] = found.get(target, 0) + span
    return list(found.items())


def _without_zeros(totals: dict[Slot, int]) -> dict[Slot, int]:
    return {slot: amount for slot, amount in totals.items() if amount}
