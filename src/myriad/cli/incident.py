"""`myriad incidents`: events that took many nodes at once."""

import click

from myriad.cli import show
from myriad.cli.context import Context, given
from myriad.control.views import IncidentView


@click.command()
@show.as_json
@given
def incidents(context: Context, as_json: bool) -> None:
    """List incidents: those that are open, newest first, then the last that are over.

    \b
    Example:
      myriad incidents
    """
    with context.client() as client:
        found = client.incidents()
    if as_json:
        show.dump(found)
        return
    show.table(
        ("INCIDENT", "STATE", "WHERE", "SINCE", "UNTIL", ">NODES", ">OUT", "WHY"),
        (_row(one) for one in found),
        empty="No incidents.",
    )


def _row(one: IncidentView) -> tuple[object, ...]:
    state = f"part of {one.into}" if one.into else "over" if one.closed_at else "open"
    return (
        one.incident,
        show.state(state),
        f"{one.kind} {one.domain}".rstrip(),
        show.clock(one.since),
        show.clock(one.closed_at),
        len(one.nodes),
        len(one.out) or "-",
        one.why,
    )
