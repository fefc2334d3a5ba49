"""`myriad doctor`: is this machine fit for a control plane, and what is to be mended. Needs none to run."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
from rich.text import Text

from myriad.cli import homes, show
from myriad.cli.context import Context, given
from myriad.control.sitefile import Setup
from myriad.engines.slurm import config, health
from myriad.engines.slurm.users import accounthealth, userhealth
from myriad.kernel.errors import UserError
from myriad.kernel.findings import Finding, fail, skip
from myriad.server.checks import around, folders, machine

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "dim"}


@click.command()
@click.option(
    "--engine",
    type=click.Choice(["local", "slurm", "memory"]),
    default="local",
    show_default=True,
    help="slurm: look at Slurm too.",
)
@click.option("--site", type=click.Path(path_type=Path), help="Site file to check.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder that nodes share; by default the home.")
@click.option("--journal", default="", metavar="URL", help="PostgreSQL, when the journal is there.")
@click.option(
    "--port", default=7700, show_default=True, type=click.IntRange(0, 65535), help="Of the REST API."
)
@click.option(
    "--gateway-port", default=7701, show_default=True, type=click.IntRange(0, 65535), help="Of the gateway."
)
@show.as_json
@given
def doctor(
    context: Context,
    *,
    engine: str,
    site: Path | None,
    data: Path | None,
    journal: str,
    port: int,
    gateway_port: int,
    as_json: bool,
) -> None:
    """Check this machine, its folders and what is around; each trouble with its remedy.

    Exit code 1 when something fails. Changes nothing.

    \b
    Example:
      myriad doctor
      myriad doctor --engine slurm --site site.yaml --data /shared/myriad --journal postgresql://db/myriad
    """
    found_site, setup = around.site(site)
    found = [*_here(context.home, data or context.home), found_site]
    found += _around(context, journal, {"REST": port, "gateway": gateway_port})
    if engine == "slurm":
        nodes = [str(place.node) for place in setup.site.places()] if setup else []
        found += health.findings(_partition(setup), nodes)
        if setup:
            section = config.read(setup.slurm, "site")
            found += userhealth.findings(section, (data or context.home).absolute())
            found += accounthealth.findings(section)
    if as_json:
        show.dump(found)
    else:
        show.table(("CHECK", "RESULT", "FOUND, AND THE REMEDY"), (_row(one) for one in found), empty="")
        bad = [sum(one.result == result for one in found) for result in ("fail", "warn")]
        click.echo(f"{bad[0]} to mend, {bad[1]} to look at, of {len(found)} checks")
    if any(one.result == "fail" for one in found):
        raise click.exceptions.Exit(1)


def _here(home: Path, data: Path) -> Iterator[Finding]:
    """The machine and its folders."""
    yield machine.python()
    yield machine.packages()
    yield machine.limits()
    yield machine.device()
    yield from folders.home(home)
    yield folders.room("home", home)
    yield folders.disk(home)
    yield from folders.data(data)
    if data != home:
        yield folders.room("data", data)


def _around(context: Context, journal: str, ports: dict[str, int]) -> Iterator[Finding]:
    """The journal, the database, ports, and the control plane that runs."""
    if journal:
        yield skip("journal", "it is in PostgreSQL")
    else:
        yield around.journal(context.home / "journal.db")
    yield from around.database(journal)
    pid = homes.holder(context.home)
    try:
        known = context.addresses()
    except UserError as error:
        yield fail("addresses", str(error), error.remedy or "Move context.json away and start anew")
        known = None
    ours = {urlsplit(url).port for url in (known.api_url, known.gateway_url)} if known and pid else set()
    for name, number in ports.items():
        yield around.port(name, "127.0.0.1", number, pid if number in ours else 0)
    if known and pid:
        yield from around.control_plane(known.api_url)
    else:
        yield skip("control plane", "none runs for this home")


def _partition(setup: Setup | None) -> str:
    section = getattr(setup, "slurm", None) or {}
    return str(section.get("partition", ""))


def _row(found: Finding) -> tuple[object, ...]:
    told = f"{found.found}\n  -> {found.remedy}" if found.remedy else found.found
    return found.check, Text(found.result, style=_COLOURS[found.result]), told
