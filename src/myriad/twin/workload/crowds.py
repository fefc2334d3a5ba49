"""Whose jobs they are: tenants with quotas, and how much each of them submits."""

from collections.abc import Sequence
from typing import NamedTuple

from myriad.fleet.site import Site
from myriad.kernel.errors import UserError, near
from myriad.kernel.ids import TenantId
from myriad.twin.workload.shapes import JobClass, Share
from myriad.workload.tenants import Quota, Tenant

#: Where a workload names none: one organisation of twenty users who may all borrow what is free. Its limit
#: is beyond the site, so that room is what a gang waits for: who waits for quota holds nobody up, and would
#: be passed.
ANYONE = (Share(name="lab", jobs=1.0, quota=1.0, borrow=1.0, users=20),)


class Crowd(NamedTuple):
    """Every tenant, and who submits."""

    tenants: tuple[Tenant, ...]
    #: Names of those who submit, and the weight of each for each class.
    users: tuple[TenantId, ...]
    weights: tuple[tuple[float, ...], ...]


def crowd(shares: Sequence[Share], classes: Sequence[JobClass], site: Site) -> Crowd:
    """The tenants of the shares on a site. Raises UserError naming the share that cannot be."""
    shares = shares or ANYONE
    _check(shares, classes)
    tenants, users, activity = [], [], []
    for share in shares:
        own = _tenant(share, share.name, share.parent, site.chip_count)
        tenants.append(own)
        if not share.users:
            users.append(own.name)
            activity.append([_weight(share, kind.name) for kind in classes])
            continue
        each = own.quota.chips // share.users
        ranks = [(rank + 1) ** -share.skew for rank in range(share.users)]
        for rank, zipf in enumerate(ranks):
            quota = Quota(chips=each, borrow=own.quota.limit - each)
            name = TenantId(f"{share.name}-u{rank + 1}")
            tenants.append(Tenant(name=name, parent=own.name, quota=quota))
            users.append(name)
            activity.append([_weight(share, kind.name) * zipf / sum(ranks) for kind in classes])
    weights = tuple(tuple(row[at] for row in activity) for at in range(len(classes)))
    for kind, row in zip(classes, weights, strict=True):
        if kind.share and not sum(row) > 0:
            remedy = "Give a tenant `jobs`, and this class a factor above 0"
            raise UserError(
                "is a class that no tenant submits", field="classes", value=kind.name, remedy=remedy
            )
    return Crowd(tuple(tenants), tuple(users), weights)


def _weight(share: Share, kind: str) -> float:
    return share.jobs * share.classes.get(kind, 1.0)


def _tenant(share: Share, name: str, parent: str, chips: int) -> Tenant:
    own = int(share.quota * chips + 1e-6)
    quota = Quota(chips=own, borrow=int(share.borrow * chips + 1e-6))
    return Tenant(name=TenantId(name), parent=TenantId(parent), quota=quota, weight=share.weight)


def _check(shares: Sequence[Share], classes: Sequence[JobClass]) -> None:
    seen: dict[str, float] = {}
    given: dict[str, float] = {}
    kinds = [kind.name for kind in classes]
    for share in shares:
        if share.name in seen:
            raise UserError("is the name of two tenants", field="tenants", value=share.name)
        if share.parent and share.parent not in seen:
            remedy = near(share.parent, seen) + " Parents stand before their parts"
            raise UserError("is not a tenant above", field="parent", value=share.parent, remedy=remedy)
        for kind in share.classes:
            if kind not in kinds:
                raise UserError(
                    "is not a class", field=f"{share.name}.classes", value=kind, remedy=near(kind, kinds)
                )
        seen[share.name] = share.quota
        given[share.parent] = given.get(share.parent, 0.0) + share.quota
    for name, total in given.items():
        if total > seen.get(name, 1.0) + 1e-9:
            raise UserError(
                f"{total:g} of the site is given to its parts",
                field=f"{name or 'tenants'}: quota",
                value=seen.get(name, 1.0),
                remedy="Give the parts less, and let them borrow",
            )
