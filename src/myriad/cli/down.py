"""`myriad down`: lets everything checkpoint, then ends nodes and control plane. Idempotent."""

import asyncio
import signal
import time

import click

from myriad.cli import homes
from myriad.cli.client import Client
from myriad.cli.context import Context, given
from myriad.engines.common import procs
from myriad.engines.common.procs import Process
from myriad.engines.local import nursery
from myriad.kernel.errors import UserError
from myriad.kernel.units import SECOND, show_span, span_ns

_LOOK_EVERY_S = 0.05
_END_PATIENCE_S = 30.0
#: The control plane could not be asked.
_SILENT = (503, 504)


@click.command()
@click.option(
    "--grace", default="30s", show_default=True, help="How long running work may take to checkpoint."
)
@given
def down(context: Context, grace: str) -> None:
    """Stop the site on this machine.

    Jobs checkpoint first, and go on at the next `myriad up`.

    \b
    Example:
      myriad down --grace 30s
    """
    grace_ns = _span(grace)
    home, pid = homes.data(context), homes.holder(context.home)
    if pid and _ended_standby(context, pid):
        return
    server = procs.find(pid) if pid else None
    nodes = homes.nodes_left(home)
    if not pid and not nodes:
        click.echo(f"nothing runs in {context.home}")
        return
    if server and not _closed(context, grace_ns, server):
        click.echo(f"the control plane (pid {pid}) does not answer: ending it", err=True)
        _end(server)
    if left := homes.nodes_left(home):
        if not pid:
            click.echo("no control plane runs; ending the nodes it left behind", err=True)
        asyncio.run(nursery.end_all(home))
        assert not homes.nodes_left(home), left
    ended = ([f"the control plane (pid {pid})"] if pid else []) + (
        [f"nodes {', '.join(nodes)}"] if nodes else []
    )
    click.echo(f"stopped {' and '.join(ended)}")


def _ended_standby(context: Context, pid: int) -> bool:
    """End it if it is a standby: the site is another's, and goes on."""
    try:
        with context.local() as client:
            health = client.health()
    except UserError:
        return False
    if health.role != "standby":
        return False
    if server := procs.find(pid):
        _end(server)
    click.echo(f"stopped the standby (pid {pid}); {health.leader_url or 'another'} leads on")
    return True


def _span(text: str) -> int:
    try:
        return span_ns(text)
    except ValueError as error:
        raise UserError(str(error), field="--grace") from None


def _closed(context: Context, grace_ns: int, server: Process) -> bool:
    """Ask the server to close the site, and wait until it has ended. False when it does not answer."""
    try:
        with context.local() as client:
            _announce(client, grace_ns)
            client.close_site(grace_ns / SECOND)
    except UserError as error:
        if error.status not in _SILENT:
            raise
        return False
    return _has_ended(server)


def _announce(client: Client, grace_ns: int) -> None:
    site = client.site()
    if site.gangs_live:
        gangs = "1 gang is" if site.gangs_live == 1 else f"{site.gangs_live} gangs are"
        click.echo(f"{gangs} asked to leave, with {show_span(grace_ns)} to checkpoint")


def _end(server: Process) -> None:
    """End the control plane: politely, then for certain."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        procs.send(server.pid, number)
        if _has_ended(server):
            return


def _has_ended(server: Process) -> bool:
    """Wait for its end, not too long."""
    give_up_at = time.monotonic() + _END_PATIENCE_S
    while procs.alive(server.pid, server.started):
        if time.monotonic() > give_up_at:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True
