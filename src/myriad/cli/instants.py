"""Instants as people write them: `2026-08-01T02:00`, `+2h`, `now`; and spans."""

import re
import time
from datetime import datetime
from typing import Final

from myriad.kernel import units
from myriad.kernel.errors import UserError
from myriad.kernel.units import SECOND, Instant, Span

_EXAMPLE: Final = "Write for example +2h, 2026-08-01T02:00 (this machine's time zone) or 2026-08-01T02:00Z"
_MONTH: Final = re.compile(r"(\d{4})-(\d{2})")
_TIME: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


def now() -> Instant:
    """By this machine's clock."""
    return time.time_ns()


def instant(text: str, field: str) -> Instant:
    """An instant. Raises UserError naming the option."""
    text = text.strip()
    if text == "now":
        return now()
    if text.startswith("+"):
        return now() + span(text[1:], field)
    if _TIME.fullmatch(text):
        raise UserError("has no day", field=field, value=text, remedy=_EXAMPLE)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UserError("is not understood", field=field, value=text, remedy=_EXAMPLE) from None
    return round(found.timestamp()) * SECOND


def period(start: str, end: str, month: str) -> tuple[Instant, Instant] | None:
    """From options of a command; None: all there is. Raises UserError naming the option."""
    if not (start or end or month):
        return None
    if not month:
        return instant(start, "--from") if start else 0, instant(end, "--to") if end else now()
    if start or end:
        raise UserError(
            "is a period of its own", field="--month", value=month, remedy="Give it alone, or --from and --to"
        )
    if not (found := _MONTH.fullmatch(month)) or not 1 <= int(found[2]) <= 12:
        raise UserError("is not a month", field="--month", value=month, remedy="Write for example 2026-11")
    months = int(found[1]) * 12 + int(found[2]) - 1
    first, after = (f"{k // 12:04}-{k % 12 + 1:02}-01" for k in (months, months + 1))
    return instant(first, "--month"), instant(after, "--month")


def span(text: str, field: str) -> Span:
    """A span. Raises UserError naming the option."""
    try:
        found = units.span_ns(text)
    except ValueError as error:
        problem, _, remedy = str(error).partition(": write")
        said = problem.partition("' ")[2] or problem
        raise UserError(said, field=field, value=text, remedy=f"Write{remedy}" if remedy else "") from None
    if not found:
        raise UserError("must be more than zero", field=field, value=text, remedy="Write for example 2h")
    return found
