"""Metrics for Prometheus, read off state, books and counts when asked: docs/guide/production.md lists them.

No label names a node, a job or a caller, so the number of series does not grow with the site. A scrape reads
columns, counters and the gangs that live; never a chip, a node, or each job that waits or is over.
"""

import platform
import resource
import time
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from aiohttp import web

from myriad.control import holdings, views
from myriad.control.records import Gang, GangPhase
from myriad.fleet.columns import NodeState
from myriad.kernel.units import SECOND
from myriad.ledger import views as books
from myriad.protocol.fact import SCHEMA
from myriad.server.exposition import Family, counter, counters, gauge, gauges, histogram, of, text
from myriad.server.plane import Plane
from myriad.server.routing import TEXT, Ask, Route

PATH = "/metrics"
ROLES: Final = ("leader", "standby")
_JOULE_PER_KWH: Final = 3.6e6
_BORN_S: Final = time.time()


async def scrape(ask: Ask) -> web.Response:
    """All metrics."""
    plane = ask.plane
    parts = (_site(plane), _work(plane), _brain(plane), _books(plane), _serving(plane))
    known = [family for part in parts for family in part]
    return _answer([*_plane(plane, getattr(plane, "role", "leader"), plane.wheel.seq), *_process(), *known])


def standing_by(plane: Plane, folded: int) -> web.Response:
    """What a standby tells, which has no wheel yet: who it is, and how far it has followed."""
    return _answer([*_plane(plane, "standby", folded), *_process()])


