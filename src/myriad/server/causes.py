"""The cause of a journal entry: which input, about what, asked by whom, under which idempotency key.

`CancelJob tiny-llama-1 by key-3fa1` for intents, `MemberStarted tiny-llama-1.1` for observations. People
read it in the journal; after a restart the server reads from it which retries it has answered before.
"""

from functools import cache
from typing import NamedTuple

from myriad.protocol.inputs import Input

#: The field that says what an input is about, by preference.
_SUBJECTS = ("job", "service", "attempt", "node", "request", "key", "about", "name", "window", "tenant")
_BY, _ONCE = " by ", " once "


class Asked(NamedTuple):
    """Who asked, for the audit."""

    by: str = ""  # key id; empty for observations and timers
    once: str = ""  # digest of the idempotency key and who sent it


NOBODY = Asked()
#: The cause of what the scheduler decided after several inputs that came together.
SCHEDULING = "Schedule"


def subject(given: Input) -> str:
    """The id of what the input is about; empty for the site as a whole."""
    for name in _fields(type(given)):
        if found := getattr(given, name):
            return str(getattr(found, "name", found))
    return ""


@cache
def _fields(kind: type[Input]) -> tuple[str, ...]:
    """Fields of such an input that say what it is about, by preference."""
    return tuple(name for name in _SUBJECTS if name in kind.__struct_fields__)


def text(given: Input, asked: Asked) -> str:
    """The cause as it is journalled."""
    by = f"{_BY}{asked.by}" if asked.by else ""
    once = f"{_ONCE}{asked.once}" if asked.once else ""
    return f"{type(given).__name__} {subject(given)}".rstrip() + by + once


def once_of(cause: str) -> str:
    """The idempotency digest in a cause; empty when there is none."""
    return cause.partition(_ONCE)[2]
