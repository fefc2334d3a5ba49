"""`myriad submit`: asks for a training job, and on wish watches it to its end."""

import os
import secrets
import sys
import time
from pathlib import Path

import click
import msgspec
from rich.live import Live
from rich.text import Text

from myriad.cli import show, specs
from myriad.cli.client import Client, Submitted
from myriad.cli.context import Context, given
from myriad.control.views import Explanation, JobView
from myriad.kernel.units import Instant
from myriad.workload.jobs import TrainingJob

_LOOK_EVERY_S = 0.5
ENDS = ("succeeded", "failed", "cancelled")


@click.command()
@specs.file_argument
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.option("--watch", is_flag=True, help="Follow the job to its end; exit code 1 unless it succeeds.")
@show.as_json
@given
def submit(context: Context, file: Path, dry_run: bool, watch: bool, as_json: bool) -> None:
    """Submit the training job in FILE.

    Says where it runs or why it waits, and what is predicted.

    \b
    Example:
      myriad submit examples/pretrain.yaml --watch
      myriad --as acme submit examples/command.yaml --dry-run
    """
    wanted = specs.read(file, TrainingJob)
    with context.client() as client:
        for spec in wanted:
            made = client.submit(_located(spec, file), dry_run=dry_run, once=secrets.token_hex(16))
            if as_json:
                show.dump(made)
            else:
                _tell(made, dry_run=dry_run)
            if watch and not dry_run:
                _follow(client, made.job.job)


def _located(spec: TrainingJob, file: Path) -> TrainingJob:
    """A working folder that is not absolute is one beside the file."""
    if not spec.workdir or os.path.isabs(spec.workdir):
        return spec
    return msgspec.structs.replace(spec, workdir=str((file.absolute().parent / spec.workdir).resolve()))


def _tell(made: Submitted, *, dry_run: bool) -> None:
    click.echo(f"would be submitted as {made.job.job}" if dry_run else made.job.job)
    click.echo(f"  {summary(made.explanation)}")
    if forecast := made.job.forecast:
        for line in promise(made.job):
            click.echo(f"  {line}")
        if forecast.basis:
            click.echo(f"  basis: {forecast.basis}")


def summary(explanation: Explanation) -> str:
    """One line: where the job is, or why it waits and what would help."""
    line = explanation.text
    remedies = [reason.remedy for reason in explanation.reasons if reason.remedy]
    return line + (f" ({'; '.join(remedies)})" if remedies else "")


def promise(job: JobView) -> list[str]:
    """What was predicted at submission, in words."""
    forecast = job.forecast
    assert forecast
    step = f", {show.span(forecast.step_ns)} a step" if forecast.step_ns else ""
    cost = [f"predicted cost {forecast.cost}, {show.chip_time(forecast.chip_ns)}"] if forecast.chip_ns else []
    if forecast.start_at:
        bounds = _bounds(forecast.start_early_at, forecast.start_late_at)
        start = f"predicted start {show.clock(forecast.start_at)}{bounds}"
    else:
        start = "no start is in sight"
    if not forecast.finish_at:
        return [f"{start}{step}" if forecast.chip_ns else f"{start}; run time unknown", *cost]
    waits = [start] if forecast.start_at > job.submitted_at else []
    bounds = _bounds(forecast.finish_early_at, forecast.finish_late_at)
    return [*waits, f"predicted finish {show.clock(forecast.finish_at)}{bounds}{step}", *cost]


def _bounds(early: Instant, late: Instant) -> str:
    """The interval of an instant, if it has one."""
    return f" (80 % between {show.clock(early)} and {show.clock(late)})" if 0 < early < late else ""


def _follow(client: Client, job: str) -> None:
    """Show the job until it ends; leaving with Ctrl-C leaves the job running."""
    try:
        last = watch(client, job)
    except KeyboardInterrupt:
        click.echo(f"\n{job} goes on. Look again: myriad jobs; end it: myriad cancel {job}", err=True)
        raise
    if last.state != "succeeded":
        sys.exit(1)


def watch(client: Client, job: str) -> JobView:
    """One line that moves on a terminal; elsewhere a line for each change. Returns the job as it ended."""
    if not sys.stdout.isatty():
        return _lines(client, job)
    with Live(console=show.console(), refresh_per_second=4) as live:
        while True:
            view = client.job(job)
            live.update(_moving(view))
            if view.state in ENDS:
                return view
            time.sleep(_LOOK_EVERY_S)


def _lines(client: Client, job: str) -> JobView:
    told = ""
    while True:
        view = client.job(job)
        mark = f"{view.state} attempt {view.attempts} checkpoint {view.kept_step}"
        if mark != told:
            click.echo(line(view))
            told = mark
        if view.state in ENDS:
            return view
        time.sleep(_LOOK_EVERY_S)


def line(view: JobView) -> str:
    """A job in one line."""
    parts = [f"{view.job} {view.state}"]
    if view.step:
        parts.append(f"step {view.step}" + (f"/{view.steps}" if view.steps else ""))
    if view.loss:
        parts.append(f"loss {view.loss:.3f}")
    if view.kept_step:
        parts.append(f"saved to step {view.kept_step}")
    if view.placed_on:
        parts.append("on " + ", ".join(view.placed_on))
    if view.ends_at and view.state not in ENDS:
        parts.append(f"ends about {show.clock(view.ends_at)}")
    if view.text:
        parts.append(view.text)
    return " · ".join(parts)


def _moving(view: JobView) -> Text:
    done = show.bar(view.step / view.steps, 20).ljust(20, "·") + " " if view.steps else ""
    return Text(done, style="green") + Text(line(view), style="default")
