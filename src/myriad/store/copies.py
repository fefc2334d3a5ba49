"""Backup and restore: any journal into one SQLite file, and such a file into any empty journal.

Both ways every record is checked against the chain, and the copy is read again and its digest compared. As
the chain does not depend on where it is kept, this is also how a journal moves between SQLite and PostgreSQL.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from myriad.kernel.errors import UserError
from myriad.kernel.ports import Journal
from myriad.store import chain, head, opening, sqlite, troubles
from myriad.store.head import Mark
from myriad.store.postgres.journal import PostgresJournal


class Copied(NamedTuple):
    """What was copied, and found equal."""

    records: int
    digest: str


def backup(source: Journal, target: Path) -> Copied:
    """Write all there is now into a new file; its writer may go on meanwhile. Raises UserError."""
    if target.exists():
        raise UserError(
            "is there already", field="backup", value=str(target), remedy="Give another name", status=409
        )
    building = target.with_name(target.name + ".writing")
    try:
        mark = _write(building, (record.body for record in source.read()))
        _check(building, mark)
        os.replace(building, target)
        sqlite.sync_folder(target)
    except (sqlite3.Error, OSError) as error:
        raise _explained(error, target) from None
    finally:
        building.unlink(missing_ok=True)
    return Copied(mark.seq, mark.digest.hex())


def restore(file: Path, location: str) -> Copied:
    """Fill an empty journal with what is in a file, all or nothing. Raises UserError."""
    if not file.exists():
        raise UserError("is not there", field="backup", value=str(file), remedy="Check the path")

    def bodies() -> Iterator[bytes]:
        return (record.body for record in sqlite.good_records(file))

    mark = _of(bodies())  # before anything is touched: a damaged file is refused as a whole
    target = opening.to_write(location)
    try:
        if isinstance(target, PostgresJournal):
            target.fill(bodies)
        elif held := next(target.read(), None):
            raise UserError(
                f"holds records already (the first is {held.seq})",
                field="journal",
                value=location,
                remedy="Give a path where there is none, or another --home",
                status=409,
            )
    finally:
        target.close()
    if not isinstance(target, PostgresJournal):
        _replace(Path(location), bodies)
    _compare(location, mark)
    return Copied(mark.seq, mark.digest.hex())


def _replace(path: Path, bodies: Callable[[], Iterable[bytes]]) -> None:
    building = path.with_name(path.name + ".writing")
    lock = head.Head(path)
    try:
        mark = _write(building, bodies())
        os.replace(building, path)
        sqlite.sync_folder(path)
        lock.set(mark)
    except (sqlite3.Error, OSError) as error:
        raise _explained(error, path) from None
    finally:
        building.unlink(missing_ok=True)
        lock.close()


def _write(path: Path, bodies: Iterable[bytes]) -> Mark:
    """A new SQLite journal in one transaction: no `-wal` file, no head beside it."""
    path.unlink(missing_ok=True)
    mark = Mark(0, chain.GENESIS)

    def rows() -> Iterator[tuple[int, bytes, bytes]]:
        nonlocal mark
        for body in bodies:
            mark = Mark(mark.seq + 1, chain.link(mark.digest, body))
            yield mark.seq, body, mark.digest

    connection = sqlite3.connect(path, isolation_level=None)
    try:
        sqlite.prepare(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO journal VALUES (?, ?, ?)", rows())
        connection.execute("COMMIT")
    finally:
        connection.close()
    return mark


def _of(bodies: Iterable[bytes]) -> Mark:
    mark = Mark(0, chain.GENESIS)
    for body in bodies:
        mark = Mark(mark.seq + 1, chain.link(mark.digest, body))
    return mark


def _check(path: Path, mark: Mark) -> None:
    if _of(record.body for record in sqlite.good_records(path)) != mark:
        raise _different(str(path))


def _compare(location: str, mark: Mark) -> None:
    written = opening.to_read(location)
    try:
        found = written.verify()
    finally:
        written.close()
    if (found.records, found.digest, found.problem) != (mark.seq, mark.digest.hex(), ""):
        raise _different(location)


def _different(value: str) -> UserError:
    return UserError(
        "does not read as it was written",
        field="copy",
        value=value,
        remedy="Check the disk (dmesg), then try once more",
        status=503,
    )


def _explained(error: sqlite3.Error | OSError, path: Path) -> UserError:
    if isinstance(error, sqlite3.Error):
        return troubles.explained(error, path)
    return UserError(
        error.strerror or str(error), field="file", value=str(path), remedy="Give another path", status=503
    )
