"""What members write, read as it grows: new lines, and whether the file was touched since the last look.

Reading is of the shared folder and may be slow, so it is done in a thread, for many members at once.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_CHUNK_BYTES = 1 << 20


class Tail:
    """One member's file."""

    __slots__ = ("_offset", "_rest", "mtime_ns", "path")

    def __init__(self, path: Path, skipped: int = 0) -> None:
        """`skipped`: so many bytes, up to the end of a line, need not be read again."""
        self.path = path
        self.mtime_ns = 0
        self._offset = skipped
        self._rest = b""

    def read(self) -> "News | None":
        """What is new; None if nothing is. Raises OSError when that cannot be known."""
        try:
            found = os.stat(self.path)
            if found.st_mtime_ns == self.mtime_ns and found.st_size <= self._offset:
                return None
            self.mtime_ns = found.st_mtime_ns
            body = b""
            if found.st_size > self._offset:
                with self.path.open("rb") as file:
                    file.seek(self._offset)
                    body = file.read(_CHUNK_BYTES)
        except FileNotFoundError:
            if self.mtime_ns and not self.path.parents[2].exists():
                raise  # it was there: what is away is the whole folder
            return None
        self._offset += len(body)
        *lines, self._rest = (self._rest + body).split(b"\n")
        return News(self, [line for line in lines if line], self._offset - len(self._rest))


class News(NamedTuple):
    """A member gave a sign of life, and perhaps said something."""

    tail: Tail
    lines: list[bytes]
    #: Where the last of them ends in the file.
    end: int


class Look(NamedTuple):
    """At many files."""

    news: list[News]
    #: Those of which nothing is known: a silence of ours, not of theirs.
    unseen: list[Tail]
    why: str


def read(tails: Iterable[Tail]) -> Look:
    """The news of many; called in a thread."""
    found = Look([], [], "")
    for tail in tails:
        try:
            if news := tail.read():
                found.news.append(news)
        except OSError as error:
            found.unseen.append(tail)
            found = found._replace(why=str(error))
    return found
