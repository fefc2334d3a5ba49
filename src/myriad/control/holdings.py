"""What is held, kept and waited for, to be read: tenants on their tree, windows, the queue by reason."""

from collections import Counter
from decimal import Decimal
from typing import Final

import msgspec

from myriad.control import tree
from myriad.control.moment import Moment
from myriad.control.state import State
from myriad.control.views import View
from myriad.kernel.ids import AttemptId, NodeId, TenantId
from myriad.kernel.units import DAY, HOUR, Instant, span_ns
from myriad.protocol.values import Code
from myriad.schedule.asks import Ask, Shape
from myriad.schedule.plan import Cycle
from myriad.workload.tenants import Budget
from myriad.workload.windows import Window

_CENT: Final = Decimal("0.01")


class BudgetView(View, frozen=True, kw_only=True):
    """Money of a tenant in the present period."""

    amount: str
    every: str
    #: Since the period began, its parts included.
    spent: str
    since: Instant
    until: Instant


class TenantView(View, frozen=True, kw_only=True):
    """One tenant and what it holds now, its parts included."""

    tenant: TenantId
    parent: TenantId = TenantId("")
    weight: float = 1.0
    chips_quota: int
    chips_borrow: int
    chips_used: int
    #: Of those in use, beyond its own quota: others may take them back.
    chips_borrowed: int = 0
    #: Its own.
    jobs_waiting: int
    budget: BudgetView | None = None


class WindowView(View, frozen=True, kw_only=True):
    """Nodes kept for a tenant, or free of work for maintenance."""

    name: str
    kind: str
    tenant: TenantId
    nodes: tuple[NodeId, ...]
    start_at: Instant
    end_at: Instant
    reason: str
    #: planned, open
    state: str
    #: What runs on the nodes now.
    attempts: tuple[AttemptId, ...]


def tenants(state: State, now: Instant) -> list[TenantView]:
    """Every tenant, each followed by its parts."""
    waiting: dict[TenantId, int] = {}
    for name in state.waiting:
        tenant = state.jobs[name].spec.tenant
        waiting[tenant] = waiting.get(tenant, 0) + 1
    return [_tenant(state, name, waiting.get(name, 0), now) for name in tree.in_order(state.tenants)]


def _tenant(state: State, name: TenantId, waiting: int, now: Instant) -> TenantView:
    tenant, used = state.tenants[name], state.usage.get(name, 0)
    return TenantView(
        tenant=name,
        parent=tenant.parent,
        weight=tenant.weight,
        chips_quota=tenant.quota.chips,
        chips_borrow=tenant.quota.borrow,
        chips_used=used,
        chips_borrowed=max(0, used - tenant.quota.chips),
        jobs_waiting=waiting,
        budget=_budget(state, name, tenant.budget, now) if tenant.budget else None,
    )


def _budget(state: State, name: TenantId, budget: Budget, now: Instant) -> BudgetView:
    """As the scheduler counts it: whole days, at the price of the site's own chip."""
    every = span_ns(budget.every)
    since, spent = now // every * every, state.spent[name]
    price = state.prices.chip_hour.get(state.site.chip, Decimal(0)) if state.site else Decimal(0)
    chip_ns = sum(held for day, held in spent.days.items() if day >= since // DAY)
    chip_ns += state.usage.get(name, 0) * max(0, now - spent.until)
    return BudgetView(
        amount=budget.amount,
        every=budget.every,
        spent=str((Decimal(chip_ns) / HOUR * price).quantize(_CENT)),
        since=since,
        until=since + every,
    )


def windows(state: State, now: Instant, tenant: TenantId | None = None) -> list[WindowView]:
    """Windows by their start; a tenant sees maintenance, and reservations that its jobs may name."""
    own = () if tenant is None else state.path(tenant)
    seen = (one for one in state.windows.values() if tenant is None or not one.tenant or one.tenant in own)
    return sorted(
        (window(state, one, now, tenant) for one in seen), key=lambda view: (view.start_at, view.name)
    )


def window(state: State, one: Window, now: Instant, tenant: TenantId | None = None) -> WindowView:
    """The view of one window; of what runs there a tenant sees its own."""
    every = dict.fromkeys(gang for node in one.nodes for gang in state.nodes[node].gangs)
    gangs = [gang for gang in every if tenant in (None, state.gangs[gang].tenant)]
    fields = msgspec.structs.asdict(one)
    return WindowView(
        **fields, state="open" if one.start_at <= now < one.end_at else "planned", attempts=tuple(gangs)
    )


def waiting(m: Moment) -> dict[Code, int]:
    """Jobs that wait, by the first reason. Cheap: asks of one tenant and shape wait for the same."""
    if not m.state.open:
        return {"site_closed": len(m.state.waiting)} if m.state.waiting else {}
    found, known = Counter[Code](), dict[tuple[TenantId, Shape], Code]()
    cycle = Cycle(m.state, m.board, m.rules, m.now)

    def count(ask: Ask, number: int) -> None:
        key = (ask.tenant, ask.shape)
        if key not in known:
            known[key] = cycle.held_back(ask) or cycle.behind(ask)
        found[known[key]] += number

    for ask, number in m.board.queue.groups():
        count(ask, number)
    for replica in m.board.replicas():
        count(replica, -1)
    found["backoff"] = len(m.state.waiting) - m.board.jobs_waiting
    return {code: number for code, number in found.items() if number}
