"""Metrics in Prometheus' text form, read off state and books when asked."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from aiohttp import web

from myriad.control import holdings, views
from myriad.kernel.units import SECOND
from myriad.ledger import views as books
from myriad.server.plane import Plane
from myriad.server.routing import TEXT, Ask, Route

PATH = "/metrics"
Samples = Mapping[tuple[tuple[str, str], ...], float]


class Family(NamedTuple):
    """One metric with all its samples, by labels."""

    name: str
    kind: str
    help: str
    samples: Samples


async def scrape(ask: Ask) -> web.Response:
    """All metrics."""
    plane = ask.plane
    found = (*_state(plane), *_scheduling(plane), *_journal(plane), *_books(plane))
    text = "".join(_text(family) for family in found)
    return web.Response(
        body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


def _state(plane: Plane) -> Iterator[Family]:
    site = views.site(plane.state)
    yield _one("site_open", "gauge", "1 while the site may start work.", site.open)
    yield _by("nodes", "gauge", "Nodes by state.", "state", site.nodes_by_state)
    yield _one("chips", "gauge", "Chips of the site.", site.chips)
    yield _one("chips_free", "gauge", "Chips of ready nodes that nobody holds.", site.chips_free)
    yield _one("jobs_waiting", "gauge", "Jobs in the queue.", site.jobs_waiting)
    yield _one("jobs_running", "gauge", "Jobs that hold chips.", site.jobs_running)
    yield _one("gangs", "gauge", "Live attempts and replicas.", site.gangs_live)
    yield _by(
        "tenant_chips",
        "gauge",
        "Chips held, by tenant.",
        "tenant",
        {str(name): chips for name, chips in plane.state.usage.items()},
    )
    yield _by(
        "service_replicas_ready",
        "gauge",
        "Replicas that serve, by service.",
        "service",
        {view.service: view.ready for view in views.services(plane.state)},
    )
    yield _one("node_losses_total", "counter", "Nodes lost.", plane.state.losses)


def _scheduling(plane: Plane) -> Iterator[Family]:
    waiting = {str(code): count for code, count in holdings.waiting(plane.moment()).items()}
    yield _by("jobs_waiting_by_reason", "gauge", "Jobs in the queue, by the first reason.", "reason", waiting)
    stopped = {"preempted": 0, "resized": 0, **plane.tallies.stopped}
    yield _by("gangs_stopped_total", "counter", "Attempts and replicas that ended.", "cause", stopped)
    yield _one("incidents_open", "gauge", "Incidents that are open.", len(plane.state.incidents))
    yield _by("incidents_total", "counter", "Incidents.", "kind", plane.tallies.incidents)
    decisions = plane.wheel.decisions
    yield _one("turns_total", "counter", "Turns of the wheel since the start.", decisions.turns)
    yield _one("inputs_total", "counter", "Inputs decided on since the start.", decisions.inputs)
    yield _one("decision_seconds_total", "counter", "Time spent on deciding.", decisions.spent_ns / SECOND)
    slowest_s = decisions.slowest_ns / SECOND
    yield _one("decision_seconds_max", "gauge", "The slowest turn since the start.", slowest_s)


def _journal(plane: Plane) -> Iterator[Family]:
    commits = plane.wheel.commits
    yield _one("journal_seq", "counter", "Number of the last durable entry.", plane.wheel.seq)
    yield _one("journal_commits_total", "counter", "Commits since the start.", commits.count)
    yield _one("journal_entries_total", "counter", "Entries committed since the start.", commits.entries)
    spent_s = commits.spent_ns / SECOND
    yield _one("journal_commit_seconds_total", "counter", "Time spent in commits.", spent_s)
    slowest_s = commits.slowest_ns / SECOND
    yield _one("journal_commit_seconds_max", "gauge", "The slowest commit since the start.", slowest_s)
    yield _one("event_subscribers", "gauge", "Listeners of the event stream.", len(plane.events))


def _books(plane: Plane) -> Iterator[Family]:
    plane.ledger.advance(plane.wheel.now())
    site = books.site(plane.ledger)
    spent = {name: span / SECOND for name, span in site.buckets.items()}
    yield _by("chip_seconds_total", "counter", "Chip-seconds by what they were spent on.", "bucket", spent)
    capacity_s = site.capacity_chip_ns / SECOND
    yield _one("capacity_chip_seconds_total", "counter", "Chips x time.", capacity_s)
    yield _one("energy_kwh_total", "counter", "Energy of held chips, estimated.", site.energy.kwh)
    tokens: dict[tuple[tuple[str, str], ...], float] = {}
    for view in books.services(plane.ledger):
        tokens[("service", view.service), ("kind", "prompt")] = view.tokens.prompt
        tokens[("service", view.service), ("kind", "completion")] = view.tokens.completion
    yield Family("tokens_total", "counter", "Tokens served.", tokens)


def _one(name: str, kind: str, help_: str, value: float) -> Family:
    return Family(name, kind, help_, {(): float(value)})


def _by(name: str, kind: str, help_: str, label: str, values: Mapping[str, float]) -> Family:
    return Family(name, kind, help_, {((label, key),): value for key, value in values.items()})


def _text(family: Family) -> str:
    name = f"myriad_{family.name}"
    lines = [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
    for labels, value in family.samples.items():
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        lines.append(f"{name}{{{shown}}} {float(value):.15g}" if shown else f"{name} {float(value):.15g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


ROUTES = (Route("GET", PATH, scrape, "site", "Metrics for Prometheus", TEXT),)
