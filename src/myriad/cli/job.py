"""`myriad jobs`, `explain`, `logs`, `cancel`, `report`: training jobs after they were submitted."""

from collections.abc import Iterable
from pathlib import Path

import click

from myriad.cli import book, show, submit
from myriad.cli.client import Report
from myriad.cli.context import Context, given
from myriad.control.records import Ended
from myriad.control.views import Explanation, JobView
from myriad.protocol.values import Forecast


@click.command()
@click.option("--tenant", default="", help="Only this tenant's.")
@show.as_json
@given
def jobs(context: Context, tenant: str, as_json: bool) -> None:
    """List training jobs, oldest first.

    \b
    Example:
      myriad jobs --tenant acme
    """
    with context.client() as client:
        found = client.jobs(tenant)
    if as_json:
        show.dump(found)
        return
    show.table(
        ("JOB", "TENANT", "STATE", "PRIORITY", ">CHIPS", ">STEP", ">LOSS", ">ATTEMPTS", "ENDS", "NODES"),
        (_row(job) for job in found),
        empty="No jobs yet. Submit one: myriad submit examples/pretrain.yaml",
    )


def _row(job: JobView) -> tuple[object, ...]:
    step = f"{job.step}/{job.steps}" if job.steps else str(job.step or "-")
    return (
        job.job,
        job.tenant,
        show.state(job.state),
        job.priority,
        job.chips,
        step,
        f"{job.loss:.3f}" if job.loss else "-",
        job.attempts,
        show.clock(job.ended_at or job.ends_at),
        " ".join(job.placed_on) or "-",
    )


@click.command()
@click.argument("job")
@show.as_json
@given
def explain(context: Context, job: str, as_json: bool) -> None:
    """Say where JOB is and why it waits.

    And what would change that, and when it should start and end.

    \b
    Example:
      myriad explain tiny-llama-1
    """
    with context.client() as client:
        found = client.explain(job)
    if as_json:
        show.dump(found)
        return
    show.pairs(_explained(found))


def _explained(found: Explanation) -> Iterable[tuple[str, object]]:
    yield "job", found.job
    yield "state", show.state(found.state)
    yield "now", found.text
    for reason in found.reasons:
        yield "waits for", reason.code.replace("_", " ")
        yield "would help", reason.remedy
    if found.queue_length:
        yield "queue", f"{found.queue_position or '?'} of {found.queue_length}"
    yield "start", show.clock(found.starts_at) if found.starts_at else ""
    if found.starts_late_at > found.starts_early_at:
        early, late = show.clock(found.starts_early_at), show.clock(found.starts_late_at)
        yield "", f"{early} to {late} (80 %)"
    if found.finish_early_at:
        early, late = show.clock(found.finish_early_at), show.clock(found.finish_late_at)
        yield "finish", f"{early} to {late} (80 %)"


@click.command()
@click.argument("job")
@click.option(
    "-f", "--follow", is_flag=True, help="Go on as the output grows, through restarts, until the end."
)
@click.option("--rank", default=0, show_default=True, help="Which process of the gang.")
@click.option("--tail", default=100, show_default=True, help="Begin with so many last lines.")
@given
def logs(context: Context, job: str, follow: bool, rank: int, tail: int) -> None:
    """Print the output of one process of JOB.

    \b
    Example:
      myriad logs -f tiny-llama-1
    """
    with context.client() as client:
        for piece in client.logs(job, rank=rank, follow=follow, tail=tail):
            click.echo(piece, nl=False)


@click.command()
@click.argument("job")
@given
def cancel(context: Context, job: str) -> None:
    """Stop JOB, in whatever state it is.

    Its checkpoints stay.

    \b
    Example:
      myriad cancel tiny-llama-1
    """
    with context.client() as client:
        client.cancel(job)
        view = client.job(job)
    if view.state in submit.ENDS:
        click.echo(f"{view.job} is {view.state}.")
    else:
        click.echo(f"{view.job} is being stopped.")


@click.command()
@click.argument("job")
@click.option(
    "--html", type=click.Path(path_type=Path), help="Write the site's report, with plots, to this file."
)
@show.as_json
@given
def report(context: Context, job: str, html: Path | None, as_json: bool) -> None:
    """Tell JOB's whole story.

    Attempts, chip-time by bucket, promises against outcome, what happened when.

    \b
    Example:
      myriad report tiny-llama-1
      myriad report tiny-llama-1 --html report.html
    """
    with context.client() as client:
        found = client.report(job)
        page = client.report_html() if html else ""
    if html:
        show.write(html, page)
        click.echo(f"wrote {html}")
    elif as_json:
        show.dump(found)
    else:
        _tell(found)


def _tell(found: Report) -> None:
    job = found.job
    click.echo(submit.line(job))
    click.echo("\nattempts")
    show.table(
        ("ATTEMPT", "NODES", ">FROM STEP", ">TO STEP", ">SAFE", ">TOOK", "ENDED", "WHY"),
        (_attempt(ended) for ended in found.attempts),
        empty="  none has ended",
    )
    click.echo("\nchip-time")
    book.waterfall(found.buckets, found.chip_ns, empty=False)
    if found.forecast:
        click.echo("\npromised and happened")
        show.table(("", ">PROMISED", ">HAPPENED"), _kept(found, found.forecast), empty="")
    click.echo("\nstory")
    show.table(
        ("AT", "FACT", "WHAT HAPPENED"),
        ((show.clock(moment.at), moment.fact, moment.text) for moment in found.story),
        empty="  nothing yet",
    )


def _attempt(ended: Ended) -> tuple[object, ...]:
    return (
        ended.attempt,
        " ".join(ended.nodes),
        ended.resumed_step,
        ended.last_step,
        ended.kept_step,
        show.span(ended.stopped_at - ended.placed_at),
        ended.cause,
        ended.why,
    )


def _kept(found: Report, forecast: Forecast) -> Iterable[tuple[object, ...]]:
    job = found.job
    yield "start", show.clock(forecast.start_at), show.clock(found.started_at)
    yield "step", show.span(forecast.step_ns), show.span(found.step_ns)
    yield "finish", show.clock(forecast.finish_at), show.clock(found.finished_at)
    promised = forecast.finish_at - job.submitted_at if forecast.finish_at else 0
    happened = found.finished_at - job.submitted_at if found.finished_at else 0
    yield "took", show.span(promised), show.span(happened)
    yield "chip-time", show.chip_time(forecast.chip_ns), show.chip_time(found.chip_ns)