def _answer(families: Iterable[Family]) -> web.Response:
    return web.Response(
        body=text(families).encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


def _plane(plane: Plane, role: str, seq: int) -> Iterator[Family]:
    about = (
        ("version", metadata.version("myriad")),
        ("python", platform.python_version()),
        ("schema", str(SCHEMA)),
    )
    yield of("gauge", "myriad_build_info", "What runs: always 1.", [(about, 1)])
    is_it = {name: float(name == role) for name in ROLES}
    yield gauges("myriad_role", "1 for the role of this process, 0 for the other.", "role", is_it)
    yield gauge("myriad_start_time_seconds", "When the site was opened last.", plane.started_at / SECOND)
    lag = plane.pulse.lag
    yield histogram(
        "myriad_event_loop_lag_seconds", "How late the event loop woke, four times a second.", lag
    )
    yield gauge("myriad_journal_sequence", "Number of the last durable entry it knows.", seq)
    yield gauge("myriad_event_subscribers", "Listeners of the event stream.", len(plane.events))


def _process() -> Iterator[Family]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime
    yield counter("process_cpu_seconds_total", "CPU time of the control plane, user and system.", cpu_s)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    yield gauge("process_resident_memory_bytes", "Memory of the control plane.", resident)
    yield gauge("process_open_fds", "Open files.", len(list(Path("/proc/self/fd").iterdir())))
    yield gauge(
        "process_max_fds", "Most files that may be open.", resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    )
    yield gauge("process_start_time_seconds", "When the process started.", _BORN_S)


def _site(plane: Plane) -> Iterator[Family]:
    state = plane.state
    yield gauge("myriad_site_open", "1 while the site may start work.", state.open)
    nodes = dict.fromkeys(_NODE_STATES, 0) | views.nodes_by_state(state)
    yield gauges("myriad_nodes", "Nodes by state.", "state", nodes)
    yield gauge("myriad_chips", "Chips of the site.", state.site.chip_count if state.site else 0)
    free = int(state.columns.free_count[state.columns.state == NodeState.READY].sum())
    yield gauge("myriad_chips_free", "Chips of ready nodes that nobody holds.", free)
    yield counter("myriad_node_losses_total", "Nodes lost since the journal began.", state.losses)
    yield gauge("myriad_incidents_open", "Incidents that are open.", len(state.incidents))
    kinds = plane.tallies.incidents
    yield counters(
        "myriad_incidents_total", "Incidents since the journal began, by what failed.", "kind", kinds
    )
    used = {str(name): float(chips) for name, chips in state.usage.items()}
    yield gauges("myriad_tenant_chips", "Chips held, by tenant, its parts included.", "tenant", used)


#: Every word of a node's life: a state that no node is in shows as 0, so that its series never ends.
_NODE_STATES: Final = (
    *(kind.name.lower() for kind in NodeState if kind is not NodeState.RETIRED),
    "allocated",
    "spare",
)
_JOB_STATES: Final = ("admitted", "placed", "starting", "running", "checkpointing", "interrupted")


def _work(plane: Plane) -> Iterator[Family]:
    state, now = plane.state, plane.wheel.now()
    jobs = dict.fromkeys(_JOB_STATES, 0)
    running = [gang for gang in state.gangs.values() if gang.job]
    for gang in running:
        jobs[views.job_state(state.jobs[gang.job], gang)] += 1
    again = len(plane.core.board.interrupted)
    jobs["interrupted"] += again
    jobs["admitted"] += len(state.waiting) - again
    # they are in the order in which they began to wait
    oldest = state.jobs[first].queued_at if (first := next(iter(state.waiting), None)) else now
    yield gauges("myriad_jobs", "Jobs that are not over, by state.", "state", jobs)
    ended = {"succeeded": 0, "failed": 0, "cancelled": 0} | plane.tallies.ended
    yield counters("myriad_jobs_ended_total", "Jobs that ended, by outcome.", "outcome", ended)
    yield gauge("myriad_jobs_waiting", "Jobs in the queue.", len(state.waiting))
    waiting = {str(code): count for code, count in holdings.waiting(plane.moment()).items()}
    yield gauges(
        "myriad_jobs_waiting_by_reason", "Jobs in the queue, by the first reason.", "reason", waiting
    )
    age_s = (now - oldest) / SECOND
    yield gauge("myriad_queue_oldest_wait_seconds", "How long the job has waited that waits longest.", age_s)
    yield gauge("myriad_jobs_running", "Jobs that hold chips.", len(running))
    yield gauge("myriad_gangs", "Live attempts and replicas.", len(state.gangs))
    stopped = {"preempted": 0, "resized": 0, "node": 0, "job": 0, **plane.tallies.stopped}
    yield counters("myriad_gangs_stopped_total", "Attempts and replicas that ended.", "cause", stopped)
    pauses = {"job": 0, "node": 0, **plane.tallies.pauses}
    yield counters(
        "myriad_pauses_total", "Pauses before the next attempt, by what ended the last.", "cause", pauses
    )
    saved = min((_saved(plane, gang) for gang in running if _saves(plane, gang)), default=now)
    yield gauge(
        "myriad_checkpoint_age_seconds_max",
        "Work that would be lost: the oldest last checkpoint of running jobs that save any.",
        max(0, now - saved) / SECOND,
    )


def _saves(plane: Plane, gang: Gang) -> bool:
    """A recipe checkpoints; a command does once it has."""
    is_training = gang.phase is GangPhase.RUNNING and gang.running_at
    return bool(is_training and (plane.state.jobs[gang.job].spec.recipe or gang.job in plane.tallies.saved))


def _saved(plane: Plane, gang: Gang) -> int:
    """Since when its work is not safe: the last checkpoint, or the start of this attempt."""
    return max(gang.running_at, plane.tallies.saved.get(gang.job, 0))


def _brain(plane: Plane) -> Iterator[Family]:
    costs = plane.wheel.costs
    yield counter("myriad_turns_total", "Turns of the wheel since the start.", costs.decided.count)
    kinds = costs.inputs
    yield counters("myriad_inputs_total", "Inputs decided on since the start, by type.", "kind", kinds)
    facts = plane.tallies.facts
    yield counters("myriad_facts_total", "Facts since the journal began, by type.", "kind", facts)
    yield histogram("myriad_decision_seconds", "Time to decide a turn's inputs.", costs.decided)
    yield gauge("myriad_decision_seconds_max", "The slowest turn since the start.", costs.decided.largest)
    yield histogram("myriad_journal_commit_seconds", "Time of a commit.", costs.committed)
    yield gauge("myriad_journal_commit_seconds_max", "The slowest since the start.", costs.committed.largest)
    yield histogram("myriad_journal_commit_entries", "Entries of a commit.", costs.batches)


def _books(plane: Plane) -> Iterator[Family]:
    plane.ledger.advance(plane.wheel.now())
    site = books.site(plane.ledger)
    spent = {name: span / SECOND for name, span in site.buckets.items()}
    help_ = "Chip-seconds by what they were spent on. No counter: productive time can turn out to be lost."
    yield gauges("myriad_chip_seconds", help_, "bucket", spent)
    capacity_s = site.capacity_chip_ns / SECOND
    yield counter("myriad_capacity_chip_seconds_total", "Chips x time.", capacity_s)
    yield gauges("myriad_chips_by_use", "Chips by what they do now.", "bucket", site.chips_now)
    yield gauge("myriad_goodput_ratio", "Useful share of capacity since the books began.", site.goodput)
    yield gauge("myriad_availability_ratio", "Capacity that work could have had.", site.availability)
    yield gauge("myriad_ettr_ratio", "Effective training time ratio over all jobs.", site.ettr)
    yield gauge("myriad_mfu_ratio", "Model FLOPs utilisation over all jobs, as of one.", site.mfu)
    yield gauge("myriad_node_mttf_seconds", "Time in service of all nodes / losses.", site.mttf_s)
    yield gauge("myriad_node_mttr_seconds", "From a loss until ready again, mean.", site.mttr_s)
    help_ = "From the end of useful work until the next attempt is useful, mean."
    yield gauge("myriad_job_recovery_seconds", help_, site.recovery_s)
    joules = site.energy.kwh * _JOULE_PER_KWH
    yield counter("myriad_energy_joules_total", "Energy of held chips, estimated.", joules)


def _serving(plane: Plane) -> Iterator[Family]:
    services = views.services(plane.state)
    ready: dict[str, float] = {view.service: view.ready for view in services}
    wanted: dict[str, float] = {view.service: view.wanted for view in services}
    yield gauges("myriad_service_replicas_ready", "Replicas that serve, by service.", "service", ready)
    yield gauges("myriad_service_replicas_wanted", "Replicas wanted, by service.", "service", wanted)
    tokens: dict[tuple[tuple[str, str], ...], float] = {}
    for line, count in plane.ledger.meter.lines.items():
        about = ("tenant", str(line.tenant)), ("service", str(line.service))
        for kind, number in (("prompt", count.prompt), ("completion", count.completion)):
            key = (*about, ("kind", kind))
            tokens[key] = tokens.get(key, 0) + number
    yield of("counter", "myriad_tokens_total", "Tokens served, by who called what.", tokens.items())
    if plane.gateway is None:
        return
    traffic, (in_flight, queued) = plane.gateway.traffic, plane.gateway.load()
    yield gauge("myriad_gateway_requests_in_flight", "Requests at replicas.", in_flight)
    yield gauge("myriad_gateway_requests_queued", "Requests that wait for a place.", queued)
    requests = (
        ((("service", str(service)), ("code", str(status))), count)
        for (service, status), count in traffic.requests.items()
    )
    yield of("counter", "myriad_gateway_requests_total", "Requests by service and status.", requests)
    broken = {str(service): count for service, count in traffic.broken.items()}
    help_ = "Streams that ended with an error after their first token."
    yield counters("myriad_gateway_streams_broken_total", help_, "service", broken)
    first = [((("service", str(service)),), found) for service, found in traffic.first_token.items()]
    yield histogram("myriad_gateway_first_token_seconds", "Until the first token of a stream.", first)
    whole = [((("service", str(service)),), found) for service, found in traffic.whole.items()]
    yield histogram("myriad_gateway_request_seconds", "Until the end of an answer.", whole)


ROUTES = (Route("GET", PATH, scrape, "site", "Metrics for Prometheus", TEXT),)
