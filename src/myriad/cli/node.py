"""`myriad nodes`, `drain`, `undrain`: the nodes of the site and whether they take work."""

import click

from myriad.cli import show
from myriad.cli.context import Context, given
from myriad.control.views import NodeView


@click.command()
@show.as_json
@given
def nodes(context: Context, as_json: bool) -> None:
    """List the nodes, what runs there, and what is wrong.


    \b
    Example:
      myriad nodes
    """
    with context.client() as client:
        found = client.nodes()
    if as_json:
        show.dump(found)
        return
    show.table(
        ("NODE", "STATE", "RACK", ">CHIPS", ">FREE", ">GFLOP/S", ">LOST", "RUNS", "WHY"),
        (_row(node) for node in found),
        empty="The site has no nodes.",
    )


def _row(node: NodeView) -> tuple[object, ...]:
    kept_out = node.cordoned and node.state not in ("drained", "draining")
    state = show.state(node.state) + (" (cordoned)" if kept_out else "")
    if node.slow:
        state = state + f" (slow: {node.slow:.2f} x)"
    why = node.why
    if node.occupied_by and node.state != "occupied":
        state, why = state + " (shared)", f"{why}; also used by {node.occupied_by}"
    why += f", until {show.clock(node.occupied_until)}" if node.occupied_until else ""
    flops = f"{node.gemm_flops / 1e9:,.0f}" if node.gemm_flops else "-"
    runs = ", ".join(node.attempts) or "-"
    return node.node, state, node.rack, node.chips, node.chips_free, flops, node.losses or "-", runs, why


@click.command()
@click.argument("node")
@click.option("--reason", default="", help="Kept on record and shown to others.")
@given
def drain(context: Context, node: str, reason: str) -> None:
    """Take NODE out of service.

    What runs there checkpoints first, then moves elsewhere.

    \b
    Example:
      myriad drain n2 --reason "new power supply"
    """
    with context.client() as client:
        client.drain(node, reason)
    click.echo(f"{node} is being drained. See `myriad nodes`; `myriad undrain {node}` gives it back.")


@click.command()
@click.argument("node")
@given
def undrain(context: Context, node: str) -> None:
    """Give NODE back to the site.

    \b
    Example:
      myriad undrain n2
    """
    with context.client() as client:
        client.undrain(node)
    click.echo(f"{node} takes work again.")
