"""The books as people read them: plain values for API, CLI, console and reports. All read-only."""

from collections.abc import Iterable
from typing import Any

import msgspec

from myriad.catalog import chips as catalog
from myriad.catalog.figures import Status
from myriad.kernel.ids import JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import HOUR, SECOND, Instant, Span
from myriad.ledger.books import Books, node_totals
from myriad.ledger.buckets import BUCKET_OF, HELD, Account, Slot, by_bucket
from myriad.ledger.records import Job, Owner
from myriad.ledger.tokens import Tokens
from myriad.protocol.values import Outcome

_LOST = (Slot.LOST_OWN, Slot.LOST_SITE)


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what the ledger tells."""


class Energy(View, frozen=True, kw_only=True):
    """Chips held by someone x catalogue power x time: estimated, whatever the power's own status."""

    kwh: float
    power_status: Status
    status: Status = "estimated"


class SiteView(View, frozen=True, kw_only=True):
    """Where every chip-second of the site went. The buckets sum to `capacity_chip_ns`, exactly."""

    at: Instant
    capacity_chip_ns: Span
    buckets: dict[str, Span]
    #: Chips in each bucket at this instant.
    chips_now: dict[str, int]
    #: (productive + serving) / capacity; None: no capacity yet.
    goodput: float | None
    node_losses: int
    #: Time in service of all nodes / losses; None: nothing was lost yet.
    mttf_s: float | None
    #: From the loss of a node until it is ready again.
    mttr_s: float | None
    #: From the end of useful work until the next attempt's first useful moment, over all jobs.
    recovery_s: float | None
    energy: Energy


class OwnerView(View, frozen=True, kw_only=True):
    """A job or service: its time, and whose cause the unproductive part was."""

    tenant: TenantId
    name: str
    buckets: dict[str, Span]
    #: Parts of `lost` and `restart` that the site caused: not charged.
    lost_by_site_chip_ns: Span
    restart_by_site_chip_ns: Span
    held_chip_ns: Span
    placements: int
    #: How its gangs ended: cause -> times.
    ends: dict[str, int]
    energy: Energy


class JobView(OwnerView, frozen=True, kw_only=True):
    """A training job."""

    job: JobId
    outcome: Outcome | None
    wall_ns: Span  # since the first placement
    #: productive / (chips x wall); None: never placed.
    ettr: float | None
    #: Model FLOPs / (chips x peak x useful time); None: unknown. Estimated where the peak is.
    mfu: float | None
    steps: int
    tokens: int
    checkpoints: int
    step_ns_median: Span
    recovery_s: float | None


class ServiceView(OwnerView, frozen=True, kw_only=True):
    """An inference service."""

    service: ServiceId
    tokens: Tokens


class TenantView(View, frozen=True, kw_only=True):
    """What a tenant used."""

    tenant: TenantId
    buckets: dict[str, Span]
    #: Chip type -> chip-ns held.
    held_chip_ns: dict[str, Span]
    #: Service -> tokens this tenant's callers used there.
    tokens: dict[ServiceId, Tokens]
    energy: Energy


class NodeView(View, frozen=True, kw_only=True):
    """Where the chip-seconds of one node went."""

    node: NodeId
    buckets: dict[str, Span]
    losses: int


def site(books: Books) -> SiteView:
    """The whole site, as of the last fact or `advance`."""
    totals = by_bucket(books.account.totals())
    useful = totals["productive"] + totals["serving"]
    recoveries = [span for job in books.jobs.values() for span in job.recoveries]
    return SiteView(
        at=books.now,
        capacity_chip_ns=books.capacity_ns,
        buckets=totals,
        chips_now=_chips_now(books),
        goodput=useful / books.capacity_ns if books.capacity_ns else None,
        node_losses=books.losses,
        mttf_s=books.node_ns / books.losses / SECOND if books.losses else None,
        mttr_s=_mean_s(books.repairs),
        recovery_s=_mean_s(recoveries),
        energy=_energy(books, books.account),
    )


def jobs(books: Books, tenant: TenantId | None = None) -> list[JobView]:
    """Every job, or one tenant's, oldest first."""
    return [job(books, name) for name, one in books.jobs.items() if tenant in (None, one.tenant)]


