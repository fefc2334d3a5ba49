"""`myriad tenant`: customers, their quota, and what they hold."""

from pathlib import Path

import click

from myriad.cli import show, specs
from myriad.cli.context import Context, given
from myriad.control.holdings import TenantView
from myriad.workload.tenants import Tenant


@click.group(invoke_without_command=True)
@show.as_json
@click.pass_context
def tenant(ctx: click.Context, as_json: bool) -> None:
    """Create, change and list tenants; alone, `myriad tenant` lists them.

    \b
    Example:
      myriad tenant
      myriad tenant apply examples/tenants.yaml
    """
    if not ctx.invoked_subcommand:
        context = ctx.find_object(Context)
        assert context
        _list(context, as_json=as_json)


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
        part = f", part of {spec.parent}" if spec.parent else ""
        click.echo(f"tenant {spec.name}: {quota.chips} chips{borrow}{part}")
        if spec.name in applied.keys:
            click.echo(f"  key {applied.keys[spec.name]}")
            click.echo(f"  shown this once; on this machine `myriad --as {spec.name}` uses it")


@tenant.command("list")
@show.as_json
@given
def list_(context: Context, as_json: bool) -> None:
    """List tenants on their tree: quota, chips held, budget, jobs that wait.

    What a tenant holds counts for all that it is part of. Borrowed chips are those beyond its own quota.

    \b
    Example:
      myriad tenant list
    """
    _list(context, as_json=as_json)


def _list(context: Context, *, as_json: bool) -> None:
    with context.client() as client:
        found = client.tenants()
    if as_json:
        show.dump(found)
        return
    depths: dict[str, int] = {}
    for view in found:
        depths[view.tenant] = depths.get(view.parent, -1) + 1
    show.table(
        ("TENANT", ">WEIGHT", ">QUOTA", ">BORROWS", ">IN USE", ">BORROWED", ">WAITING", "BUDGET"),
        (_row(view, depths[view.tenant]) for view in found),
        empty="No tenants yet. Create some: myriad tenant apply examples/tenants.yaml",
    )


def _row(view: TenantView, depth: int) -> tuple[object, ...]:
    budget = view.budget
    spent = f"{budget.spent} of {budget.amount} until {show.clock(budget.until)}" if budget else "-"
    return (
        "  " * depth + view.tenant,
        f"{view.weight:g}",
        view.chips_quota,
        f"up to {view.chips_borrow}" if view.chips_borrow else "-",
        view.chips_used,
        view.chips_borrowed or "-",
        view.jobs_waiting or "-",
        spent,
    )
