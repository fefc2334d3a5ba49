"""`myriad tenant`: customers, their quota, and what they hold."""

from pathlib import Path

import click

from myriad.cli import show, specs
from myriad.cli.context import Context, given
from myriad.workload.tenants import Tenant


@click.group()
def tenant() -> None:
    """Create, change and list tenants.

    \b
    Example:
      myriad tenant apply examples/tenants.yaml
    """


@tenant.command()
@specs.file_argument
@show.as_json
@given
def apply(context: Context, file: Path, as_json: bool) -> None:
    """Create or change the tenants in FILE.

    A new one gets a key, shown once. It is also kept in the home's keys.json, so that
    `myriad --as TENANT …` works on this machine.

    \b
    Example:
      myriad tenant apply examples/tenants.yaml
    """
    wanted = specs.read(file, Tenant)
    with context.client() as client:
        applied = client.apply_tenants(list(wanted))
    if applied.keys:
        context.keep_keys(applied.keys)
    if as_json:
        show.dump(applied)
        return
    for spec in wanted:
        quota = spec.quota
        borrow = f", may borrow {quota.borrow}" if quota.borrow else ""
        click.echo(f"tenant {spec.name}: {quota.chips} chips{borrow}")
        if spec.name in applied.keys:
            click.echo(f"  key {applied.keys[spec.name]}")
            click.echo(f"  shown this once; on this machine `myriad --as {spec.name}` uses it")


@tenant.command("list")
@show.as_json
@given
def list_(context: Context, as_json: bool) -> None:
    """List tenants: quota, chips held, jobs that wait.

    \b
    Example:
      myriad tenant list
    """
    with context.client() as client:
        found = client.tenants()
    if as_json:
        show.dump(found)
        return
    show.table(
        ("TENANT", ">QUOTA", ">MAY BORROW", ">IN USE", ">JOBS WAITING"),
        ((t.tenant, t.chips_quota, t.chips_borrow, t.chips_used, t.jobs_waiting) for t in found),
        empty="No tenants yet. Create some: myriad tenant apply examples/tenants.yaml",
    )
