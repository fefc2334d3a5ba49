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
        """What is new; None if nothing is."""
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
        except OSError:
            return None  # not there yet, or the file server is away: no news
        self._offset += len(body)
        *lines, self._rest = (self._rest + body).split(b"\n")
        return News(self, [line for line in lines if line], self._offset - len(self._rest))


class News(NamedTuple):
    """A member gave a sign of life, and perhaps said something."""

    tail: Tail
    lines: list[bytes]
    #: Where the last of them ends in the file.
    end: int


def read(tails: Iterable[Tail]) -> list[News]:
    """The news of many; called in a thread."""
    return [news for tail in tails if (news := tail.read())]
