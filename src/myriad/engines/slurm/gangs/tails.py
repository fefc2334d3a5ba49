"""What members write, read as it grows: new lines, and whether the file was touched since the last look.

Reading is of the shared folder and may be slow, so it is done in a thread, for many members at once.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from myriad.engines.common import theirs

_CHUNK_BYTES = 1 << 20
#: Of a member that is not ours so much is read, and so much more a second: a lively one writes a tenth.
_BURST_BYTES, _BYTES_A_SECOND = 1 << 20, 16 << 10
_LINE_BYTES = 64 << 10


class Tail:
    """One member's file."""

    __slots__ = ("_began", "_offset", "_rest", "_skipped", "mtime_ns", "owner", "path")

    def __init__(self, path: Path, skipped: int = 0, owner: int | None = None) -> None:
        """`skipped`: so many bytes, up to the end of a line, need not be read again.

        `owner`: the user whose file it must be, if that is not ours: not too much of it is read.
        """
        self.path, self.owner = path, owner
        self.mtime_ns = 0
        self._offset = self._skipped = skipped
        self._rest = b""
        self._began = time.monotonic()

    def read(self) -> "News | None":
        """What is new; None if nothing is. Raises OSError when that cannot be known."""
        try:
            found = os.lstat(self.path)
            if found.st_mtime_ns == self.mtime_ns and found.st_size <= self._offset:
                return None
            known, self.mtime_ns = self.mtime_ns > 0, found.st_mtime_ns
            body = self._body() if found.st_size > self._offset else b""
        except OSError as error:
            absent = isinstance(error, FileNotFoundError) or (self.owner and theirs.brought_about(error))
            if not absent or (self.mtime_ns and not self.path.parents[2].exists()):
                raise  # it was there: what is away is the whole folder
            return None
        self._offset += len(body)
        *lines, self._rest = (self._rest + body).split(b"\n")
        if self.owner is not None and len(self._rest) > _LINE_BYTES:
            self._rest = b""
        return News(self, [line for line in lines if line], self._offset - len(self._rest), known)

    def _body(self) -> bytes:
        if self.owner is None:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                return file.read(_CHUNK_BYTES)
        allowed = _BURST_BYTES + _BYTES_A_SECOND * (time.monotonic() - self._began)
        most = min(_CHUNK_BYTES, int(allowed) - (self._offset - self._skipped))
        found = theirs.opened(self.path, self.owner)
        try:
            return os.pread(found, max(0, most), self._offset)
        finally:
            os.close(found)


class News(NamedTuple):
    """A member gave a sign of life, and perhaps said something."""

    tail: Tail
    lines: list[bytes]
    #: Where the last of them ends in the file.
    end: int
    #: The file was seen before, so the sign is of now.
    known: bool


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
