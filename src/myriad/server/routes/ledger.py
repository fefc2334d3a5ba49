"""The books: chip-time by bucket, invoices, predictions against outcomes, the site's report."""

from collections.abc import Iterator

import msgspec

from myriad.kernel.errors import UserError, near
from myriad.kernel.ids import TenantId
from myriad.ledger import costs, domains, invoices, periods, predictions, views
from myriad.ledger.books import Books
from myriad.protocol import wire
from myriad.protocol.facts import Fact
from myriad.server.plane import Plane
from myriad.server.routing import Ask, Route


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Chip-nanoseconds by bucket. `site` is for who may see the whole; the rest is what the caller owns."""

    site: views.SiteView | None
    tenants: list[views.TenantView]
    jobs: list[views.JobView]
    services: list[views.ServiceView]
    #: For who may see the whole: by pod and by rack, by size of job, and what the site costs.
    pods: list[domains.DomainView] = []
    racks: list[domains.DomainView] = []
    sizes: list[domains.SizeView] = []
    cost: costs.Cost | None = None


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """Every promise beside what happened, and how good they are as a whole."""

    scores: list[predictions.Score]
    calibration: predictions.Calibration


async def look(ask: Ask) -> Ledger:
    """The books as of now."""
    books = _books(ask)
    tenant = ask.caller.scope or TenantId(ask.word("tenant")) or None
    if tenant is not None:
        _check_known(ask, tenant)
    whole = ask.caller.scope is None
    return Ledger(
        site=views.site(books) if whole else None,
        pods=domains.domains(books) if whole else [],
        racks=domains.domains(books, "rack") if whole and ask.word("racks") else [],
        sizes=domains.sizes(books) if whole else [],
        cost=costs.cost(books) if whole else None,
        # every tenant of the site: one that only called others' services holds no chips and has books too
        tenants=[views.tenant(books, name) for name in ([tenant] if tenant else ask.plane.state.tenants)],
        jobs=views.jobs(books, tenant),
        services=views.services(books, tenant),
    )


async def invoice(ask: Ask) -> invoices.Invoice:
    """What a tenant owes since the books began, or for a period: the difference between its two instants."""
    tenant = TenantId(ask.part("tenant"))
    _check_known(ask, tenant)
    if not (ask.word("from") or ask.word("to")):
        return invoices.invoice(invoices.usage(_books(ask), tenant))
    plane, now, last = ask.plane, ask.plane.wheel.now(), ask.plane.wheel.seq
    start, end = ask.number("from", 0), min(ask.number("to", now), now)
    if start >= end:
        raise UserError(
            "must be before the end of the period, and before now",
            field="from",
            value=start,
            remedy="Give from and to in nanoseconds since 1970, from first",
        )
    return await plane.reading(lambda: periods.of_period(_facts(plane, last), tenant, start, end))


def _facts(plane: Plane, last: int) -> Iterator[Fact]:
    """Of the journal up to an entry."""
    for record in plane.journal.read():
        if record.seq > last:
            return
        yield from wire.decode(record.body).facts


async def scorecard(ask: Ask) -> Predictions:
    """Promises against outcomes."""
    found = predictions.scores(_books(ask), ask.caller.scope)
    return Predictions(scores=found, calibration=predictions.calibration(found, _books(ask).kept_promises))


def _books(ask: Ask) -> Books:
    ask.plane.ledger.advance(ask.plane.wheel.now())
    return ask.plane.ledger


def _check_known(ask: Ask, tenant: TenantId) -> None:
    visible = [name for name in ask.plane.state.tenants if ask.caller.scope in (None, name)]
    if tenant not in visible:
        raise UserError(
            "there is no such tenant", field="tenant", value=tenant, remedy=near(tenant, visible), status=404
        )


ROUTES = (
    Route(
        "GET", "/api/v1/ledger", look, "all", "Chip-time by what it was spent on", Ledger,
        query={"tenant": "only this tenant's", "racks": "true: every rack too"},
    ),
    Route(
        "GET", "/api/v1/invoices/{tenant}", invoice, "all", "A tenant's invoice", invoices.Invoice,
        query={"from": "ns since 1970: begin of the period", "to": "its end; now, if left out"},
    ),
    Route("GET", "/api/v1/predictions", scorecard, "all", "Promises against outcomes", Predictions),
)  # fmt: skip
