"""Training jobs: submit, look, explain, cancel, report, logs."""

import msgspec
from aiohttp import web

from myriad.catalog import chips
from myriad.control import dry_run, on_intents, views
from myriad.control.records import Ended, Job
from myriad.kernel.errors import UserError
from myriad.kernel.ids import JobId, TenantId
from myriad.ledger import views as ledger_views
from myriad.protocol.inputs import CancelJob, SubmitJob
from myriad.protocol.values import Forecast, Profile
from myriad.server import logs, names, problems, profiles, stories
from myriad.server.identity import Caller
from myriad.server.routing import TEXT, Ask, Created, Route
from myriad.server.stories import Moment
from myriad.workload import files
from myriad.workload.jobs import TrainingJob


class Submission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job file's content."""

    spec: TrainingJob


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """The job as admitted, and why it waits or when it starts."""

    job: views.JobView
    explanation: views.Explanation


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one job."""

    job: views.JobView
    attempts: tuple[Ended, ...]
    #: Chip-nanoseconds by what they were spent on.
    buckets: dict[str, int]
    forecast: Forecast | None
    #: What the forecast spoke of, as it happened; 0: not yet.
    started_at: int
    finished_at: int
    step_ns: int
    chip_ns: int
    story: list[Moment]


async def listed(ask: Ask) -> list[views.JobView]:
    """Jobs in the order they were submitted."""
    return views.jobs(ask.plane.state, ask.caller.scope or TenantId(ask.word("tenant")) or None)


async def look(ask: Ask) -> views.JobView:
    """One job, by id or by the name of the newest."""
    return views.job_view(ask.plane.state, _find(ask))


async def explain(ask: Ask) -> views.Explanation:
    """Why it is where it is."""
    return _explained(ask, _find(ask))


async def submit(ask: Ask) -> Created:
    """Admit a job. With the same Idempotency-Key again: the same job."""
    plane, caller = ask.plane, ask.caller
    spec = await _spec(ask)
    profile = profiles.of_job(spec, chips.named(spec.chip or plane.setup.site.chip))
    if ask.flag("dry_run"):
        return Created(200, _rehearsed(ask, spec, profile))
    once = names.once(caller, ask.request.headers.get("Idempotency-Key", ""))
    job = plane.names.job(spec.name, once)
    if (known := plane.state.jobs.get(job)) and known.spec != spec:
        raise UserError(
            f"was used for another job ({job})",
            field="Idempotency-Key",
            remedy="Take a new key for each job",
            status=409,
        )
    if known is None and plane.names.was_admitted(job):
        raise UserError(
            f"was used for {job}, which ended too long ago to be shown",
            field="Idempotency-Key",
            remedy="Take a new key for each job",
            status=409,
        )
    await plane.ask(SubmitJob(at=0, job=job, spec=spec, profile=profile), caller, once)
    return Created(200 if known else 201, _submitted(ask, job))


async def _spec(ask: Ask) -> TrainingJob:
    tree = (await ask.tree()).get("spec")
    if not isinstance(tree, dict):
        raise UserError("is required", field="spec", remedy='Send {"spec": {...}}, a job file as JSON')
    spec = files.from_tree({"kind": "training", **tree}, "spec")
    if not isinstance(spec, TrainingJob):
        raise UserError("is not a job", field="spec: kind", value=tree["kind"], remedy="Use kind: training")
    check_tenant(ask.caller, spec.tenant)
    return spec


def check_tenant(caller: Caller, tenant: TenantId) -> None:
    """Raises UserError when a tenant's key asks in the name of another."""
    if caller.scope not in (None, tenant):
        raise UserError(
            f"is not the tenant of this key ({caller.tenant})",
            field="spec: tenant",
            value=tenant,
            remedy=f"Write tenant: {caller.tenant}",
            status=403,
        )


def _rehearsed(ask: Ask, spec: TrainingJob, profile: Profile) -> Submitted:
    """What would happen: the answer that a submission would get, with nothing submitted."""
    moment = ask.plane.moment()
    job = JobId(f"{spec.name}-dry-run")
    if reason := on_intents.refusal(moment, spec, profile):
        raise problems.Refusal("SubmitJob", job, reason)
    view, explanation = dry_run.answer(moment, job, spec, profile)
    return Submitted(job=view, explanation=explanation)


def _submitted(ask: Ask, job: JobId) -> Submitted:
    found = ask.plane.state.jobs[job]
    explanation = views.explain(ask.plane.moment(), found, views.AHEAD_AT_ONCE)
    return Submitted(job=views.job_view(ask.plane.state, found), explanation=explanation)


def _explained(ask: Ask, job: Job) -> views.Explanation:
    return views.explain(ask.plane.moment(), job)


async def cancel(ask: Ask) -> views.JobView:
    """Stop it, in whatever state it is."""
    job = _find(ask)
    await ask.plane.ask(CancelJob(at=0, job=job.job, by=ask.caller.tenant or ask.caller.role), ask.caller)
    return views.job_view(ask.plane.state, job)


async def report(ask: Ask) -> Report:
    """The job's story, told by the journal, and its books."""
    plane, job = ask.plane, _find(ask)
    story = await plane.reading(lambda: stories.of_job(plane.journal, job.job))
    plane.ledger.advance(plane.wheel.now())
    books = ledger_views.job(plane.ledger, job.job)
    return Report(
        job=views.job_view(plane.state, job),
        attempts=job.history,
        buckets=books.buckets,
        forecast=job.forecast,
        started_at=job.first_placed_at,
        finished_at=job.ended_at,
        step_ns=job.step_ns,
        chip_ns=books.held_chip_ns,
        story=story,
    )


async def logged(ask: Ask) -> web.StreamResponse:
    """The output of one rank; following, it goes on across attempts until the job ends."""
    job = _find(ask)
    rank = ask.number("rank", 0, 1_000_000)
    return await logs.stream(
        ask,
        logs.OfJob(ask.plane, job),
        rank=rank,
        tail=ask.number("tail", 100, 1_000_000),
        follow=ask.flag("follow"),
    )


def _find(ask: Ask) -> Job:
    return views.find_job(ask.plane.state, ask.part("job"), ask.caller.scope)


_LOG_QUERY = {
    "rank": "whose output; 0 by default",
    "tail": "lines to begin with; 100 by default",
    "follow": "1: go on until the end",
}

ROUTES = (
    Route(
        "GET", "/api/v1/jobs", listed, "all", "Jobs, oldest first", list[views.JobView],
        query={"tenant": "only this tenant's"},
    ),
    Route("GET", "/api/v1/jobs/{job}", look, "all", "One job, by id or name", views.JobView),
    Route(
        "POST", "/api/v1/jobs", submit, "members",
        "Submit a job; header Idempotency-Key makes a retry the same job", Submitted, Submission,
        {"dry_run": "1: only say what would happen"}, 201,
    ),
    Route("GET", "/api/v1/jobs/{job}/explain", explain, "all", "Why a job waits", views.Explanation),
    Route("POST", "/api/v1/jobs/{job}/cancel", cancel, "members", "Cancel a job", views.JobView),
    Route("GET", "/api/v1/jobs/{job}/report", report, "all", "Everything about a job", Report),
    Route("GET", "/api/v1/jobs/{job}/logs", logged, "all", "The output of a job", TEXT, query=_LOG_QUERY),
)  # fmt: skip
