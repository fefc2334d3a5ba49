"""Cuts the damaged end off a journal and destroys nothing: the damaged file stays beside, whole.

Every step can be interrupted and begun again: the good records are first copied to a new file; only
when that is complete and synced is the old one moved aside and the new one put in its place.
"""

import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

from myriad.kernel.errors import UserError
from myriad.store import chain, head, sqlite, troubles


class Repair(NamedTuple):
    """What a repair did."""

    kept: int  # good records, from the first
    digest: str  # of the chain up to the last one kept
    problem: str  # what was wrong; empty: nothing, and nothing was done
    aside: Path | None  # the damaged file, whole, with all that was cut off


def repair(path: Path) -> Repair:
    """Keep the good records from the first on. Raises UserError while a control plane uses the journal."""
    built = path.with_name(path.name + ".repaired")
    if not path.exists() and not built.exists():
        raise UserError("is not there", field="journal", value=str(path), remedy="Check the path")
    lock = head.Head(path)
    try:
        mark, problem = head.Mark(0, chain.GENESIS), "an earlier repair was interrupted"
        if not built.exists():
            mark, problem = _salvage(path, built)
            if not problem:
                built.unlink()
                return Repair(mark.seq, mark.digest.hex(), "", None)
        else:
            mark = _last_of(built)
        aside = _move_aside(path)
        os.replace(built, path)
        sqlite.sync_folder(path)
        lock.set(mark)
        return Repair(mark.seq, mark.digest.hex(), problem, aside)
    finally:
        lock.close()


def _salvage(path: Path, built: Path) -> tuple[head.Mark, str]:
    building = path.with_name(path.name + ".repairing")
    building.unlink(missing_ok=True)
    connection = sqlite3.connect(building, isolation_level=None)
    try:
        sqlite.prepare(connection)
        connection.execute("BEGIN")
        mark, problem = _copy(path, connection)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise troubles.explained(error, building) from None
    finally:
        connection.close()
    os.replace(building, built)
    sqlite.sync_folder(path)
    return mark, problem


def _copy(path: Path, target: sqlite3.Connection) -> tuple[head.Mark, str]:
    mark = head.Mark(0, chain.GENESIS)
    try:
        for record in sqlite.good_records(path):
            mark = head.Mark(record.seq, chain.link(mark.digest, record.body))
            target.execute("INSERT INTO journal VALUES (?, ?, ?)", (mark.seq, record.body, mark.digest))
    except troubles.Damaged as error:
        return mark, str(error)
    return mark, ""


def _last_of(built: Path) -> head.Mark:
    connection = sqlite3.connect(built)
    try:
        row = connection.execute("SELECT seq, digest FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
    finally:
        connection.close()
    return head.Mark(*row) if row else head.Mark(0, chain.GENESIS)


def _move_aside(path: Path) -> Path:
    """Rename the damaged file and its -wal, keeping SQLite's naming, so that it can still be looked into."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", ""):
        old = path.with_name(path.name + suffix)
        if old.exists():
            os.replace(old, aside.with_name(aside.name + suffix))
    return aside
