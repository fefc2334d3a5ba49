"""Quota admission: a tenant holds at most its own chips plus what it may borrow; refusals give numbers."""

from myriad.kernel.ids import TenantId
from myriad.protocol.values import Reason
from myriad.workload.tenants import Quota


def never_fits(tenant: TenantId, quota: Quota, chips: int) -> Reason | None:
    """Why the tenant could never hold so many chips, even with nothing else running; None if it could."""
    if chips <= quota.limit:
        return None
    text = f"needs {chips} chips; the quota of {tenant} is {_show(quota)}"
    return Reason(
        code="quota", text=text, remedy=f"ask for at most {quota.limit} chips, or have the quota raised"
    )


def holds_back(tenant: TenantId, quota: Quota, used: int, chips: int) -> Reason | None:
    """Why the tenant may not hold `chips` more right now; None if it may."""
    if used + chips <= quota.limit:
        return None
    text = f"needs {chips} chips; {tenant} holds {used} of its {_show(quota)}"
    short = used + chips - quota.limit
    return Reason(
        code="quota", text=text, remedy=f"starts when {short} chips of {tenant} are free, or with more quota"
    )


def _show(quota: Quota) -> str:
    return f"{quota.chips} chips" + (f" and {quota.borrow} borrowed" if quota.borrow else "")
