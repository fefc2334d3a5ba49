"""How the command line shows things: tables, instants and amounts for people, JSON for programs.

On a terminal rich draws and colours; into a pipe or a file goes plain text without trailing blanks.
"""

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from myriad.kernel import units
from myriad.kernel.errors import UserError
from myriad.kernel.units import Instant, Span

#: Columns of text that is not shown on a terminal.
_PLAIN_COLUMNS = 120
#: The colour of a state, wherever states are shown.
_COLOURS = {
    "green": ("ready", "running", "succeeded", "allocated", "open"),
    "cyan": ("spare", "starting", "placed", "planned", "checkpointing", "joining", "burn_in", "admitted"),
    "yellow": ("draining", "drained", "suspect", "interrupted", "stalled", "leaving", "stopping"),
    "red": ("failed", "repairing", "lost"),
    "dim": ("cancelled", "retired", "occupied"),
}
STYLES = {state: colour for colour, states in _COLOURS.items() for state in states}

Command = Callable[..., Any]


def console() -> Console:
    """Where people read. Made anew each time, because tests and pipes exchange the streams."""
    return Console(width=None if sys.stdout.isatty() else _plain_columns(), highlight=False, soft_wrap=False)


def _plain_columns() -> int:
    return shutil.get_terminal_size((_PLAIN_COLUMNS, 24)).columns


def as_json(command: Command) -> Command:
    """The option `--json`, alike on every command that lists things."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def dump(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(as_text(value))


def as_text(value: object) -> str:
    """A value as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under headings; a heading that begins with `>` is a column of numbers.

    The last column may wrap; the others stay on one line.
    """
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(columns, 1):
        right = name.startswith(">")
        wraps = number == len(columns) and not right
        drawn.add_column(
            name.removeprefix(">"),
            justify="right" if right else "left",
            no_wrap=not wraps,
            overflow="fold" if wraps else "ellipsis",
        )
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    if not drawn.row_count:
        click.echo(empty)
        return
    render(drawn)


def render(drawn: object) -> None:
    """Print something rich draws, without trailing blanks."""
    screen = console()
    with screen.capture() as caught:
        screen.print(drawn)
    click.echo("\n".join(line.rstrip() for line in caught.get().rstrip("\n").split("\n")))


def pairs(items: Iterable[tuple[str, object]]) -> None:
    """Print `name  value` lines, values aligned; pairs without a value are left out."""
    kept = [(name, value) for name, value in items if value not in ("", None)]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in kept:
        grid.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    render(grid)


def state(word: str) -> Text:
    """A state in its colour."""
    return Text(word, style=STYLES.get(word, ""))


def clock(at: Instant) -> str:
    """An instant in the reader's own time zone, to the second; `-` when there is none."""
    if not at:
        return "-"
    moment = datetime.fromtimestamp(at / units.SECOND, tz=UTC).astimezone()
    today = datetime.now(tz=UTC).astimezone().date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")


def span(length: Span) -> str:
    """A span; `-` when there is none."""
    return units.show_span(length) if length else "-"


def chip_time(chip_ns: int) -> str:
    """Chips x time: chip-seconds while small, chip-hours from ten up."""
    if chip_ns < 10 * units.HOUR:
        return f"{chip_ns / units.SECOND:,.1f} chip-s"
    return f"{chip_ns / units.HOUR:,.1f} chip-h"


def number(value: float) -> str:
    """A count with separators; at most three decimals."""
    if isinstance(value, float) and value != int(value):
        return f"{value:,.3f}"
    return f"{int(value):,}"


def percent(share: float) -> str:
    """A share as percent."""
    return f"{100 * share:.1f} %"


def money(amount: Decimal | str, currency: str) -> str:
    """An amount of money, to the cent."""
    return f"{Decimal(amount):,.2f} {currency}"


def bar(share: float, width: int = 30) -> str:
    """A bar of text; anything above nothing shows at least a sliver."""
    eighths = round(share * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    part = " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    return "█" * (eighths // 8) + part


def write(path: Path, text: str) -> None:
    """Write a file. Raises UserError when that is not possible."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(error.strerror or str(error), field="file", value=str(path)) from None
