"""Progress bars on the error stream, and only where a person watches it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

#: Hears how much is done, and what to say of it.
Tell = Callable[[float, str], None]


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """So many a second, averaged over the last moments."""
        speed = task.speed or 0.0
        return Text(f"{speed:,.1f} {self._unit}/s" if speed else "")


@contextmanager
def bar(what: str, total: float | None, unit: str) -> Iterator[Tell]:
    """A bar of `total` units (None: no end is known); what it yields does nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda _done, _note: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        _Speed(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task(what, total=total, note="")
        yield lambda done, note: drawn.update(task, completed=done, note=note)
