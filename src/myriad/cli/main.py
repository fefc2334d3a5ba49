"""`myriad`: the group of all commands, the options before a command, and what becomes of errors."""

import sys
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any, Final

import click

from myriad.cli.context import DEFAULT_HOME, Context
from myriad.kernel.errors import UserError, near

#: Command -> its module, in the order of a first day. A module is imported when its command is run, or asked
#: for its help, so that a command which needs no server does not wait for the parts of one.
COMMANDS: Final = {
    "up": "up", "down": "down", "doctor": "doctor", "site": "site", "policy": "policy",
    "nodes": "node", "drain": "node", "undrain": "node",
    "incidents": "incident", "windows": "window", "reserve": "window", "maintain": "window",
    "tenant": "tenant", "key": "key", "submit": "submit", "jobs": "job", "explain": "job", "logs": "job",
    "cancel": "job", "report": "job", "serve": "service", "services": "service", "unserve": "service",
    "chat": "chat", "ledger": "book", "invoice": "book", "predictions": "book",
    "journal": "journal", "backup": "backup", "restore": "backup",
    "catalog": "catalog",
    "validate": "validate",
    "plan": "plan",
    "simulate": "simulate", "sweep": "sweep", "twin": "twin",
}  # fmt: skip


class _Lazy(MutableMapping[str, click.Command]):
    """Commands by name, each imported when it is first looked up."""

    def __init__(self, modules: dict[str, str]) -> None:
        self._modules = modules
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            module = import_module(f"myriad.cli.{self._modules[name]}")
            self._loaded[name] = getattr(module, name)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._modules or name in self._loaded

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        self._modules.pop(name, None)
        self._loaded.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._modules, *self._loaded]))

    def __len__(self) -> int:
        return len({*self._modules, *self._loaded})


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


cli.commands = _Lazy(dict(COMMANDS))


def main() -> None:
    """The entry point."""
    try:
        cli(prog_name="myriad")
    except BrokenPipeError:
        # whoever read us has gone, as `myriad jobs | head -1` does
        sys.stderr.close()
