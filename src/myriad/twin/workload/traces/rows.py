"""What every trace format is read into, and the errors that name file, line, column and value."""

import csv
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from myriad.kernel.errors import UserError
from myriad.protocol.values import Outcome

#: States of batch systems. The publishers of Helios and Acme count time-outs and node failures, which are
#: rare, as failed; so do we.
OUTCOMES: Final[Mapping[str, Outcome]] = {
    "COMPLETED": "succeeded",
    "SUCCEEDED": "succeeded",
    "PASS": "succeeded",
    "FAILED": "failed",
    "TIMEOUT": "failed",
    "NODE_FAIL": "failed",
    "OUT_OF_MEMORY": "failed",
    "CANCELLED": "cancelled",
    "CANCELED": "cancelled",
    "KILLED": "cancelled",
    "DELETED": "cancelled",
}

#: Why a sound row is no job of ours: it is left out and counted.
NO_CHIPS: Final = "asks for no accelerator"
NEVER_RAN: Final = "never ran"
STILL_RAN: Final = "still ran when the trace was taken"


class Row(NamedTuple):
    """One job of a trace."""

    line: int
    job: str
    tenant: str  # whose quota it counts against: a virtual cluster, or a user where there are none
    kind: str  # what it is for, if the trace says so
    chips: float  # may be parts of one
    submit_s: float  # since the epoch, or since the trace's own start
    run_s: float
    wait_s: float  # in the real queue; -1: not recorded
    outcome: Outcome


class Flaw(ValueError):
    """A row that cannot be read."""

    def __init__(self, column: str, value: object, problem: str) -> None:
        self.column, self.value, self.problem = column, value, problem
        super().__init__(f"{column}: {problem} (got {value!r})")


class Cells:
    """One row by column name, read with errors that name the column."""

    def __init__(self, names: Mapping[str, int], values: list[str], line: int) -> None:
        self._names, self._values, self.line = names, values, line

    def text(self, column: str) -> str:
        """What stands there, without blanks."""
        at = self._names[column]
        if at >= len(self._values):
            raise Flaw(
                column, f"{len(self._values)} columns", f"is missing: the header has {len(self._names)}"
            )
        return self._values[at].strip()

    def given(self, column: str) -> bool:
        """Whether something stands there."""
        return column in self._names and self.text(column) not in ("", "None", "nan", "NaN", "NaT")

    def number(self, column: str) -> float:
        """A number of 0 or more."""
        text = self.text(column)
        try:
            value = float(text)
        except ValueError:
            raise Flaw(column, text, "is not a number" if text else "is empty") from None
        if not math.isfinite(value):
            raise Flaw(column, text, "is not a number")
        if value < 0:
            raise Flaw(column, text, "is negative")
        return value

    def instant_s(self, column: str) -> float:
        """Seconds since the epoch of a date and time. One without an offset counts as UTC."""
        return instant_s(column, self.text(column))

    def outcome(self, column: str) -> Outcome:
        """How it ended."""
        text = self.text(column)
        found = OUTCOMES.get(text.upper())
        if found is None:
            raise Flaw(column, text, "is not a state known here (" + ", ".join(OUTCOMES) + ")")
        return found


def instant_s(column: str, text: str) -> float:
    """Seconds since the epoch of `2020-06-09 18:41:01`, with an offset or without."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        problem = "is not a date and time such as 2020-06-09 18:41:01" if text else "is empty"
        raise Flaw(column, text, problem) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def ran_s(cells: Cells) -> float:
    """Run time of batch-system logs: `duration`, checked against start and end where both are given."""
    if cells.given("duration"):
        return cells.number("duration")
    started, ended = cells.instant_s("start_time"), cells.instant_s("end_time")
    if ended < started:
        raise Flaw("end_time", cells.text("end_time"), "is before start_time")
    return ended - started


def table(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of a CSV file, the header first, without comments (`#`) and empty lines."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for cells in reader:
                if cells and not cells[0].lstrip().startswith("#") and any(cells):
                    yield reader.line_num, cells
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(reason, field="trace", value=str(path), remedy="Check the path") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"is not a CSV text: {error}", field="trace", value=str(path)) from None


def explained(path: Path, line: int, flaw: Flaw) -> UserError:
    """The error of a bad row."""
    return UserError(
        flaw.problem,
        field=f"{path.name}, line {line}, column {flaw.column}",
        value=flaw.value,
        remedy="Mend the row, or leave such rows out with skip_bad_rows (--skip-bad-rows)",
    )
