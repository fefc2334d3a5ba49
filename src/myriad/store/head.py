"""The file beside a journal that names its one writer and remembers the last acknowledged record.

A chain of digests cannot tell that its own end is missing (a deleted `-wal` file, an old backup put
back). So after each commit the last sequence number and digest go here too: one small unsynced write.
It is written after the commit is durable, so it can lag behind the journal (after a power cut) but
never run ahead of it: a journal that ends before its head has lost acknowledged records.
"""

import fcntl
import os
from pathlib import Path
from typing import NamedTuple

from myriad.kernel.errors import UserError
from myriad.store import chain

_WIDTH = 128


class Mark(NamedTuple):
    """The last acknowledged record."""

    seq: int
    digest: bytes


def path_of(journal: Path) -> Path:
    """Where the head of a journal is."""
    return journal.with_name(journal.name + ".head")


def read(journal: Path) -> Mark | None:
    """The last acknowledged record, if any. Unreadable counts as unknown: it can only add suspicion."""
    try:
        _, seq, digest = path_of(journal).read_text("ascii").split()
        return Mark(int(seq), bytes.fromhex(digest)) if int(seq) else None
    except (OSError, ValueError):
        return None


class Head:
    """The lock of the single writer, held until `close`; the kernel drops it when the process dies."""

    def __init__(self, journal: Path) -> None:
        path = path_of(journal)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UserError(
                error.strerror or str(error),
                field="journal",
                value=str(path),
                remedy="Check that the folder exists and that this user may write there",
                status=503,
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = (os.read(self._file, _WIDTH).split() or [b"unknown"])[0].decode("ascii", "replace")
            os.close(self._file)
            raise _taken(journal, holder) from None
        self.set(read(journal) or Mark(0, chain.GENESIS))

    def set(self, mark: Mark) -> None:
        """Remember the last acknowledged record, beside the pid of its writer."""
        line = f"{os.getpid()} {mark.seq} {mark.digest.hex()}"
        os.pwrite(self._file, line.ljust(_WIDTH - 1).encode() + b"\n", 0)

    def close(self) -> None:
        """Let another control plane have the journal. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _taken(journal: Path, holder: str) -> UserError:
    return UserError(
        f"is in use by another control plane (pid {holder})",
        field="journal",
        value=str(journal),
        remedy="Stop that one with `myriad down`, or give this one a home of its own (MYRIAD_HOME)",
        status=503,
    )
