"""The journal of one control plane: an SQLite file in WAL mode, synced before `append` returns.

One table, one row a record, each row carrying the digest of the chain up to it. The server calls
`append` from one worker thread while its event loop goes on; `read` and `verify` have a connection of
their own (check_same_thread is off for both), so they see committed records only and never wait for
the disk's sync. Why SQLite, what is promised and what it costs: docs/decisions/0004-journal.md.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from myriad.kernel.errors import UserError
from myriad.kernel.ports import Record, Verification
from myriad.store import chain, head, troubles

#: `MYRD`: tells our files from other programs' databases.
APPLICATION = 0x4D595244
#: Rows fetched at once while reading.
_BATCH = 1024
_BUSY_S = 5.0
#: SQLite's largest number: no bound.
_NONE = 2**63 - 1

Row = tuple[int, object, object]


class SqliteJournal:
    """`read_only` opens beside a running control plane, to look; only one process may write."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._head: head.Head | None = None
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._broken: UserError | None = None
        self._last, self._digest = 0, chain.GENESIS
        try:
            self._open(read_only)
        except sqlite3.Error as error:
            self.close()
            raise troubles.explained(error, path) from None
        except UserError:
            self.close()
            raise

    def _open(self, read_only: bool) -> None:
        if not read_only:
            self._head = head.Head(self.path)
        _refuse_unfinished_repair(self.path)
        if not read_only and not self.path.exists():
            _refuse_vanished(self.path)
            create(self.path)
        self._reader = _connect(self.path, "ro")
        check_ours(self._reader, self.path)
        last = self._reader.execute("SELECT seq, digest FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
        if last:
            self._last, self._digest = last
        self._broken = missing_tail(self._reader, self.path)
        if not read_only and not self._broken:
            # only now: a writing connection tidies the -wal file, which may be the evidence of damage
            self._writer = _connect(self.path, "rw")
            self._writer.execute("PRAGMA journal_mode=WAL").fetchone()
            self._writer.execute("PRAGMA synchronous=FULL")

    def append(self, bodies: Sequence[bytes]) -> int:
        """Append all or none; return the last sequence number once it is durable."""
        if self._broken:
            raise self._broken
        assert self._writer and self._head, "closed, or opened to read only"
        if not bodies:
            return self._last
        rows, digest = [], self._digest
        for seq, body in enumerate(bodies, self._last + 1):
            digest = chain.link(digest, body)
            rows.append((seq, body, digest))
        try:
            self._commit(self._writer, rows)
        except sqlite3.Error as error:
            raise self._failed(error) from None
        self._last, self._digest = rows[-1][0], digest
        self._head.set(head.Mark(self._last, digest))
        return self._last

    @staticmethod
    def _commit(writer: sqlite3.Connection, rows: list[tuple[int, bytes, bytes]]) -> None:
        writer.execute("BEGIN IMMEDIATE")
        try:
            writer.executemany("INSERT INTO journal VALUES (?, ?, ?)", rows)
            writer.execute("COMMIT")
        except sqlite3.Error:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise

    def _failed(self, error: sqlite3.Error) -> UserError:
        """A full disk may be tried again. After other trouble what is on disk is unknown: start over."""
        trouble = troubles.explained(error, self.path)
        if troubles.code(error) not in ("SQLITE_FULL", "SQLITE_BUSY"):
            self._broken = trouble
        return trouble

    def read(self, after: int = 0) -> Iterator[Record]:
        """Records with seq > `after`, in order, each checked against the chain and against the head."""
        assert self._reader, "closed"
        yield from _checked(self._reader, self.path, max(after, 0))
        if trouble := missing_tail(self._reader, self.path):
            raise trouble

    def verify(self) -> Verification:
        """Walk everything. The problem names the first record that is not what was written."""
        assert self._reader, "closed"
        return chain.walked(self.read())

    def close(self) -> None:
        """Release file and lock. Idempotent."""
        for connection in (self._reader, self._writer):
            if connection:
                connection.close()
        self._reader = self._writer = None
        if self._head:
            self._head.close()


def create(path: Path) -> None:
    """A new empty journal, whole or not at all: it is built beside and renamed into place."""
    building = path.with_name(path.name + ".creating")
    building.unlink(missing_ok=True)
    connection = sqlite3.connect(building, isolation_level=None)
    try:
        prepare(connection)
    finally:
        connection.close()
    os.replace(building, path)
    sync_folder(path)


def prepare(connection: sqlite3.Connection) -> None:
    """Write the schema."""
    connection.execute(f"PRAGMA application_id={APPLICATION}")
    connection.execute(
        "CREATE TABLE journal (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, digest BLOB NOT NULL)"
    )


def sync_folder(path: Path) -> None:
    """Make a rename in the folder of `path` durable."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def good_records(path: Path) -> Iterator[Record]:
    """The good records of a file that may be damaged, without changing it; then raises what is wrong."""
    try:
        reader = _connect(path, "ro")
    except sqlite3.Error as error:
        raise troubles.explained(error, path) from None
    try:
        check_ours(reader, path)
        yield from _checked(reader, path, 0)
        if trouble := missing_tail(reader, path):
            raise trouble
    except sqlite3.Error as error:
        raise troubles.explained(error, path) from None
    finally:
        reader.close()


def check_ours(reader: sqlite3.Connection, path: Path) -> None:
    """Raises UserError unless the file is a journal of Myriad."""
    (found,) = reader.execute("PRAGMA application_id").fetchone()
    tables = reader.execute("SELECT count(*) FROM sqlite_master WHERE name = 'journal'").fetchone()[0]
    if found == APPLICATION and tables:
        return
    if head.read(path):
        raise troubles.Damaged(
            "has lost its first page", field="journal", value=str(path), remedy=troubles.REPAIR, status=503
        )
    raise UserError(
        "is not a journal of Myriad", field="journal", value=str(path), remedy="Check the path", status=503
    )


def missing_tail(reader: sqlite3.Connection, path: Path) -> UserError | None:
    """What is wrong when the journal does not hold the last record that was acknowledged."""
    mark = head.read(path)
    if not mark:
        return None
    try:
        row = reader.execute("SELECT digest FROM journal WHERE seq = ?", (mark.seq,)).fetchone()
    except sqlite3.Error as error:
        return troubles.explained(error, path)
    if row == (mark.digest,):
        return None
    what = "was acknowledged but is missing" if row is None else "is not the one that was acknowledged"
    return troubles.damaged(path, mark.seq, what)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_S,
    )
    connection.text_factory = bytes
    return connection


def _checked(reader: sqlite3.Connection, path: Path, after: int) -> Iterator[Record]:
    seq, digest = after, chain.GENESIS
    last = _last(reader)
    if after:
        rows, trouble = _fetch(reader, path, after - 1, after, 1)
        if trouble:
            raise trouble
        if not rows or rows[0][0] != after:
            return
        digest = _digest_of(rows[0], path)
    while True:
        rows, trouble = _fetch(reader, path, seq, last, _BATCH)
        for row in rows:
            seq += 1
            body = _body_of(row, seq, digest, path)
            digest = _digest_of(row, path)
            yield Record(seq, body)
        if trouble:
            raise troubles.damaged(path, seq + 1, f"cannot be read ({trouble.problem})")
        if len(rows) < _BATCH:
            return


def _last(reader: sqlite3.Connection) -> int:
    """The last number there is; as good as none when that cannot be read: reading will come to say why."""
    try:
        return int(reader.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchone()[0])
    except sqlite3.Error:
        return _NONE


def _fetch(
    reader: sqlite3.Connection, path: Path, after: int, last: int, count: int
) -> tuple[list[Row], UserError | None]:
    """The next rows, and the trouble that stopped short of `count`. Ends its read transaction."""
    rows: list[Row] = []
    try:
        cursor = reader.execute(
            "SELECT seq, body, digest FROM journal WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            (after, last, count),
        )
        for row in cursor:
            rows.append(row)
    except sqlite3.Error as error:
        return rows, troubles.explained(error, path)
    return rows, None


def _body_of(row: Row, seq: int, previous: bytes, path: Path) -> bytes:
    found, body, digest = row
    if found != seq:
        raise troubles.damaged(path, seq, f"is missing (the next one is {found})")
    if not isinstance(body, bytes) or digest != chain.link(previous, body):
        raise troubles.damaged(path, seq, "is not what was written (its digest does not match)")
    return body


def _digest_of(row: Row, path: Path) -> bytes:
    if not isinstance(row[2], bytes):
        raise troubles.damaged(path, row[0], "has no digest")
    return row[2]


def _refuse_unfinished_repair(path: Path) -> None:
    if path.with_name(path.name + ".repaired").exists():
        raise UserError(
            "has a repair that was interrupted",
            field="journal",
            value=str(path),
            remedy="Run `myriad journal --repair` again: it finishes what it began",
            status=503,
        )


def _refuse_vanished(path: Path) -> None:
    if mark := head.read(path):
        raise UserError(
            f"is gone, but {mark.seq} records were acknowledged in it",
            field="journal",
            value=str(path),
            remedy="Put the file back (with its -wal file). To start anew, accepting that all is lost: "
            f"remove {head.path_of(path).name}",
            status=503,
        )
