"""What is true now. Built by folding facts (`apply`), read by handlers, policies and views.

Dicts keep the order of the facts, so nothing depends on hashes. The records are in `records`.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

import msgspec
import numpy as np

from myriad.control.records import Domain, Gang, GangPhase, Incident, Job, Key, Node, Service, Spent, Usage
from myriad.fleet.columns import Columns, NodeState, Rows
from myriad.fleet.site import Site
from myriad.kernel import units
from myriad.kernel.ids import AttemptId, IncidentId, JobId, KeyId, NodeId, RequestId, ServiceId, TenantId
from myriad.kernel.units import DAY, HOUR, Instant, Span
from myriad.performance.estimate import START_NS as RESTART_NS
from myriad.protocol.values import (
    IdleReason,
    Profile,
)
from myriad.schedule.asks import Ask, Running
from myriad.workload.jobs import TrainingJob
from myriad.workload.prices import PriceBook
from myriad.workload.tenants import Tenant
from myriad.workload.windows import Window

#: Work that says nothing of its run time keeps out of windows that begin within this. Estimated.
UNKNOWN_RUN_NS: Final[Span] = HOUR


_ENDLESS: Final = 1 << 62
#: What follows from the rest, or has a digest of its own.
_DERIVED: Final = frozenset({"columns", "paths", "holders", "sizes"})
#: Up to so many sizes are all tried; of more, halves of the largest.
_MANY_SIZES: Final = 16


class State:
    """The whole truth of one control plane."""

    def __init__(self) -> None:
        self.now: Instant = 0
        self.site: Site | None = None
        #: Of the site: each chip type, and how many nodes have so many chips of it.
        self.sizes: dict[str, dict[int, int]] = {}
        self.open = False
        self.opened_at: Instant = 0
        self.prices = PriceBook()
        self.columns = Columns()
        self.nodes: dict[NodeId, Node] = {}
        self.tenants: dict[TenantId, Tenant] = {}
        self.keys: dict[KeyId, Key] = {}
        self.jobs: dict[JobId, Job] = {}
        #: Those that are over, in the order they ended: only so many are kept.
        self.ended: deque[JobId] = deque()
        #: Jobs without a gang that are not over: the queue, before ordering.
        self.waiting: dict[JobId, None] = {}
        self.gangs: dict[AttemptId, Gang] = {}
        self.services: dict[ServiceId, Service] = {}
        #: Replicas that services had which are gone.
        self.former_attempts: dict[ServiceId, int] = {}
        self.usage: dict[TenantId, int] = {}
        #: Tenant -> itself and what it is part of, outermost last.
        self.paths: dict[TenantId, tuple[TenantId, ...]] = {}
        self.spent: dict[TenantId, Spent] = {}
        #: Whether any tenant has a budget.
        self.budgeted = False
        #: Owner -> gangs that still make room for it; an entry stays until the owner is placed or ends.
        self.claims: dict[str, dict[AttemptId, None]] = {}
        #: Tenant and priority -> gangs that hold nodes.
        self.holders: dict[tuple[TenantId, int], dict[AttemptId, None]] = {}
        self.windows: dict[str, Window] = {}
        #: Requests whose last word has not been heard.
        self.metering: dict[RequestId, Usage] = {}
        #: Work signature -> observed step time, for forecasts.
        self.observed_ns: dict[str, Span] = {}
        #: Losses of nodes, all of them; and failures as the rate counts them: of a node in service by
        #: itself, or of a domain. Over the time that nodes were in service.
        self.losses = 0
        self.failures = 0
        self._in_service = 0
        self._service_ns: Span = 0
        self._counted_at: Instant = 0
        #: Repairs of single nodes that are over, and how long they took together.
        self.repairs = 0
        self.repair_ns: Span = 0
        #: Failures after which copies in memory were enough, and were not.
        self.memory_survived = 0
        self.memory_died = 0
        #: What can fail as one, by `<kind>:<name>`; rack -> power group, for racks that have one.
        self.domains: dict[str, Domain] = {}
        self.power: dict[str, str] = {}
        #: Incidents that are open, and the last of those that are over.
        self.incidents: dict[IncidentId, Incident] = {}
        self.past_incidents: dict[IncidentId, Incident] = {}
        self.incident_count = 0
        #: When the scheduler wants to be called in any case; past: it does not.
        self.look_again_at: Instant = 0
        self.idle: IdleReason = "no_demand"

    # ---- the scheduler's view ------------------------------------------------------------------

    def path(self, tenant: TenantId) -> tuple[TenantId, ...]:
        """The tenant and what it is part of, outermost last."""
        return self.paths[tenant]

    def running(
        self, tenant: TenantId, rank: int, before: Instant, chips_per_node: int = 0
    ) -> Iterable[Running]:
        """Gangs of a tenant and priority placed before then, newest first: of that size or more."""
        for attempt in reversed(self.holders.get((tenant, rank), {})):
            gang = self.gangs[attempt]
            if gang.placed_at + gang.spared_ns <= before and gang.chips_per_node >= chips_per_node:
                yield self._running(gang)

    def is_spent(self, tenant: TenantId, now: Instant) -> bool:
        """Whether the tenant, or one that it is part of, has spent its budget of the period."""
        return self.budgeted and any(self._over_budget(name, now) for name in self.paths[tenant])

    def next_budgets(self) -> Instant:
        """When the next period of a budget begins that is spent now; 0: none is."""
        if not self.budgeted:
            return 0
        spent = [
            tenant.budget
            for name, tenant in self.tenants.items()
            if tenant.budget and self._over_budget(name, self.now)
        ]
        every = [units.span_ns(budget.every) for budget in spent]
        return min(((self.now // span + 1) * span for span in every), default=0)

    def _over_budget(self, name: TenantId, now: Instant) -> bool:
        budget = self.tenants[name].budget
        if budget is None or self.site is None:
            return False
        price = self.prices.chip_hour.get(self.site.chip, Decimal(0))
        first = now // units.span_ns(budget.every) * units.span_ns(budget.every) // DAY
        spent = self.spent[name]
        chip_ns = sum(held for day, held in spent.days.items() if day >= first)
        chip_ns += self.usage[name] * max(0, now - spent.until)
        return Decimal(chip_ns) / HOUR * price >= Decimal(budget.amount)

    def _running(self, gang: Gang) -> Running:
        nodes = least = len(gang.members)
        lost, chip = 0, ""
        if gang.job:
            job = self.jobs[gang.job]
            chip = job.spec.chip
            least = min(nodes, job.sizes[-1])
            done_ns = max(0, self.now - gang.running_at) if gang.running_at else 0
            # a recipe checkpoints before it leaves; a command may know how to, but has not said so
            lost = min(done_ns, job.checkpoint_cost_ns) if job.spec.recipe else done_ns
        leaves = gang.phase in (GangPhase.STOPPING, GangPhase.STALLED) or bool(gang.leave_request)
        return Running(
            gang.attempt,
            gang.job or gang.service,
            gang.tenant,
            gang.rank,
            nodes,
            gang.chips,
            gang.chips // nodes,
            least,
            chip or self.columns.kinds.all[0],
            gang.placed_at,
            (lost + RESTART_NS) * gang.chips,
            bool(gang.job) and not leaves,
        )

    def busy_until(self, row: int) -> Instant:
        """When the last gang on the node is predicted to end; far away if one is endless."""
        gangs = self.nodes[self.columns.ids[row]].gangs
        return max((self.ends_at(self.gangs[attempt]) or _ENDLESS for attempt in gangs), default=0)

    def coming(self, owner: str) -> int:
        """Nodes that are being emptied for the owner: an elastic gang comes back on its fewest."""
        total = 0
        for attempt in self.claims.get(owner, ()):
            gang = self.gangs[attempt]
            nodes, least = len(gang.members), self.jobs[gang.job].sizes[-1]
            total += nodes - least if least < nodes else nodes
        return total

    def barred(self, ask: Ask, now: Instant) -> Rows | None:
        """Rows that windows keep from this ask: others' reservations, and what it would run into."""
        if not self.windows and not ask.reservation:
            return None
        barred = np.zeros(len(self.columns), np.bool_)
        own = self.windows.get(ask.reservation)
        if ask.reservation:
            barred[:] = True
            if own is not None and own.tenant in self.path(ask.tenant) and own.start_at <= now < own.end_at:
                barred[[self.columns.index[node] for node in own.nodes]] = False
        for window in self.windows.values():
            ends_at = now + (ask.run_high_ns or ask.run_ns or UNKNOWN_RUN_NS)
            if window is not own and ends_at > window.start_at and now < window.end_at:
                barred[[self.columns.index[node] for node in window.nodes]] = True
        rows: Rows = np.flatnonzero(barred)
        return rows

    def ends_at(self, gang: Gang) -> Instant:
        """Predicted end of a gang; 0: unknown or endless."""
        if gang.phase is GangPhase.STOPPING or gang.leave_request:
            return gang.until
        if gang.service:
            return 0
        job = self.jobs[gang.job]
        if job.profile.steps and gang.step_ns:
            return self.now + max(0, job.profile.steps - gang.step) * gang.step_ns
        return gang.placed_at + gang.run_ns if gang.run_ns else 0

    # ---- what is counted -----------------------------------------------------------------------

    @property
    def service_ns(self) -> Span:
        """Nodes in service x time, up to now."""
        return self._service_ns + self._in_service * (self.now - self._counted_at)

    def count_service(self, change: int) -> None:
        """From now on so many more nodes are in service."""
        self._service_ns, self._counted_at = self.service_ns, self.now
        self._in_service += change

    def domains_of(self, node: NodeId) -> tuple[Domain, ...]:
        """What the node can fail together with, widest first: a feed may be of several pods, or of a part."""
        domains = [self.domains[key] for key in self.domain_keys(node)]
        return tuple(sorted(domains, key=lambda domain: -domain.size))

    def domain_keys(self, node: NodeId) -> Iterator[str]:
        """Names of its domains. A site without power groups has one in each pod: the pod."""
        row = self.columns.index[node]
        rack = self.columns.racks.all[self.columns.rack[row]]
        pod = self.columns.pods.all[self.columns.pod[row]]
        yield "site:"
        yield f"pod:{pod}"
        if rack in self.power:
            yield f"power:{self.power[rack]}"
        yield f"rack:{rack}"

    # ---- small questions -----------------------------------------------------------------------

    def node_state(self, node: NodeId) -> NodeState:
        """State of a node that exists."""
        return self.columns.state_of(node)

    def digest(self) -> str:
        """One digest of everything: equal states, and only those, give equal digests."""
        plain = {name: value for name, value in vars(self).items() if name not in _DERIVED}
        plain["ended"] = list(self.ended)
        text = msgspec.json.encode(plain)
        columns = self.columns
        digest = hashlib.blake2b(text, digest_size=16)
        for array in (
            columns.state,
            columns.free,
            columns.free_count,
            columns.spare,
            columns.losses,
            columns.slow,
            columns.taken_until,
            columns.gemm_flops,
        ):
            digest.update(array.tobytes())
        digest.update(msgspec.json.encode((columns.ids, columns.racks.all, columns.pods.all)))
        return digest.hexdigest()


def signature(spec: TrainingJob, profile: Profile, nodes: int) -> str:
    """Names work whose step time should be the same: same parameters, tokens and gang."""
    return f"{spec.recipe}/{profile.parameters}/{profile.tokens_per_step}/{nodes}x{spec.chips_per_node}"


def sizes(spec: TrainingJob, profile: Profile) -> tuple[int, ...]:
    """Numbers of nodes on which a job may run, largest first.

    Of an elastic job: those at which its recipe has a layout. A command takes any, so all of them, or halves
    of the largest where that would be many.
    """
    least, most = spec.min_nodes, spec.max_nodes
    if least == most and not profile.sizes:
        return (most,)
    if found := tuple(size for size in profile.sizes if least <= size <= most):
        return found
    if most - least < _MANY_SIZES:
        return tuple(range(most, least - 1, -1))
    halves = [most]
    while halves[-1] // 2 > least:
        halves.append(halves[-1] // 2)
    return (*halves, least)
