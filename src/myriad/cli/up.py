"""`myriad up`: starts a control plane with its nodes on this machine, and waits until they can work."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click
from rich.live import Live
from rich.table import Table

from myriad.cli import homes, show
from myriad.cli.client import Client, Health
from myriad.cli.context import Context, given
from myriad.control.views import NodeView
from myriad.kernel.errors import UserError
from myriad.server.log import spoken
from myriad.store.postgres.connection import is_url, shown

_LOOK_EVERY_S = 0.1
_START_PATIENCE_S = 120.0
_NODES_PATIENCE_S = 180.0
#: States of a node that has not yet been found fit for work, or unfit.
_ON_THE_WAY = ("joining", "burn_in", "repairing", "suspect")


@click.command()
@click.option(
    "--site", type=click.Path(path_type=Path), help="Site file; by default 6 nodes on this machine."
)
@click.option(
    "--engine",
    type=click.Choice(["local", "slurm"]),
    help="Who runs the gangs: this machine (default), or the Slurm it is a client of.",
)
@click.option("--policy", metavar="NAME|FILE", help="Policy file, or a name of `myriad policy list`.")
@click.option("--home", "folder", metavar="DIR", help="As `myriad --home`.")
@click.option("--port", type=click.IntRange(0, 65535), help="Of the REST API; 0: any free one.")
@click.option("--gateway-port", type=click.IntRange(0, 65535), help="Of the OpenAI-compatible gateway.")
@click.option("--preload/--no-preload", default=None, help="Import torch once, for all nodes (default).")
@click.option("--host", help="Address to bind; by default this machine alone can ask.")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), help="Of server.log: for people (default), or JSON."
)
@click.option(
    "--journal",
    metavar="URL|FILE",
    help="postgresql://user@host:port/database, or a file; by default as at the last start, or in the home.",
)
@click.option("--standby", is_flag=True, help="Follow the leader on that journal; take over when it fails.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder that all nodes share, and leader and standby: results of jobs.",
)
@click.option("--foreground", is_flag=True, help="Stay, and log here, as a service manager wants it.")
@given
def up(
    context: Context,
    *,
    site: Path | None,
    engine: str | None,
    policy: str | None,
    folder: str | None,
    port: int | None,
    gateway_port: int | None,
    preload: bool | None,
    host: str | None,
    log_format: str | None,
    journal: str | None,
    standby: bool,
    data: Path | None,
    foreground: bool,
) -> None:
    """Start control plane, gateway and nodes on this machine.

    \b
    Example:
      myriad up
      myriad up --site site.yaml --port 7700 --gateway-port 7701
      myriad up --policy easy
      myriad up --journal postgresql://myriad@db.example/myriad --data /shared/myriad
      myriad up --journal postgresql://myriad@db.example/myriad --data /shared/myriad --standby
    """
    if folder:
        context.home = Path(folder).expanduser().absolute()
    options = {
        "--site": site,
        "--engine": engine,
        "--policy": policy,
        "--host": host,
        "--port": port,
        "--gateway-port": gateway_port,
        "--log-format": log_format,
        "--journal": journal,
        "--data": data,
    }
    command = _command(context.home, options, preload=preload, standby=standby)
    if foreground:
        os.execv(command[0], command)
    key_before = known.key if (known := context.addresses()) else ""
    if pid := homes.holder(context.home):
        click.echo(f"already up (pid {pid}, home {context.home})")
        if site or policy or journal or data or standby:
            click.echo("warning: options count at the next start (myriad down first)", err=True)
    else:
        _start(context, command)
    with context.local() as client:
        if (health := client.health()).role == "standby":
            _tell_standby(context, health)
            return
        _await_nodes(client)
        _tell(context, client, first=not key_before)


def _command(home: Path, options: Mapping[str, object], *, preload: bool | None, standby: bool) -> list[str]:
    command = [sys.executable, "-m", "myriad.server", "--home", str(home)]
    for name, value in options.items():
        if value is not None:
            command += [name, str(value)]
    if preload is not None:
        command.append("--preload" if preload else "--no-preload")
    return [*command, "--standby"] if standby else command


def _start(context: Context, command: list[str]) -> None:
    """Start the server in a session of its own, and return when it answers. Raises UserError if it ends."""
    log, written = context.home / "server.log", _written(context)
    try:
        context.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(
            error.strerror or str(error), field="home", value=str(context.home), remedy="Give another --home"
        ) from None
    with os.fdopen(out, "ab") as file:
        before = file.tell()
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    click.echo(f"starting the control plane (pid {server.pid}, log {log})")
    give_up_at = time.monotonic() + _START_PATIENCE_S
    while _written(context) == written or not _answers(context):
        if server.poll() is not None:
            raise _failed(homes.last_lines(log, before), log)
        if time.monotonic() > give_up_at:
            raise UserError("does not answer", field="control plane", remedy=f"Look into {log}")
        time.sleep(_LOOK_EVERY_S)
    # it lives on without us: nobody waits for it
    server.returncode = 0


def _failed(said: str, log: Path) -> UserError:
    """Why it ended: its own last line, if that is meant for people; else as much as may help."""
    if (last := spoken(said)) is not None:
        return UserError(f"{last} (from {log})")
    return UserError(f"it ended while starting:\n{said}\n(from {log})", field="control plane")


def _written(context: Context) -> int:
    """When the home's addresses were written; those of an earlier start may be a stranger's by now."""
    path = context.home / "context.json"
    return path.stat().st_mtime_ns if path.exists() else 0


def _answers(context: Context) -> bool:
    try:
        with context.local() as client:
            return client.health().ok
    except UserError:
        return False


def _await_nodes(client: Client) -> None:
    """Show the nodes until each is fit for work; those that take too long are named, and that is no error."""
    give_up_at = time.monotonic() + _NODES_PATIENCE_S
    told: dict[str, str] = {}
    live = Live(console=show.console(), refresh_per_second=8, transient=True)
    with live if sys.stdout.isatty() else _Nothing():
        while True:
            nodes = client.nodes()
            if sys.stdout.isatty():
                live.update(_progress(nodes))
            waiting = [node for node in nodes if node.state in _ON_THE_WAY]
            told = {node.node: node.state for node in nodes}
            if nodes and not waiting:
                break
            if time.monotonic() > give_up_at:
                _complain(waiting)
                break
            time.sleep(_LOOK_EVERY_S)
    ready = ", ".join(f"{node} {state}" for node, state in told.items())
    click.echo(f"nodes: {ready}" if len(told) <= 12 else f"nodes: {len(told)}")


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _progress(nodes: list[NodeView]) -> Table:
    ready = sum(node.state not in _ON_THE_WAY for node in nodes)
    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_row(f"nodes ready: {ready} of {len(nodes)}")
    for node in nodes[:16]:
        drawn.add_row(f"  {node.node}", show.state(node.state), node.why)
    return drawn


def _complain(waiting: list[NodeView]) -> None:
    for node in waiting:
        click.echo(f"warning: {node.node} is {node.state}: {node.why or 'no reason is known'}", err=True)


def _tell_standby(context: Context, health: Health) -> None:
    known = context.addresses()
    assert known
    show.pairs(
        [
            ("standby of", health.leader or "nobody yet"),
            ("which is at", health.leader_url),
            ("home", context.home),
            ("REST", f"{known.api_url} (until it leads: health alone)"),
            ("entries folded", health.journal_seq),
        ]
    )


def _tell(context: Context, client: Client, *, first: bool) -> None:
    site = client.site()
    known = context.addresses()
    assert known
    show.pairs(
        [
            ("site", f"{site.name}: {site.nodes} nodes, {site.chips} chips of type {site.chip}"),
            ("home", context.home),
            ("journal", shown(known.journal) if is_url(known.journal) else known.journal),
            ("shared folder", known.data),
            ("REST", site.api_url or known.api_url),
            ("gateway", f"{(site.gateway_url or known.gateway_url).rstrip('/').removesuffix('/v1')}/v1"),
            ("operator key", known.key if first else ""),
            ("kept in", context.home / "context.json" if first else ""),
        ]
    )
    if first:
        click.echo("Next: myriad tenant apply examples/tenants.yaml")
