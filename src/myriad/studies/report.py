"""The report of a site: one page that stands alone (no scripts, nothing fetched), and the same as JSON."""

from html import escape
from typing import Any

import msgspec

from myriad.catalog import chips as catalog
from myriad.kernel.units import SECOND, seconds, show_span
from myriad.ledger import costs, domains, invoices, predictions, views
from myriad.ledger.books import Books
from myriad.studies import charts, page
from myriad.studies.page import Html, estimated
from myriad.studies.story import Story

MEANINGS = {
    "productive": "training steps that were kept",
    "serving_busy": "replicas ready for requests, the share of them in use",
    "checkpoint": "training stood still to save",
    "lost": "steps done and not kept: redone, or given up",
    "detect": "work had stopped, and nobody knew yet",
    "restart": "chips held while a gang starts, stalls or stops",
    "straggling": "steps waited for nodes slower than they should be",
    "exposed": "steps waited for communication that no computation hid",
    "throttled": "steps were slowed by a limit on power or heat",
    "serving_headroom": "replicas ready for requests, the share of them not in use",
    "idle_no_demand": "free, and nobody asked",
    "idle_fragmentation": "free, but the holes did not fit who asked",
    "idle_quota": "free, but who asked may not hold more",
    "idle_held_back": "free, kept for work that is about to start",
    "spare": "hot spares, booted and qualified",
    "occupied": "used by others through the cluster's own scheduler",
    "drained": "kept out of service by an operator",
    "down": "lost, suspect or being repaired",
    "burn_in": "joining or being qualified",
}


def summary(ledger: Books) -> dict[str, Any]:
    """Everything the page says, as plain JSON values. Spans in ns, money as decimal text."""
    scores = predictions.scores(ledger)
    found: dict[str, Any] = msgspec.to_builtins(
        {
            "site": views.site(ledger),
            "jobs": views.jobs(ledger),
            "services": views.services(ledger),
            "tenants": views.tenants(ledger),
            "predictions": scores,
            "calibration": predictions.calibration(scores, ledger.kept_promises),
            "pods": domains.domains(ledger),
            "sizes": domains.sizes(ledger),
            "cost": costs.cost(ledger) if ledger.site else None,
            "invoices": [invoices.invoice(invoices.usage(ledger, tenant)) for tenant in ledger.tenants],
            "estimated": _estimates(ledger),
        }
    )
    return found


def render(ledger: Books, story: Story, title: str) -> str:
    """The page. Give both folds the same facts."""
    site = views.site(ledger)
    parts = [
        _cards(ledger, site),
        _where_time_went(site),
        _pods(ledger),
        _sizes(ledger),
        _timeline(story),
        *(_training(ledger, story, job) for job in list(story.points)[-4:]),
        _promises(ledger),
        _services(ledger),
        *(_invoice(ledger, tenant) for tenant in ledger.tenants),
        _notes(ledger),
    ]
    name = ledger.site.name if ledger.site else ""
    span = show_span(ledger.now - (story.opened_at or 0))
    return page.document(title, f"site {name} · {site_shape(ledger)} · {span} of history", parts)


def site_shape(ledger: Books) -> str:
    """`6 nodes of 1 chip (local-cpu)`."""
    if ledger.site is None:
        return "no site"
    per = ledger.site.chips_per_node
    nodes = ledger.site.node_count
    return f"{nodes} node{'s' * (nodes != 1)} of {per} chip{'s' * (per != 1)} ({ledger.site.chip})"


def _cards(ledger: Books, site: views.SiteView) -> Html:
    tokens = sum(tokens.prompt + tokens.completion for tokens in ledger.meter.lines.values())
    return page.cards(
        [
            ("Goodput", _percent(site.goodput), "productive + serving busy, of capacity × time"),
            ("ETTR of jobs", _percent(site.ettr), "steps that were kept, of gang × time since placed"),
            ("Availability", _percent(site.availability), "not down, drained, used by others or in burn-in"),
            ("Nodes lost", str(site.node_losses), f"MTTR {_seconds(site.mttr_s)}"),
            ("Recovery", _seconds(site.recovery_s), "end of useful work to its next beginning"),
            ("Tokens served", f"{tokens:,}", "prompt + completion, metered"),
            ("Energy", _energy(site.energy.kwh), estimated("chips held × catalogue power")),
        ]
    )


