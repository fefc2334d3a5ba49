"""The tenant tree: who may be part of whom. Pure, so that the edge can look before it asks."""

from collections.abc import Mapping
from typing import NamedTuple

from myriad.kernel.errors import near
from myriad.kernel.ids import TenantId
from myriad.protocol.values import Reason
from myriad.workload.tenants import Tenant


class Flaw(NamedTuple):
    """What is wrong with a tenant, and where in its file."""

    field: str
    value: object
    reason: Reason


def flaw(tenants: Mapping[TenantId, Tenant], tenant: Tenant) -> Flaw | None:
    """Why the tenant cannot be as given among the others; None if it can."""
    parent = tenant.parent
    if parent:
        if parent not in tenants:
            text = f"there is no tenant {parent} for {tenant.name} to be part of"
            remedy = near(parent, tenants) + " Apply the parent first, or in the same file"
            return Flaw("parent", parent, Reason(code="unknown", text=text, remedy=remedy))
        if tenant.name in path(tenants, parent):
            text = f"{parent} is itself part of {tenant.name}"
            return Flaw("parent", parent, Reason(code="not_allowed", text=text, remedy="break the circle"))
        if reason := _too_much(tenants, tenant):
            return Flaw("quota.chips", tenant.quota.chips, reason)
    given = sum(part.quota.chips for part in tenants.values() if part.parent == tenant.name)
    if given > tenant.quota.chips:
        text = f"{tenant.quota.chips} chips for {tenant.name}, but {given} of them are given to its parts"
        reason = Reason(code="quota", text=text, remedy=f"keep {given} or more, or take back from its parts")
        return Flaw("quota.chips", tenant.quota.chips, reason)
    return None


def _too_much(tenants: Mapping[TenantId, Tenant], tenant: Tenant) -> Reason | None:
    """Why the parent has not so many chips to give."""
    among = [one for one in tenants.values() if one.parent == tenant.parent and one.name != tenant.name]
    given, has = sum(sibling.quota.chips for sibling in among), tenants[tenant.parent].quota.chips
    if given + tenant.quota.chips <= has:
        return None
    text = f"{tenant.quota.chips} chips for {tenant.name}, but {tenant.parent} has {has}, {given} given away"
    return Reason(code="quota", text=text, remedy=f"give at most {max(0, has - given)}, and let it borrow")


def path(tenants: Mapping[TenantId, Tenant], tenant: TenantId) -> tuple[TenantId, ...]:
    """The tenant and what it is part of, outermost last."""
    found = [tenant]
    while (above := tenants[found[-1]].parent) and above in tenants and above not in found:
        found.append(above)
    return tuple(found)


def in_order(tenants: Mapping[TenantId, Tenant]) -> list[TenantId]:
    """Every tenant, each followed by its parts."""
    parts: dict[TenantId, list[TenantId]] = {}
    for name, tenant in tenants.items():
        parts.setdefault(tenant.parent, []).append(name)
    found: list[TenantId] = []
    left = list(reversed(parts.get(TenantId(""), [])))
    while left:
        found.append(left.pop())
        left += reversed(parts.get(found[-1], []))
    return found
