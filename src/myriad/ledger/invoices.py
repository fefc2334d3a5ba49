"""What a tenant owes: exact integers in, one rounding a line, cents out.

A tenant pays for the chip-time its jobs and services held, except what the site wasted (work lost, and the
time to detect and restart, after faults or moves of nodes): that is shown at price 0. Its callers pay for
tokens only on other tenants' shared services. Prices are those that held when the time was spent.
"""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import msgspec

from myriad.kernel.ids import TenantId
from myriad.kernel.units import HOUR, Instant
from myriad.ledger.accounts import Account
from myriad.ledger.books import Books
from myriad.ledger.buckets import BY_SITE, total
from myriad.ledger.records import Owner, Service, Terms
from myriad.ledger.tokens import Tokens
from myriad.workload.prices import PriceBook

Kind = Literal["training", "serving", "prompt_tokens", "completion_tokens"]
#: Of answers that were cut (the client left, the replica died) the gateway counted what it had passed on.
ESTIMATED = "estimated in part: answers that were cut"
NOT_CHARGED = "not charged: caused by the site"
#: Of jobs that ended so long ago that they are no longer known one by one: one line for each chip and price.
EARLIER = "earlier jobs"
_MILLION = 1_000_000


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """Something used under one set of prices: an exact quantity, chip-ns or tokens."""

    kind: Kind
    subject: str  # job or service
    name: str
    chip: str
    currency: str
    unit_price: Decimal
    quantity: int
    by_site: bool = False
    #: Tokens of both kinds that no model counted.
    estimated: int = 0


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """All that a tenant ever used, as of an instant. The difference of two is what a period is billed for."""

    tenant: TenantId
    at: Instant
    since: Instant
    items: tuple[Item, ...]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an invoice. `amount` is rounded half to even, once; negative lines are credits."""

    kind: Kind
    subject: str
    name: str
    chip: str
    quantity: Decimal  # for people, to 6 places
    unit: Literal["chip-hour", "million tokens"]
    unit_price: Decimal
    amount: Decimal
    note: str = ""
    #: The exact quantity: chip-ns or tokens.
    exact: int


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant owes for a period. The total is the sum of the lines as printed."""

    tenant: TenantId
    start: Instant
    end: Instant
    currency: str
    lines: tuple[Line, ...]
    total: Decimal


def usage(books: Books, tenant: TenantId) -> Usage:
    """All that the tenant used so far."""
    merged: dict[tuple[object, ...], Item] = {}
    for item in (*_chip_items(books, tenant), *_token_items(books, tenant)):
        have = merged.get(_key(item))
        quantity = item.quantity + (have.quantity if have else 0)
        estimated = item.estimated + (have.estimated if have else 0)
        merged[_key(item)] = msgspec.structs.replace(item, quantity=quantity, estimated=estimated)
    return Usage(tenant=tenant, at=books.now, since=books.terms[0].since, items=tuple(merged.values()))


def invoice(now: Usage, earlier: Usage | None = None) -> Invoice:
    """The invoice for what was used after `earlier` (None: from the beginning)."""
    before = _before(now, earlier) if earlier else {}
    guessed = {_key(item): item.estimated for item in earlier.items} if earlier else {}
    lines: list[Line] = []
    for item in now.items:
        quantity = item.quantity - before.get(_key(item), 0)
        if quantity:
            lines.append(_line(item, quantity, item.estimated > guessed.get(_key(item), 0)))
    currencies = {item.currency for item in now.items}
    assert len(currencies) <= 1, f"one invoice, one currency: {currencies}"
    return Invoice(
        tenant=now.tenant,
        start=earlier.at if earlier else now.since,
        end=now.at,
        currency=next(iter(currencies), PriceBook().currency),
        lines=tuple(lines),
        total=sum((line.amount for line in lines), Decimal("0.00")),
    )


