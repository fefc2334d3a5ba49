"""The books as people read them: plain values for API, CLI, console and reports. All read-only."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from myriad.catalog import chips as catalog
from myriad.catalog.figures import Status
from myriad.kernel.ids import JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import HOUR, Instant, Span
from myriad.ledger import buckets, figures
from myriad.ledger.accounts import Account, summed
from myriad.ledger.books import Books
from myriad.ledger.buckets import BUCKET_OF, HELD, Slot, Times, by_bucket
from myriad.ledger.records import Owner, Tenant
from myriad.ledger.tokens import Tokens
from myriad.protocol.values import Outcome

#: Names of what chips do now, where that is less than a bucket.
_NOW = {
    buckets.SERVING_HEADROOM: "serving",
    **dict.fromkeys((Slot(slot) for slot in range(buckets.IDLE_NO_DEMAND, buckets.SPARE)), "idle"),
}


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
    #: (productive + serving_busy) / capacity; None: no capacity yet.
    goodput: float | None
    #: Capacity that was not down, drained, used by others or in burn-in, of all; None: no capacity yet.
    availability: float | None = None
    #: Over all jobs: chip-time of steps that were kept / (chips x time since placement).
    ettr: float | None = None
    #: Over all jobs, as of one.
    mfu: float | None = None
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
    #: Parts of `lost`, `detect` and `restart` that the site caused: not charged.
    lost_by_site_chip_ns: Span
    detect_by_site_chip_ns: Span = 0
    restart_by_site_chip_ns: Span
    #: Share of the chip-time it held that was useful: productive, or serving and busy.
    goodput: float | None = None
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
    #: Chip-time of steps that were kept / (chips x wall); None: never placed.
    ettr: float | None
    #: Model FLOPs / (chips x peak x time of all steps); None: unknown. Estimated where the peak is.
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
    #: Useful, of what it held; and over all its jobs, as of one.
    goodput: float | None = None
    ettr: float | None = None
    mfu: float | None = None
    #: Jobs that ended so long ago that they are no longer listed, and what they held.
    earlier_jobs: dict[Outcome, int] = {}
    earlier_chip_ns: Span = 0


class NodeView(View, frozen=True, kw_only=True):
    """Where the chip-seconds of one node went."""

    node: NodeId
    buckets: dict[str, Span]
    losses: int


def site(books: Books) -> SiteView:
    """The whole site, as of the last fact or `advance`. Costs a step for each job that lives."""
    terms, capacity = books.by_terms(), books.capacity_ns
    totals = books.totals()
    ended = ((one.kept_ns, one.wall_ns) for one in books.classes.all.values())
    live = (figures.effective(books, job) for job in books.open_jobs.values() if job.placements)
    return SiteView(
        at=books.now,
        capacity_chip_ns=capacity,
        buckets=by_bucket(totals),
        chips_now=_chips_now(books),
        goodput=figures.goodput(totals, capacity),
        availability=figures.availability(totals, capacity),
        ettr=figures.ettr((*ended, *live)),
        mfu=figures.mfu(books, books.flops, terms),
        node_losses=books.losses,
        mttf_s=figures.mean_s(books.node_ns, books.losses),
        mttr_s=figures.mean_s(books.repair_ns, books.repairs),
        recovery_s=figures.mean_s(books.recovery_ns, books.recoveries),
        energy=_energy(books, terms),
    )


def jobs(books: Books, tenant: TenantId | None = None) -> list[JobView]:
    """Every job, or one tenant's, oldest first."""
    return [job(books, name) for name, one in books.jobs.items() if tenant in (None, one.tenant)]


def job(books: Books, name: JobId) -> JobView:
    """One job."""
    record = books.jobs[name]
    account = books.account(record)
    return JobView(
        **_owner(books, record, account, record.spec.name),
        job=name,
        outcome=record.outcome,
        wall_ns=record.wall_ns(books.now),
        ettr=figures.ettr((figures.effective(books, record),)),
        mfu=figures.mfu(books, record.flops, account.by_terms()),
        steps=record.step,
        tokens=record.tokens,
        checkpoints=record.checkpoints,
        step_ns_median=record.step_median_ns,
        recovery_s=figures.mean_s(record.recovery_ns, record.recoveries),
    )


