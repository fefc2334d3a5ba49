"""`myriad site`: the site in one look."""

import click

from myriad.cli import show
from myriad.cli.context import Context, given


@click.command()
@show.as_json
@given
def site(context: Context, as_json: bool) -> None:
    """Show the site: nodes by state, work, addresses.

    \b
    Example:
      myriad site
    """
    with context.client() as client:
        found = client.site()
    if as_json:
        show.dump(found)
        return
    states = ", ".join(f"{count} {state}" for state, count in found.nodes_by_state.items())
    show.pairs(
        [
            ("site", f"{found.name} ({'open' if found.open else 'closed'})"),
            ("chip type", found.chip),
            ("nodes", f"{found.nodes}: {states}" if states else found.nodes),
            ("chips", f"{found.chips}, {found.chips_free} free"),
            ("idle because", found.idle_reason.replace("_", " ") if found.chips_free else ""),
            ("jobs", f"{found.jobs_running} on chips, {found.jobs_waiting} waiting"),
            ("gangs", found.gangs_live),
            ("REST", found.api_url),
            ("gateway", found.gateway_url),
            ("up since", show.clock(found.started_at)),
        ]
    )
