"""`myriad ledger`, `invoice`, `predictions`: where chip-time went, its cost, how good promises were."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import click
from rich.table import Table
from rich.text import Text

from myriad.cli import instants, show
from myriad.cli.context import Context, given
from myriad.kernel import units
from myriad.kernel.units import SECOND, Instant
from myriad.ledger import views
from myriad.ledger.costs import Cost
from myriad.ledger.domains import DomainView, SizeView
from myriad.ledger.invoices import Invoice, Line
from myriad.ledger.predictions import Score

#: Colours of the buckets: what is useful, what it costs to be safe, what is wasted, what is left over.
_COLOURS = {
    "productive": "green",
    "serving_busy": "green",
    "checkpoint": "cyan",
    "spare": "cyan",
    "burn_in": "cyan",
    "lost": "red",
    "detect": "red",
    "restart": "yellow",
    "straggling": "yellow",
    "exposed": "yellow",
    "throttled": "yellow",
    "serving_headroom": "cyan",
    "down": "red",
}


@click.command()
@click.option("--tenant", default="", help="Only what this tenant held.")
@click.option(
    "--by",
    type=click.Choice(["owner", "pod", "rack", "size"]),
    default="owner",
    show_default=True,
    help="What the site's figures are split by; size: of jobs.",
)
@show.as_json
@given
def ledger(context: Context, tenant: str, by: str, as_json: bool) -> None:
    """Show where every chip-second of the site went.

    Each is in exactly one bucket, and their sum is chips x time.

    \b
    Example:
      myriad ledger
      myriad ledger --tenant acme
      myriad ledger --by pod
    """
    with context.client() as client:
        found = client.ledger(tenant, racks=by == "rack")
    if as_json:
        show.dump(found)
        return
    if found.site:
        _site(found.site, found.cost)
    if by == "size":
        _sizes(found.sizes)
    elif by != "owner":
        _domains(found.pods if by == "pod" else found.racks)
    else:
        for one in found.tenants:
            _tenant(one)
        _owners([*found.jobs, *found.services])


def _tenant(one: views.TenantView) -> None:
    click.echo()
    held = sum(one.buckets.values())
    click.echo(f"tenant {one.tenant}: held {show.chip_time(held)}")
    if held:
        waterfall(one.buckets, held, empty=False)
    if earlier := sum(one.earlier_jobs.values()):
        ends = ", ".join(f"{count:,} {outcome}" for outcome, count in one.earlier_jobs.items())
        click.echo(f"{earlier:,} earlier jobs ({ends}) held {show.chip_time(one.earlier_chip_ns)}")


def _domains(domains: Sequence[DomainView]) -> None:
    click.echo()
    show.table(
        (
            *("NAME", ">NODES", ">CAPACITY", ">GOODPUT", ">AVAILABLE", ">ETTR", ">MFU"),
            *(">LOSSES", ">MTTF", ">MTTR"),
        ),
        (
            (
                one.name,
                one.nodes,
                show.chip_time(one.capacity_chip_ns),
                *(_share(share) for share in (one.goodput, one.availability, one.ettr, one.mfu)),
                one.node_losses,
                _seconds(one.mttf_s),
                _seconds(one.mttr_s),
            )
            for one in domains
        ),
        empty="Only an operator or a viewer sees the whole site.",
    )


def _sizes(sizes: Sequence[SizeView]) -> None:
    click.echo()
    show.table(
        (
            *("CHIPS UP TO", ">SUCCEEDED", ">FAILED", ">CANCELLED", ">RAN", ">INTERRUPTED", ">EVERY"),
            *(">ETTR", ">RECOVERY"),
        ),
        (
            (
                one.chips,
                *(one.jobs.get(outcome, 0) for outcome in ("succeeded", "failed", "cancelled")),
                _seconds(one.running_s),
                one.interruptions,
                _seconds(one.mtti_s),
                _share(one.ettr),
                _seconds(one.recovery_s),
            )
            for one in sizes
        ),
        empty="No job was placed yet.",
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else show.span(round(value * SECOND))


def _site(site: views.SiteView, cost: Cost | None) -> None:
    waterfall(site.buckets, site.capacity_chip_ns)
    click.echo()
    show.pairs(
        [
            (
                "goodput",
                "-"
                if site.goodput is None
                else f"{show.percent(site.goodput)} of capacity trained or served",
            ),
            ("availability", _share(site.availability)),
            ("ETTR, MFU of jobs", f"{_share(site.ettr)}, {_share(site.mfu)}"),
            ("node losses", f"{site.node_losses}{_times(site)}"),
            ("energy", f"{site.energy.kwh:.4f} kWh ({site.energy.status})"),
            *_cost(cost),
        ]
    )


def _cost(cost: Cost | None) -> Iterable[tuple[str, str]]:
    if cost is not None and cost.per_useful_chip_hour:
        yield (
            "cost",
            f"{show.money(cost.total, cost.currency)} for all of it,"
            f" {cost.per_useful_chip_hour:.4f} a useful chip-hour",
        )


def _times(site: views.SiteView) -> str:
    spans = (
        ("to failure", site.mttf_s),
        ("to repair", site.mttr_s),
        ("until training goes on", site.recovery_s),
    )
    told = [f"{show.span(round(s * SECOND))} {name}" for name, s in spans if s is not None]
    return f" (mean {', '.join(told)})" if told else ""


def waterfall(buckets: Mapping[str, int], capacity_chip_ns: int, *, empty: bool = True) -> None:
    """Print every bucket as a bar, `empty` ones too, and whether they sum to the capacity."""
    drawn = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        drawn.add_column(justify="left")
    drawn.columns[1].justify = "right"
    drawn.add_column(justify="right")
    kept = {name: amount for name, amount in buckets.items() if amount or empty}
    for row in waterfall_rows(kept, capacity_chip_ns):
        drawn.add_row(*row)
    show.render(drawn)


def waterfall_rows(buckets: Mapping[str, int], capacity_chip_ns: int) -> Iterable[tuple[Text, ...]]:
    """Name, amount, bar and share of each bucket, then the sum."""
    whole = capacity_chip_ns or 1
    for name, amount in buckets.items():
        style = _COLOURS.get(name, "dim")
        share = amount / whole
        yield (
            Text(name.replace("_", " "), style=style),
            Text(f"{amount / SECOND:,.1f} chip-s"),
            Text(show.bar(share), style=style),
            Text(show.percent(share)),
        )
    total = sum(buckets.values())
    verdict = "= chips x time" if total == capacity_chip_ns else f"but chips x time is {capacity_chip_ns} ns"
    yield (
        Text("sum", style="bold"),
        Text(f"{total / SECOND:,.1f} chip-s", style="bold"),
        Text(verdict, style="bold green" if total == capacity_chip_ns else "bold red"),
        Text(show.percent(total / whole), style="bold"),
    )


def _owners(owners: Sequence[views.JobView | views.ServiceView]) -> None:
    if not owners:
        return
    click.echo()
    show.table(
        ("JOB OR SERVICE", "TENANT", ">HELD", ">PRODUCTIVE", ">LOST", ">RESTART", ">TOKENS", ">ETTR", ">MFU"),
        (_owner(owner) for owner in owners),
        empty="",
    )


def _owner(owner: views.JobView | views.ServiceView) -> tuple[object, ...]:
    useful = owner.buckets["productive"] + owner.buckets["serving_busy"]
    if isinstance(owner, views.JobView):
        name: str = owner.job
        tokens, ettr, mfu = owner.tokens, _share(owner.ettr), _share(owner.mfu)
    else:
        served = owner.tokens
        name = owner.service
        tokens, ettr, mfu = served.prompt + served.completion, "-", "-"
    spans = (owner.held_chip_ns, useful, owner.buckets["lost"], owner.buckets["restart"])
    return name, owner.tenant, *(show.chip_time(span) for span in spans), show.number(tokens), ettr, mfu


def _share(value: float | None) -> str:
    return "-" if value is None else show.percent(value)


@click.command()
@click.argument("tenant")
@click.option("--from", "start", default="", help="Begin of the period: 2026-11-01 (default: of the books).")
@click.option("--to", "end", default="", help="Its end, which is not part of it (default: now).")
@click.option("--month", default="", help="A whole month instead: 2026-11, by this machine's time zone.")
@show.as_json
@given
def invoice(context: Context, tenant: str, start: str, end: str, month: str, as_json: bool) -> None:
    """Show what TENANT owes, line by line, for a period or since the books began.

    Time that the site itself wasted is shown and not charged. An invoice of a period that is over never
    changes: what turns out differently later is a credit in the period in which it does.

    \b
    Example:
      myriad invoice acme
      myriad invoice acme --month 2026-11
      myriad invoice acme --from 2026-11-01 --to 2026-11-15T12:00
    """
    period = instants.period(start, end, month)
    with context.client() as client:
        found = client.invoice(tenant, period)
    if as_json:
        show.dump(found)
        return
    click.echo(f"invoice of {found.tenant}, {show.clock(found.start)} to {show.clock(found.end)}")
    show.table(
        ("FOR", "KIND", "CHIP", ">QUANTITY", "UNIT", ">PRICE", ">AMOUNT", "NOTE"),
        (*(_line(line) for line in found.lines), _total(found)),
        empty="",
    )


def _line(line: Line) -> tuple[object, ...]:
    kind = line.kind.replace("_", " ")
    price = f"{line.unit_price:.2f}"
    return (
        line.name,
        kind,
        line.chip,
        f"{line.quantity:.6f}",
        line.unit,
        price,
        f"{line.amount:,.2f}",
        line.note,
    )


def _total(found: Invoice) -> tuple[object, ...]:
    amount = Text(f"{found.total:,.2f}", style="bold")
    return Text("total", style="bold"), "", "", "", "", "", amount, found.currency


@click.command()
@show.as_json
@given
def predictions(context: Context, as_json: bool) -> None:
    """Compare promises made at submission with outcomes.

    \b
    Example:
      myriad predictions
    """
    with context.client() as client:
        found = client.predictions()
    if as_json:
        show.dump(found)
        return
    show.table(
        (
            *("JOB", "OUTCOME", ">WAIT: SAID", ">WAS", ">STEP: SAID", ">WAS", ">TIME: SAID", ">WAS"),
            *(">COST: SAID", ">WAS", "START", "END IN BOUNDS"),
        ),
        (_score(score) for score in found.scores),
        empty="Nothing was promised yet.",
    )
    whole = found.calibration
    if whole.start_within is not None:
        share = show.percent(whole.start_within)
        click.echo(
            f"{share} of {whole.starts} that had to wait started within their bounds (80 % were promised)."
        )
    if whole.within is not None:
        click.echo(
            f"{show.percent(whole.within)} of {whole.jobs} ended within their bounds (80 % were promised)."
        )


def _score(score: Score) -> tuple[object, ...]:
    took = score.finished_at - score.submitted_at if score.finished_at else 0
    promised = score.finish_promised - score.submitted_at if score.finish_promised else 0
    return (
        score.job,
        show.state(score.outcome or ("waiting" if score.started_at is None else "running")),
        _wait(score, score.start_promised or None),
        _wait(score, score.started_at),
        show.span(score.step_ns_promised or 0),
        show.span(score.step_ns_median or 0),
        show.span(promised),
        show.span(took),
        score.cost_promised,
        score.cost,
        _BOUNDS[score.start_within],
        _BOUNDS[score.within],
    )


_BOUNDS: Final = {None: "-", True: "yes", False: "no"}


def _wait(score: Score, until: Instant | None) -> str:
    """From submission until then."""
    return "-" if until is None else units.show_span(max(0, until - score.submitted_at))
