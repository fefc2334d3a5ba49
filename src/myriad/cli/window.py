"""`myriad reserve`, `maintain`, `windows`: nodes kept for a tenant, or free of work, between two instants."""

from collections.abc import Callable
from typing import Any

import click

from myriad.cli import instants, show
from myriad.cli.context import Context, given
from myriad.control.holdings import WindowView
from myriad.kernel.errors import UserError

Command = Callable[..., Any]
#: Nodes named in one line; of more, how many.
_FEW = 8


def _which(command: Command) -> Command:
    """The options that say which nodes and when, alike for both."""
    options = [
        click.option("--nodes", default="", metavar="N1,N2", help="These nodes."),
        click.option("--pod", default="", help="All nodes of a pod."),
        click.option("--rack", default="", help="All nodes of a rack, such as p0/r1."),
        click.option(
            "--count", default="", metavar="N", help="So many nodes, where fewest gangs must leave."
        ),
        click.option("--chip", default="", help="With --count: of this chip type."),
        click.option("--from", "start", default="now", show_default=True, help="An instant, or +2h."),
        click.option("--until", default="", help="An instant, or +2h."),
        click.option("--for", "length", default="", metavar="SPAN", help="How long, instead of --until."),
        click.option("--reason", default="", help="Kept on record and shown to others."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("name")
@click.option("--tenant", required=True, help="Whose jobs may use the nodes.")
@_which
@show.as_json
@given
def reserve(context: Context, /, name: str, tenant: str, as_json: bool, **which: str) -> None:
    """Reserve nodes for a tenant, as NAME.

    Its jobs use them with `reservation: NAME` in their file. Others leave, checkpointed, when it begins, and
    work that is predicted to run into it is placed elsewhere. The same NAME again changes it.

    \b
    Example:
      myriad reserve launch --tenant acme --count 16 --from 2026-08-01T02:00 --for 12h
      myriad reserve launch --tenant acme --pod p1 --from +30m --for 2h
    """
    _set(context, {"name": name, "kind": "reservation", "tenant": tenant, **_body(which)}, as_json=as_json)


@click.command()
@click.argument("name")
@_which
@show.as_json
@given
def maintain(context: Context, /, name: str, as_json: bool, **which: str) -> None:
    """Keep nodes free of work, as NAME.

    Nothing is placed that is predicted to run into it; what runs there leaves, checkpointed, when it begins.
    The nodes are given back when it ends.

    \b
    Example:
      myriad maintain switch-7 --rack p0/r3 --from 2026-08-01T02:00 --for 90m --reason "new firmware"
    """
    _set(context, {"name": name, "kind": "maintenance", **_body(which)}, as_json=as_json)


def _body(which: dict[str, str]) -> dict[str, object]:
    start_at = instants.instant(which["start"], "--from")
    if bool(which["length"]) == bool(which["until"]):
        problem = "does not go with --for" if which["until"] else "or --for is required"
        raise UserError(problem, field="--until", remedy="Say for example --for 2h")
    if which["length"]:
        end_at = start_at + instants.span(which["length"], "--for")
    else:
        end_at = instants.instant(which["until"], "--until")
        if end_at <= start_at:
            raise UserError("is not after --from", field="--until", value=which["until"])
    how = [name for name in ("nodes", "pod", "rack", "count") if which[name]]
    if len(how) != 1:
        said = " and ".join(f"--{name}" for name in how)
        problem = f"{said} do not go together" if how else "which nodes?"
        raise UserError(problem, field="nodes", remedy="Give one of --nodes, --pod, --rack, --count")
    if which["count"] and not (which["count"].isdigit() and int(which["count"])):
        remedy = "Write a whole number of nodes, such as 16"
        raise UserError("is not a number of nodes", field="--count", value=which["count"], remedy=remedy)
    nodes = [name.strip() for name in which["nodes"].split(",") if name.strip()]
    return {
        "start_at": 0 if which["start"] == "now" else start_at,
        "end_at": end_at,
        "nodes": nodes,
        "count": int(which["count"] or 0),
        **{name: which[name] for name in ("pod", "rack", "chip", "reason")},
    }


def _set(context: Context, body: dict[str, object], *, as_json: bool) -> None:
    with context.client() as client:
        made = client.keep(body)
    if as_json:
        show.dump(made)
        return
    whose = f" for {made.tenant}" if made.tenant else ""
    click.echo(f"{made.kind} {made.name}{whose}: {_nodes(made)}")
    click.echo(f"  {show.clock(made.start_at)} to {show.clock(made.end_at)} ({made.state})")
    if made.attempts:
        when = "are asked to leave" if made.state == "open" else "leave when it begins, if they still run"
        click.echo(f"  {', '.join(made.attempts[:_FEW])} {when}")
    if made.kind == "reservation":
        click.echo(f"  jobs use it with `reservation: {made.name}`")


def _nodes(view: WindowView) -> str:
    named = ", ".join(view.nodes[:_FEW])
    return named if len(view.nodes) <= _FEW else f"{len(view.nodes)} nodes: {named}, …"


@click.group(invoke_without_command=True)
@show.as_json
@click.pass_context
def windows(ctx: click.Context, as_json: bool) -> None:
    """List reservations and maintenance, by their start.

    \b
    Example:
      myriad windows
      myriad windows end launch
    """
    if ctx.invoked_subcommand:
        return
    context = ctx.find_object(Context)
    assert context
    with context.client() as client:
        found = client.windows()
    if as_json:
        show.dump(found)
        return
    show.table(
        ("WINDOW", "KIND", "TENANT", "STATE", "FROM", "UNTIL", "NODES AND WHY"),
        (
            (
                view.name,
                view.kind,
                view.tenant or "-",
                show.state(view.state),
                show.clock(view.start_at),
                show.clock(view.end_at),
                _nodes(view) + (f": {view.reason}" if view.reason else ""),
            )
            for view in found
        ),
        empty="No nodes are kept. Keep some: myriad reserve, myriad maintain",
    )


@windows.command()
@click.argument("name")
@given
def end(context: Context, name: str) -> None:
    """End window NAME now, or forget it before it began.

    \b
    Example:
      myriad windows end launch
    """
    with context.client() as client:
        client.end_window(name)
    click.echo(f"{name} is over; its nodes take other work.")
