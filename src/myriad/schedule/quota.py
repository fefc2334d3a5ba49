"""Quota on the tenant tree: what a tenant holds counts against its own quota and that of all it is part of.

A tenant holds at most its own chips plus what it may borrow; inside its own chips it may take back what
others borrowed (Kueue and YuniKorn cut guaranteed, borrowed and reclaimed the same way).
"""

from myriad.kernel.ids import TenantId
from myriad.protocol.values import Reason
from myriad.schedule.asks import Ask, View
from myriad.workload.tenants import Quota


def never_fits(view: View, tenant: TenantId, chips: int) -> Reason | None:
    """Why the tenant could never hold so many chips, even with nothing else running; None if it could."""
    for name in view.path(tenant):
        quota = view.tenants[name].quota
        if chips > quota.limit:
            text = f"needs {chips} chips; the quota of {name} is {_show(quota)}"
            remedy = f"ask for at most {quota.limit} chips, or have the quota raised"
            return Reason(code="quota", text=text, remedy=remedy)
    return None


def headroom(view: View, tenant: TenantId) -> int:
    """Chips the tenant may still take."""
    return min(view.tenants[name].quota.limit - view.usage.get(name, 0) for name in view.path(tenant))


def short_of(view: View, tenant: TenantId, chips: int) -> TenantId | None:
    """The tenant, or one that it is part of, for which `chips` more would be too many."""
    usage, tenants = view.usage, view.tenants
    for name in view.path(tenant):
        if usage[name] + chips > tenants[name].quota.limit:
            return name
    return None


def left(view: View, name: TenantId) -> int:
    """Chips that a tenant's own quota still allows."""
    return view.tenants[name].quota.limit - view.usage[name]


def holds_back(view: View, tenant: TenantId, chips: int) -> Reason | None:
    """Why the tenant may not hold `chips` more right now; None if it may."""
    for name in view.path(tenant):
        quota, used = view.tenants[name].quota, view.usage.get(name, 0)
        if used + chips > quota.limit:
            text = f"needs {chips} chips; {name} holds {used} of its {_show(quota)}"
            short = used + chips - quota.limit
            remedy = f"starts when {short} chips of {name} are free, or with more quota"
            return Reason(code="quota", text=text, remedy=remedy)
    return None


def is_entitled(view: View, tenant: TenantId, chips: int) -> bool:
    """Whether `chips` more stay inside what the tenant, and all it is part of, are guaranteed."""
    path = view.path(tenant)
    return all(view.usage.get(name, 0) + chips <= view.tenants[name].quota.chips for name in path)


def branch(view: View, tenant: TenantId, claimant: TenantId) -> TenantId:
    """The widest that the tenant is part of and the claimant is not; empty: the claimant is part of it."""
    shared = set(view.path(claimant))
    return next((name for name in reversed(view.path(tenant)) if name not in shared), TenantId(""))


def borrowed(view: View, tenant: TenantId, claimant: TenantId) -> int:
    """Chips that its branch holds beyond its quota: from the claimant, or from whom both are part of.

    What the parts of a branch borrow from each other is no matter of the claimant's.
    """
    name = branch(view, tenant, claimant)
    return max(0, view.usage.get(name, 0) - view.tenants[name].quota.chips) if name else 0


def room_beside(view: View, tenant: TenantId, first: TenantId, chips: int) -> int:
    """Chips the tenant may take so that `first` can still take so many, of what both are part of."""
    shared = set(view.path(tenant))
    left = [view.tenants[name].quota.limit - view.usage[name] for name in view.path(first) if name in shared]
    return min(left, default=1 << 60) - chips


def is_promised(view: View, claimant: Ask, ask: Ask, chips: int) -> bool:
    """Whether the ask would take the quota that lower classes are giving back for the claimant.

    Else a victim that has left comes back before the others have, again and again.
    """
    needs = claimant.least * claimant.chips_per_node
    if ask.rank >= claimant.rank or short_of(view, claimant.tenant, needs) is None:
        return False
    return room_beside(view, ask.tenant, claimant.tenant, needs) < chips


def _show(quota: Quota) -> str:
    return f"{quota.chips} chips" + (f" and {quota.borrow} borrowed" if quota.borrow else "")