def _where_time_went(site: views.SiteView) -> Html:
    if not site.capacity_chip_ns:
        return page.section("Where every chip-second went", "No capacity yet.")
    rows = [
        (
            page.swatch(charts.COLOURS[name]) + escape(name.replace("_", " ")),
            _exact_seconds(amount),
            f"{100 * amount / site.capacity_chip_ns:.2f} %",
            escape(MEANINGS[name])
            + (" " + estimated("threshold, unless reported") if name == "straggling" else ""),
        )
        for name, amount in site.buckets.items()
    ]
    total = sum(site.buckets.values())
    assert total == site.capacity_chip_ns, "the law"
    foot = [
        ("sum of buckets", _exact_seconds(total), "100.00 %", ""),
        ("capacity × time", _exact_seconds(site.capacity_chip_ns), "", "integrated apart; equal to the ns"),
    ]
    head = ("bucket", "chip-seconds", "share", "meaning")
    return page.section(
        "Where every chip-second went",
        page.figure(charts.waterfall(site.buckets, site.capacity_chip_ns))
        + page.table(head, rows, foot, numbers=(1, 2)),
    )


_STATES = ("burn_in", "ready", "spare", "suspect", "repairing", "drained", "occupied")


def _timeline(story: Story) -> Html:
    shown, every = len(charts.shown_nodes(story)), len(story.nodes)
    if not every:
        return Html("")
    note = "" if shown == every else f"The {shown} of {every} nodes with most to tell are shown. "
    note += "Behind: the node's state. In front: the gang it worked for; pale while it started or stopped. "
    legend = page.legend(
        [
            *((name.replace("_", "-"), charts.STATE_COLOURS[name.upper()]) for name in _STATES),
            ("gang starting or stopping", "#fbe3cf"),
            ("✕ node lost", "#8f1d14"),
        ]
    )
    return page.section("Nodes and gangs", page.figure(charts.timeline(story)) + legend + page.note(note))


def _training(ledger: Books, story: Story, name: Any) -> Html:
    job = views.job(ledger, name)
    head = ("steps", "tokens", "placements", "ended", "ETTR", "MFU", "median step", "lost", "restart")
    row = (
        f"{job.steps:,}",
        f"{job.tokens:,}",
        str(job.placements),
        escape(job.outcome or "running"),
        _percent(job.ettr),
        "–" if job.mfu is None else f"{_percent(job.mfu)} {estimated('peak FLOP/s of the catalogue')}",
        f"{seconds(job.step_ns_median):.3f} s",
        f"{seconds(job.buckets['lost']):.1f} chip-s",
        f"{seconds(job.buckets['restart']):.1f} chip-s",
    )
    legend = page.legend(
        [
            ("kept", charts.COLOURS["productive"]),
            ("redone (hollow)", charts.COLOURS["lost"]),
            ("interruption", "#f6dcc6"),
            ("checkpoint", charts.COLOURS["checkpoint"]),
        ]
    )
    body = page.figure(charts.training(story, name)) + legend + page.table(head, [row])
    return page.section(f"Training {name}", body)


def _promises(ledger: Books) -> Html:
    scores = predictions.scores(ledger)
    if not scores:
        return Html("")
    head = ("job", "", "promised", "happened", "error", "")
    rows: list[tuple[str, ...]] = []
    for score in scores[-12:]:
        rows += _score_rows(score)
    body = page.table(head, rows, numbers=(2, 3, 4))
    if any(score.finished_at is not None and score.finish_promised for score in scores):
        body = page.figure(charts.promises(scores)) + _PROMISES_LEGEND + body
    return page.section("What was promised, and what happened", body)


_PROMISES_LEGEND = page.legend(
    [
        ("promised 10 % to 90 %", "#d6e6f4"),
        ("promised", "#2f6fb7"),
        ("happened, inside", charts.COLOURS["productive"]),
        ("happened, outside", charts.COLOURS["lost"]),
    ]
)


def _score_rows(score: predictions.Score) -> list[tuple[str, ...]]:
    since = score.submitted_at

    def after(at: int | None) -> str:
        return "–" if at is None else f"{seconds(at - since):.1f} s"

    within = {True: page.badge("inside", "good"), False: page.badge("outside", "bad"), None: Html("")}
    start_error = "–" if score.start_error_ns is None else f"{seconds(score.start_error_ns):+.1f} s"
    job = escape(score.job)
    finish = "–" if score.finish_promised is None else after(score.finish_promised)
    return [
        (
            job,
            f"step time {estimated(score.basis) if score.step_ns_promised else page.small(score.basis)}",
            _span_or_dash(score.step_ns_promised),
            _span_or_dash(score.step_ns_median),
            _signed(score.step_error),
            "",
        ),
        (
            "",
            "start, after submission",
            after(score.start_promised or None),
            after(score.started_at),
            start_error,
            within[score.start_within],
        ),
        (
            "",
            "end, after submission",
            finish,
            after(score.finished_at),
            _signed(score.finish_error),
            within[score.within],
        ),
        ("", "cost", escape(score.cost_promised), escape(score.cost), _signed(score.cost_error), ""),
    ]


