"""Tenants and their keys."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from myriad.control import holdings, tree
from myriad.kernel.errors import UserError
from myriad.kernel.ids import KeyId, TenantId
from myriad.protocol.inputs import ApplyTenant, IssueKey, RevokeKey
from myriad.server import identity
from myriad.server.routing import Ask, Done, Route
from myriad.workload import files
from myriad.workload.tenants import Tenant


class Tenants(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenants file's content."""

    tenants: list[Tenant]


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """Whose tenants are as given now; keys are shown this once, for those that had none."""

    applied: list[TenantId]
    keys: dict[str, str]


class IssuedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new key, shown this once."""

    key_id: KeyId
    key: str


async def listed(ask: Ask) -> list[holdings.TenantView]:
    """Tenants, each followed by its parts; a tenant sees itself."""
    every = holdings.tenants(ask.plane.state, ask.plane.wheel.now())
    return [view for view in every if ask.caller.scope in (None, view.tenant)]


async def apply(ask: Ask) -> Applied:
    """Create or change tenants. Nothing is applied unless all can be."""
    trees = (await ask.tree()).get("tenants")
    if not isinstance(trees, list) or not trees:
        raise UserError("is required", field="tenants", remedy='Send {"tenants": [{"name": …, "quota": …}]}')
    specs = [_tenant(document, number) for number, document in enumerate(trees)]
    keys: dict[str, str] = {}
    for spec in _in_order(ask.plane.state.tenants, specs):
        await ask.plane.ask(ApplyTenant(at=0, tenant=spec), ask.caller)
        if not ask.plane.keys.of_tenant(spec.name):
            keys[spec.name] = (await _issue(ask, spec.name)).key
    return Applied(applied=[spec.name for spec in specs], keys=keys)


def _in_order(known: Mapping[TenantId, Tenant], specs: Sequence[Tenant]) -> list[Tenant]:
    """An order in which each is accepted: parents first, and who gives chips back before who takes them."""
    tenants, left = dict(known), dict(enumerate(specs))
    found: list[Tenant] = []
    while left:
        number = next((one for one, spec in left.items() if tree.flaw(tenants, spec) is None), None)
        if number is None:
            raise _refused(tenants, left)
        found.append(left.pop(number))
        tenants[found[-1].name] = found[-1]
    return found


def _refused(tenants: Mapping[TenantId, Tenant], left: Mapping[int, Tenant]) -> UserError:
    """The error of the first that is to blame: not one that only waits for another of the file."""
    names = [spec.name for spec in left.values()]
    flaws = [(number, flaw) for number, spec in left.items() if (flaw := tree.flaw(tenants, spec))]
    number, flaw = next((one for one in flaws if one[1].value not in names), flaws[0])
    field = f"tenants[{number}]: {flaw.field}"
    return UserError(flaw.reason.text, field=field, value=flaw.value, remedy=flaw.reason.remedy)


def _tenant(document: Any, number: int) -> Tenant:
    where = f"tenants[{number}]"
    if not isinstance(document, dict):
        raise UserError("must be a mapping of fields", field=where, value=type(document).__name__)
    spec = files.from_tree({"kind": "tenant", **document}, where)
    if not isinstance(spec, Tenant):
        raise UserError(
            "is not a tenant", field=f"{where}: kind", value=document["kind"], remedy="Use kind: tenant"
        )
    return spec


async def issue(ask: Ask) -> IssuedKey:
    """A further key of a tenant."""
    return await _issue(ask, TenantId(ask.part("tenant")))


async def _issue(ask: Ask, tenant: TenantId) -> IssuedKey:
    minted = identity.mint("tenant")
    given = IssueKey(at=0, key=minted.id, key_hash=minted.hash, role="tenant", tenant=tenant)
    await ask.plane.ask(given, ask.caller)
    return IssuedKey(key_id=minted.id, key=minted.text)


async def revoke(ask: Ask) -> Done:
    """The key is no longer good. The last operator key stays: nobody could ever mint another."""
    key = KeyId(ask.part("key"))
    operators = [one.key for one in ask.plane.state.keys.values() if one.role == "operator"]
    if operators == [key]:
        raise UserError("is the last operator key", field="key", value=key, remedy="Keep it", status=409)
    await ask.plane.ask(RevokeKey(at=0, key=key), ask.caller)
    return Done()


async def viewer(ask: Ask) -> IssuedKey:
    """A key that reads everything and changes nothing."""
    minted = identity.mint("viewer")
    given = IssueKey(at=0, key=minted.id, key_hash=minted.hash, role="viewer")
    await ask.plane.ask(given, ask.caller)
    return IssuedKey(key_id=minted.id, key=minted.text)


ROUTES = (
    Route("GET", "/api/v1/tenants", listed, "all", "Tenants", list[holdings.TenantView]),
    Route("POST", "/api/v1/tenants", apply, "operator", "Create or change tenants", Applied, Tenants),
    Route(
        "POST", "/api/v1/tenants/{tenant}/keys", issue, "operator", "Issue a key to a tenant", IssuedKey,
        status=201,
    ),
    Route(
        "POST", "/api/v1/viewers/keys", viewer, "operator", "Issue a key that only reads", IssuedKey,
        status=201,
    ),
    Route("DELETE", "/api/v1/keys/{key}", revoke, "operator", "Revoke a key", Done),
)  # fmt: skip