def services(books: Books, tenant: TenantId | None = None) -> list[ServiceView]:
    """Every service that ever was, or one tenant's."""
    return [service(books, name) for name, one in books.services.items() if tenant in (None, one.tenant)]


def service(books: Books, name: ServiceId) -> ServiceView:
    """One service."""
    record = books.services[name]
    tokens = _sum(count for line, count in books.meter.lines.items() if line.service == name)
    owner = _owner(books, record, books.account(record), record.spec.name)
    return ServiceView(**owner, service=name, tokens=tokens)


def tenants(books: Books) -> list[TenantView]:
    """Every tenant that ever used the site."""
    return [tenant(books, name) for name in books.tenants]


def tenant(books: Books, name: TenantId) -> TenantView:
    """One tenant; all zero when it never used the site."""
    record = books.tenants.get(name, Tenant(name))
    spent = books.account(record).by_terms()
    held: dict[str, Span] = {}
    for number, times in spent.items():
        chip = books.terms[number].chip
        held[chip] = held.get(chip, 0) + sum(times.values())
    tokens: dict[ServiceId, Tokens] = {}
    for line, count in books.meter.lines.items():
        if line.tenant == name:
            tokens[line.service] = _sum((tokens.get(line.service, Tokens()), count))
    totals = summed(spent.values())
    jobs = (figures.effective(books, books.jobs[job]) for job in record.jobs)
    return TenantView(
        tenant=name,
        buckets=by_bucket(totals),
        held_chip_ns=held,
        tokens=tokens,
        energy=_energy(books, spent),
        goodput=figures.goodput(totals, sum(totals.values())),
        ettr=figures.ettr(((record.past.kept_ns, record.past.wall_ns), *jobs)),
        mfu=figures.mfu(books, record.flops, spent),
        earlier_jobs=dict(record.past.outcomes),
        earlier_chip_ns=sum(record.past.account.totals().values()),
    )


def nodes(books: Books) -> list[NodeView]:
    """Every node, in site order."""
    return [
        NodeView(node=name, buckets=by_bucket(books.node_totals(record)), losses=record.losses)
        for name, record in books.nodes.items()
    ]


def _owner(books: Books, record: Owner, account: Account, name: str) -> dict[str, Any]:
    totals = account.totals()
    return {
        "tenant": record.tenant,
        "name": name,
        "buckets": by_bucket(totals),
        "lost_by_site_chip_ns": totals.get(buckets.LOST_SITE, 0),
        "detect_by_site_chip_ns": totals.get(buckets.DETECT_SITE, 0),
        "restart_by_site_chip_ns": totals.get(buckets.RESTART_SITE, 0),
        "goodput": figures.goodput(totals, sum(totals.values())),
        "held_chip_ns": sum(totals.values()),
        "placements": record.placements,
        "ends": dict(record.ends),
        "energy": _energy(books, account.by_terms()),
    }


def _chips_now(books: Books) -> dict[str, int]:
    found: dict[str, int] = {}
    for slot, count in enumerate(books.chips_now()):
        name = _NOW.get(Slot(slot), BUCKET_OF[slot])
        if count:
            found[name] = found.get(name, 0) + count
    return found


def energy_kwh(books: Books, by_terms: Mapping[int, Times]) -> float:
    """Chips held x the catalogue's power of one x time."""
    kwh = 0.0
    for number, times in by_terms.items():
        if chip := books.terms[number].chip:
            kwh += buckets.total(times, HELD) / HOUR * catalog.named(chip).power_w.value / 1000
    return kwh


def _energy(books: Books, by_terms: Mapping[int, Times]) -> Energy:
    chips = [books.terms[number].chip for number in by_terms]
    status: Status = catalog.named(chips[-1]).power_w.status if chips and chips[-1] else "published"
    return Energy(kwh=energy_kwh(books, by_terms), power_status=status)


def _sum(parts: Iterable[Tokens]) -> Tokens:
    found = Tokens()
    for part in parts:
        found = Tokens(*(have + more for have, more in zip(found, part, strict=True)))
    return found