def _pods(ledger: Books) -> Html:
    found = domains.domains(ledger)
    if len(found) < 2:
        return Html("")
    head = ("pod", "nodes", "goodput", "available", "ETTR", "MFU", "losses", "MTTF", "MTTR")
    rows = [
        (
            escape(one.name),
            f"{one.nodes:,}",
            *(_percent(share) for share in (one.goodput, one.availability, one.ettr, one.mfu)),
            f"{one.node_losses:,}",
            _seconds(one.mttf_s),
            _seconds(one.mttr_s),
        )
        for one in found
    ]
    return page.section("Pods", page.table(head, rows, numbers=tuple(range(1, 9))))


def _sizes(ledger: Books) -> Html:
    found = domains.sizes(ledger)
    if not found:
        return Html("")
    head = ("chips up to", "succeeded", "failed", "cancelled", "interruptions", "MTTI", "ETTR", "recovery")
    rows = [
        (
            f"{one.chips:,}",
            *(f"{one.jobs.get(outcome, 0):,}" for outcome in ("succeeded", "failed", "cancelled")),
            f"{one.interruptions:,}",
            _seconds(one.mtti_s),
            _percent(one.ettr),
            _seconds(one.recovery_s),
        )
        for one in found
    ]
    note = page.note("Jobs by size. Interruptions: gangs that a fault ended, of the job or of a node.")
    return page.section("Jobs by size", page.table(head, rows, numbers=tuple(range(8))) + note)


def _services(ledger: Books) -> Html:
    found = views.services(ledger)
    if not found:
        return Html("")
    head = (
        "service",
        "tenant",
        "replicas started",
        "busy",
        "ready",
        "restart",
        "requests",
        "prompt",
        "completion",
    )
    rows = [
        (
            escape(one.service),
            escape(one.tenant),
            str(one.placements),
            f"{seconds(one.buckets['serving_busy']):.1f} chip-s",
            f"{seconds(one.buckets['serving_busy'] + one.buckets['serving_headroom']):.1f} chip-s",
            f"{seconds(one.buckets['restart']):.1f} chip-s",
            f"{one.tokens.requests:,}",
            f"{one.tokens.prompt:,}",
            f"{one.tokens.completion:,}",
        )
        for one in found
    ]
    return page.section("Services", page.table(head, rows, numbers=(2, 3, 4, 5, 6, 7, 8)))


def _invoice(ledger: Books, tenant: Any) -> Html:
    bill = invoices.invoice(invoices.usage(ledger, tenant))
    if not bill.lines:
        return Html("")
    rows = [
        (
            escape(f"{line.kind.replace('_', ' ')}: {line.subject}") + page.small(line.note),
            f"{line.quantity:,f}",
            escape(f"{line.unit}{'s' * (line.unit == 'chip-hour')}"),
            f"{line.unit_price}",
            f"{line.amount:,}",
        )
        for line in bill.lines
    ]
    foot = [("total", "", "", bill.currency, f"{bill.total:,}")]
    head = ("", "quantity", "unit", "unit price", f"amount, {bill.currency}")
    period = f"For {show_span(bill.end - bill.start)}. Each line is rounded once, half to even."
    body = page.table(head, rows, foot, numbers=(1, 3, 4)) + page.note(period)
    return page.section(f"Invoice of {tenant}", body)


def _estimates(ledger: Books) -> list[str]:
    """What in this report is not measured, published or derived, in words."""
    found = ["straggling threshold: 1.5 x the running median of step times, where workers do not report it"]
    if ledger.site is None:
        return found
    chip = catalog.named(ledger.site.chip)
    for name, figure in (("power_w", chip.power_w), ("flops", chip.training_flops)):
        if figure.status == "estimated":
            found.append(f"{name} of {ledger.site.chip}: {figure.value:g} ({figure.source})")
    if ledger.jobs:
        found.append("promises: predicted at submission from the basis named beside each")
    return found


def _notes(ledger: Books) -> Html:
    items = "".join(f"<li>{escape(text)}</li>" for text in _estimates(ledger))
    law = "Chip-time is counted in whole nanoseconds; the buckets sum to capacity × time exactly."
    return page.section("Estimated inputs", f"<ul>{items}</ul>" + page.note(law))


def _exact_seconds(span: int) -> str:
    return f"{span // SECOND:,}.{span % SECOND:09d}"


def _energy(kwh: float) -> str:
    return f"{kwh:,.1f} kWh" if kwh >= 1 else f"{1000 * kwh:.2g} Wh"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _signed(error: float | None) -> str:
    return "–" if error is None else f"{100 * error:+.1f} %"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def _span_or_dash(span: int | None) -> str:
    return "–" if span is None else f"{seconds(span):.3f} s"
