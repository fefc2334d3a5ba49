"""`myriad site`: the site in one look, and the site file of an existing Slurm."""

import click

from myriad.cli import show
from myriad.cli.context import Context, given


@click.group(invoke_without_command=True)
@show.as_json
@given
@click.pass_context
def site(ctx: click.Context, context: Context, as_json: bool) -> None:
    """Show the site: nodes by state, work, addresses.

    \b
    Example:
      myriad site
      myriad site import-slurm > my-slurm.yaml
    """
    if ctx.invoked_subcommand is None:
        _show(context, as_json)


@site.command("import-slurm")
@click.option(
    "--partition", default="", metavar="NAME", help="Whose nodes; Slurm's default partition unless said."
)
@click.option(
    "--chip",
    "chips",
    multiple=True,
    metavar="NAME",
    help="Chip type of the catalogue, or TYPE=NAME for nodes of one GRES type; may be repeated.",
)
@click.option("--gres", default="gpu", show_default=True, help="Slurm's generic resource that counts chips.")
def import_slurm(partition: str, chips: tuple[str, ...], gres: str) -> None:
    """Print a site file with the nodes, chips and topology that Slurm knows.

    Run it where sinfo works. Nodes are those of one partition; racks are leaf switches, pods what is above.

    \b
    Example:
      myriad site import-slurm > my-slurm.yaml
      myriad site import-slurm --partition train --chip h100=h100-sxm > my-slurm.yaml
      myriad up --engine slurm --site my-slurm.yaml
    """
    from myriad.engines.slurm.site import drafting, importing

    found = drafting.draft(importing.ask(gres), partition=partition, gres=gres, told=chips)
    click.echo(found.text, nl=False)


def _show(context: Context, as_json: bool) -> None:
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
