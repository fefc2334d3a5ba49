"""Commands and options are a promise to those who wrote scripts: a change shows up as a diff of commands.txt.

`python -m tests.cli.test_commands` writes the file anew.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from myriad.cli.main import cli

LISTING = Path(__file__).with_name("commands.txt")


def commands(command: click.Command, path: str = "myriad") -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name."""
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}")


def listing() -> str:
    """Each command, its arguments and options, one a line."""
    lines = []
    for path, command in commands(cli):
        lines.append(path)
        lines += [f"    {_described(parameter)}" for parameter in command.params]
    return "\n".join(lines) + "\n"


def _described(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        name = (parameter.name or "").upper()
        return name if parameter.required else f"[{name}]"
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    flag = isinstance(parameter, click.Option) and parameter.is_flag
    return names if flag else f"{names} {parameter.type.name}"


def test_commands_and_options_are_as_promised() -> None:
    assert listing() == LISTING.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [path for path, _ in commands(cli)])
def test_every_command_explains_itself_with_an_example(path: str) -> None:
    done = CliRunner().invoke(cli, [*path.split()[1:], "--help"], env={"COLUMNS": "80"})
    assert done.exit_code == 0
    assert "Example" in done.output
    assert f"  {path}" in done.output, "the example shows the command itself"


def test_what_lists_things_also_lists_them_as_json() -> None:
    nouns = (
        "site",
        "nodes",
        "jobs",
        "explain",
        "report",
        "services",
        "ledger",
        "invoice",
        "predictions",
        "windows",
    )
    for name in (*nouns, "journal", "incidents", "tenant"):
        assert "--json" in [option for one in cli.commands[name].params for option in one.opts], name


if __name__ == "__main__":
    LISTING.write_text(listing(), encoding="utf-8")