def job(books: Books, name: JobId) -> JobView:
    """One job."""
    record = books.jobs[name]
    totals = record.account.totals()
    wall = _wall_ns(books, record)
    productive = totals.get(Slot.PRODUCTIVE, 0)
    return JobView(
        **_owner(books, record, record.spec.name),
        job=name,
        outcome=record.outcome,
        wall_ns=wall,
        ettr=productive / (wall * record.spec.chips) if wall else None,
        mfu=_mfu(books, record, totals),
        steps=record.step,
        tokens=record.tokens,
        checkpoints=record.checkpoints,
        step_ns_median=record.step_ns.median(),
        recovery_s=_mean_s(record.recoveries),
    )


def services(books: Books, tenant: TenantId | None = None) -> list[ServiceView]:
    """Every service that ever was, or one tenant's."""
    return [service(books, name) for name, one in books.services.items() if tenant in (None, one.tenant)]


def service(books: Books, name: ServiceId) -> ServiceView:
    """One service."""
    record = books.services[name]
    tokens = _sum(count for line, count in books.meter.lines.items() if line.service == name)
    return ServiceView(**_owner(books, record, record.spec.name), service=name, tokens=tokens)


def tenants(books: Books) -> list[TenantView]:
    """Every tenant that ever used the site."""
    return [tenant(books, name) for name in books.tenants]


def tenant(books: Books, name: TenantId) -> TenantView:
    """One tenant; all zero when it never used the site."""
    account = books.tenants[name].account if name in books.tenants else Account(books.clock)
    held: dict[str, Span] = {}
    for number, tally in account.tallies.items():
        chip = books.terms[number].chip
        held[chip] = held.get(chip, 0) + sum(tally.totals().values())
    tokens: dict[ServiceId, Tokens] = {}
    for line, count in books.meter.lines.items():
        if line.tenant == name:
            tokens[line.service] = _sum((tokens.get(line.service, Tokens()), count))
    return TenantView(
        tenant=name,
        buckets=by_bucket(account.totals()),
        held_chip_ns=held,
        tokens=tokens,
        energy=_energy(books, account),
    )


def nodes(books: Books) -> list[NodeView]:
    """Every node, in site order."""
    return [
        NodeView(node=name, buckets=by_bucket(node_totals(record)), losses=record.losses)
        for name, record in books.nodes.items()
    ]


def _owner(books: Books, record: Owner, name: str) -> dict[str, Any]:
    totals = record.account.totals()
    return {
        "tenant": record.tenant,
        "name": name,
        "buckets": by_bucket(totals),
        "lost_by_site_chip_ns": totals.get(Slot.LOST_SITE, 0),
        "restart_by_site_chip_ns": totals.get(Slot.RESTART_SITE, 0),
        "held_chip_ns": sum(totals.values()),
        "placements": record.placements,
        "ends": dict(record.interruptions),
        "energy": _energy(books, record.account),
    }


def _chips_now(books: Books) -> dict[str, int]:
    found: dict[str, int] = {}
    for slot, count in books.account.chips().items():
        name = "idle" if slot is Slot.IDLE else BUCKET_OF[slot]
        found[name] = found.get(name, 0) + count
    return found


def _wall_ns(books: Books, job: Job) -> Span:
    if job.first_placed_at is None:
        return 0
    return (books.now if job.ended_at is None else job.ended_at) - job.first_placed_at


def _mfu(books: Books, job: Job, totals: dict[Slot, int]) -> float | None:
    useful = sum(totals.get(slot, 0) for slot in (Slot.PRODUCTIVE, Slot.STRAGGLING, *_LOST))
    peak = catalog.named(books.site.chip).training_flops.value if books.site else 0.0
    return job.flops / (useful / SECOND * peak) if job.flops and useful and peak else None


def _energy(books: Books, account: Account) -> Energy:
    kwh = 0.0
    status: Status = "published"
    for number, tally in account.tallies.items():
        if not books.terms[number].chip:
            continue
        power = catalog.named(books.terms[number].chip).power_w
        totals = tally.totals()
        held = sum(totals.get(slot, 0) for slot in HELD)
        kwh += held / HOUR * power.value / 1000
        status = power.status
    return Energy(kwh=kwh, power_status=status)


def _mean_s(spans: list[Span]) -> float | None:
    return sum(spans) / len(spans) / SECOND if spans else None


def _sum(parts: Iterable[Tokens]) -> Tokens:
    found = Tokens()
    for part in parts:
        found = Tokens(*(have + more for have, more in zip(found, part, strict=True)))
    return found
