"""`myriad down`: lets everything checkpoint, then ends nodes and control plane. Idempotent."""

import asyncio
import os
import signal
import time
from pathlib import Path

import click

from myriad.cli import homes
from myriad.cli.client import Client
from myriad.cli.context import Context, given
from myriad.engines.local import nursery
from myriad.kernel.errors import UserError
from myriad.kernel.units import SECOND, show_span, span_ns

_LOOK_EVERY_S = 0.1
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
    home, pid = context.home, homes.holder(context.home)
    nodes = homes.nodes_left(home)
    if not pid and not nodes:
        click.echo(f"nothing runs in {home}")
        return
    if pid and not _closed(context, grace_ns):
        click.echo(f"the control plane (pid {pid}) does not answer: ending it", err=True)
        _end(home, pid)
    if left := homes.nodes_left(home):
        if not pid:
            click.echo("no control plane runs; ending the nodes it left behind", err=True)
        asyncio.run(nursery.end_all(home))
        assert not homes.nodes_left(home), left
    ended = ([f"the control plane (pid {pid})"] if pid else []) + (
        [f"nodes {', '.join(nodes)}"] if nodes else []
    )
    click.echo(f"stopped {' and '.join(ended)}")


def _span(text: str) -> int:
    try:
        return span_ns(text)
    except ValueError as error:
        raise UserError(str(error), field="--grace") from None


def _closed(context: Context, grace_ns: int) -> bool:
    """Ask the server to close the site, and wait until it has ended. False when it does not answer."""
    pid = homes.holder(context.home)
    try:
        with context.local() as client:
            _announce(client, grace_ns)
            client.close_site(grace_ns / SECOND)
    except UserError as error:
        if error.status not in _SILENT:
            raise
        return False
    _await_end(context.home, pid)
    return not homes.holder(context.home)


def _announce(client: Client, grace_ns: int) -> None:
    site = client.site()
    if site.gangs_live:
        click.echo(
            f"{site.gangs_live} gangs are asked to leave; they have {show_span(grace_ns)} to checkpoint"
        )


def _end(home: Path, pid: int) -> None:
    """End the control plane of the home: politely, then for certain."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if homes.holder(home) == pid:
            os.kill(pid, number)
            _await_end(home, pid)


def _await_end(home: Path, pid: int) -> None:
    give_up_at = time.monotonic() + _END_PATIENCE_S
    while homes.holder(home) == pid and time.monotonic() < give_up_at:
        time.sleep(_LOOK_EVERY_S)
