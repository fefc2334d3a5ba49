"""What the server says of itself: one event a line on stderr, for people or, as JSON, for programs.

People read `2026-11-28 12:00:00 myriad: text`; further lines of one event are indented. `--log-format json`
makes each event one object: time, level, event, text, fields. What libraries log comes out in the same form.
Nothing below the server logs: the core says what it did in facts.
"""

import logging
import re
import sys
import time
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

import msgspec

Form = Literal["text", "json"]
Level = Literal["info", "warning", "error"]
FORMS: Final[tuple[Form, ...]] = ("text", "json")

_SPOKEN: Final = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d myriad: ")
#: Events that may come by the thousand are told once in this time, with how many there were.
_QUIET_S: Final = 1.0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One event in JSON. The words of `event` are listed in docs/guide/production.md."""

    time: str
    level: Level
    event: str
    text: str
    fields: dict[str, str | int | float | bool] = {}


class _Voice:
    """Where events go and in which form; one for the process, as stderr is."""

    def __init__(self) -> None:
        self.form: Form = "text"
        self.out: TextIO | None = None  # stderr as it is when an event comes
        #: Event -> when it may be told again, and how many were not told.
        self.quiet: dict[str, tuple[float, int]] = {}


_voice = _Voice()


def use(form: Form, out: TextIO | None = None) -> None:
    """Speak in this form from now on; libraries too."""
    _voice.form, _voice.out = form, out
    root = logging.getLogger()
    if not any(isinstance(handler, _Bridge) for handler in root.handlers):
        root.addHandler(_Bridge(logging.WARNING))


def info(event: str, text: str, **fields: str | int | float | bool) -> None:
    """Something happened as it should."""
    _write("info", event, text, fields)


def warning(event: str, text: str, **fields: str | int | float | bool) -> None:
    """Something that an operator should know of; work goes on."""
    _write("warning", event, text, fields)


def error(event: str, text: str, **fields: str | int | float | bool) -> None:
    """Something failed."""
    _write("error", event, text, fields)


def often(level: Level, event: str, text: str, **fields: str | int | float | bool) -> None:
    """An event that may come in masses: told once a second, with the number of those left out (`more`)."""
    now = time.monotonic()
    until, more = _voice.quiet.get(event, (0.0, 0))
    if now < until:
        _voice.quiet[event] = (until, more + 1)
        return
    _voice.quiet[event] = (now + _QUIET_S, 0)
    if more:
        text, fields = f"{text} (and {more} more before)", {**fields, "more": more}
    _write(level, event, text, fields)


def spoken(said: str) -> str | None:
    """The text of the last event in what a server wrote for people; None when there is none."""
    lines = said.rstrip("\n").split("\n")
    for number in range(len(lines) - 1, -1, -1):
        if found := _SPOKEN.match(lines[number]):
            return "\n".join([lines[number][found.end() :], *lines[number + 1 :]])
        if not lines[number].startswith("    "):
            return None
    return None


def _write(level: Level, event: str, text: str, fields: dict[str, str | int | float | bool]) -> None:
    now = datetime.now(UTC)
    if _voice.form == "json":
        stamp = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = Line(time=stamp, level=level, event=event, text=text, fields=fields)
        shown = msgspec.json.encode(line).decode()
    else:
        shown = f"{now.astimezone():%Y-%m-%d %H:%M:%S} myriad: " + text.replace("\n", "\n    ")
    print(shown, file=_voice.out or sys.stderr, flush=True)


class _Bridge(logging.Handler):
    """Passes on what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        """One event, with the traceback if there is one."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        _write(level, "library", text, {"logger": record.name})