def _before(now: Usage, earlier: Usage) -> dict[tuple[object, ...], int]:
    """What was billed before. What was forgotten since is in the line of earlier jobs by now."""
    known = {_key(item) for item in now.items}
    before: dict[tuple[object, ...], int] = {}
    for item in earlier.items:
        key = _key(item)
        if key not in known:
            key = _key(msgspec.structs.replace(item, subject=EARLIER))
        before[key] = before.get(key, 0) + item.quantity
    return before


def cost(books: Books, owner: Owner) -> Decimal:
    """What one job or service has cost so far, rounded once."""
    exact = sum(
        (
            _price(item.unit_price, item.quantity, HOUR)
            for item in _items_of(books, books.account(owner), "training", "", "")
        ),
        Fraction(0),
    )
    return _cents(exact)


def _chip_items(books: Books, tenant: TenantId) -> Iterable[Item]:
    if tenant not in books.tenants:
        return
    record = books.tenants[tenant]
    yield from _items_of(books, record.past.account, "training", EARLIER, EARLIER)
    for job in record.jobs:
        account = books.account(books.jobs[job])
        yield from _items_of(books, account, "training", job, books.jobs[job].spec.name)
    for service in record.services:
        account = books.account(books.services[service])
        yield from _items_of(books, account, "serving", service, books.services[service].spec.name)


def _items_of(books: Books, account: Account, kind: Kind, subject: str, name: str) -> Iterable[Item]:
    for number, totals in account.by_terms().items():
        terms, by_site = books.terms[number], total(totals, BY_SITE)
        for quantity, wasted in ((sum(totals.values()) - by_site, False), (by_site, True)):
            yield Item(
                kind=kind,
                subject=subject,
                name=name,
                chip=terms.chip,
                currency=terms.prices.currency,
                unit_price=Decimal(0) if wasted else _chip_price(terms),
                quantity=quantity,
                by_site=wasted,
            )


def _chip_price(terms: Terms) -> Decimal:
    return terms.prices.chip_hour.get(terms.chip, Decimal(0))


def _token_items(books: Books, tenant: TenantId) -> Iterable[Item]:
    for line, tokens in books.meter.lines.items():
        service = books.services.get(line.service)
        if line.tenant == tenant and service is not None and service.tenant != tenant:
            estimated = books.meter.estimated.get(line, 0)
            yield from _token_pair(books.terms[line.terms], service, tokens, estimated)


def _token_pair(terms: Terms, service: Service, tokens: Tokens, estimated: int) -> Iterable[Item]:
    prices = terms.prices.tokens
    for kind, price, quantity in (
        ("prompt_tokens", prices.prompt, tokens.prompt),
        ("completion_tokens", prices.completion, tokens.completion),
    ):
        yield Item(
            kind=kind,  # type: ignore[arg-type]
            subject=service.service,
            name=service.spec.name,
            chip=terms.chip,
            currency=terms.prices.currency,
            unit_price=price,
            quantity=quantity,
            estimated=estimated,
        )


def _key(item: Item) -> tuple[object, ...]:
    return item.kind, item.subject, item.chip, item.unit_price, item.by_site


def _line(item: Item, quantity: int, estimated: bool = False) -> Line:
    tokens = item.kind in ("prompt_tokens", "completion_tokens")
    scale = _MILLION if tokens else HOUR
    return Line(
        kind=item.kind,
        subject=item.subject,
        name=item.name,
        chip=item.chip,
        quantity=Decimal(round(Fraction(quantity, scale) * 10**6)).scaleb(-6),
        unit="million tokens" if tokens else "chip-hour",
        unit_price=item.unit_price,
        amount=_cents(_price(item.unit_price, quantity, scale)),
        note=NOT_CHARGED if item.by_site else ESTIMATED if estimated else "",
        exact=quantity,
    )


def _price(unit_price: Decimal, quantity: int, scale: int) -> Fraction:
    return Fraction(unit_price) * quantity / scale


def _cents(exact: Fraction) -> Decimal:
    """To cents, half to even: exact, since nothing was rounded before."""
    return Decimal(round(exact * 100)).scaleb(-2)
