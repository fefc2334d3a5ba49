"""`myriad`: the group of all commands, the options before a command, and what becomes of errors."""

import sys
from typing import Any

import click

from myriad.cli import (
    book,
    catalog,
    chat,
    down,
    job,
    journal,
    key,
    node,
    service,
    site,
    submit,
    tenant,
    up,
)
from myriad.cli.context import DEFAULT_HOME, Context
from myriad.kernel.errors import UserError, near

#: In the order of a first day.
COMMANDS = (
    up.up,
    down.down,
    site.site,
    node.nodes,
    node.drain,
    node.undrain,
    tenant.tenant,
    key.key,
    submit.submit,
    job.jobs,
    job.explain,
    job.logs,
    job.cancel,
    job.report,
    service.serve,
    service.services,
    service.unserve,
    chat.chat,
    book.ledger,
    book.invoice,
    book.predictions,
    journal.journal,
    catalog.catalog,
)


class Commands(click.Group):
    """A group that lists commands in our order and tells people's mistakes in one line, exit code 2."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """In the order they were added."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with near misses."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise UserError(
                "is not a command", field="myriad", value=args[0], remedy=near(args[0], self.commands)
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a UserError ends it."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--home", envvar="MYRIAD_HOME", metavar="DIR", help=f"The control plane's folder ({DEFAULT_HOME})."
)
@click.option("--url", envvar="MYRIAD_URL", help="Its address, when it is not of this home.")
@click.option("--key", "bearer", envvar="MYRIAD_KEY", help="Whose rights to use; the operator's by default.")
@click.option("--as", "tenant", metavar="TENANT", help="Use the key of a tenant kept on this machine.")
@click.version_option(package_name="myriad", prog_name="myriad")
@click.pass_context
def cli(ctx: click.Context, home: str, url: str, bearer: str, tenant: str) -> None:
    """The control plane of an AI cluster: trains, survives failures, serves and bills.

    \b
    Example, on one machine:
      myriad up
      myriad tenant apply examples/tenants.yaml
      myriad submit examples/pretrain.yaml --watch
      myriad serve examples/service.yaml
      myriad chat tiny-coder "def fibonacci("
      myriad down
    """
    ctx.obj = Context(home or "", url or "", bearer or "", tenant or "")


for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """The entry point."""
    try:
        cli(prog_name="myriad")
    except BrokenPipeError:
        # whoever read us has gone, as `myriad jobs | head -1` does
        sys.stderr.close()
