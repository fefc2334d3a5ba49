"""Backup and restore: equal digests between all kinds of journals, all or nothing, beside a writer."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from bench.peers.postgres import Cluster

from myriad.kernel.errors import UserError
from myriad.store import copies, opening
from myriad.store.memory import MemoryJournal

BODIES = [bytes([k % 256]) * (k % 700) for k in range(5000)]
New = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgres"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> New:
    """Locations of journals that are not there yet."""
    if request.param == "postgres":
        cluster: Cluster = request.getfixturevalue("postgres")
        return cluster.database
    names = (str(tmp_path / f"journal-{k}.db") for k in range(9))
    return lambda: next(names)


def written(location: str) -> str:
    """A journal of BODIES; its digest."""
    journal = opening.to_write(location)
    for first in range(0, len(BODIES), 1000):
        journal.append(BODIES[first : first + 1000])
    digest = journal.verify().digest
    journal.close()
    return digest


def test_there_and_back(new: New, tmp_path: Path) -> None:
    digest, file = written(source := new()), tmp_path / "backup.db"
    journal = opening.to_read(source)
    assert copies.backup(journal, file) == (len(BODIES), digest)
    journal.close()
    assert sorted(path.name for path in tmp_path.glob("backup*")) == ["backup.db"], "one file"
    target = new()
    assert copies.restore(file, target) == (len(BODIES), digest)
    restored = opening.to_write(target)
    assert restored.append([b"more"]) == len(BODIES) + 1
    assert not restored.verify().problem
    restored.close()


def test_from_sqlite_to_postgres_and_back(postgres: Cluster, tmp_path: Path) -> None:
    digest = written(str(tmp_path / "old.db"))
    url = postgres.database()
    assert copies.restore(tmp_path / "old.db", url).digest == digest
    journal = opening.to_read(url)
    copies.backup(journal, tmp_path / "back.db")
    journal.close()
    assert copies.restore(tmp_path / "back.db", str(tmp_path / "new.db")).digest == digest


def test_a_backup_beside_a_writer_is_a_whole_beginning(new: New, tmp_path: Path) -> None:
    writer, over = opening.to_write(location := new()), threading.Event()
    reference = MemoryJournal()

    def write() -> None:
        count = 0
        while not over.is_set():
            bodies = [f"{count}-{k}".encode() for k in range(20)]
            reference.append(bodies)
            writer.append(bodies)
            count += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        done = []
        for number in range(3):
            reader = opening.to_read(location)
            done.append(copies.backup(reader, tmp_path / f"backup-{number}.db"))
            reader.close()
    finally:
        over.set()
        thread.join()
        writer.close()
    for number, copy in enumerate(done):
        kept = opening.to_read(str(tmp_path / f"backup-{number}.db"))
        assert kept.verify() == (copy.records, copy.digest, "")
        kept.close()
        beginning = MemoryJournal()
        beginning.append([record.body for record in reference.read()][: copy.records])
        assert beginning.verify().digest == copy.digest


def test_only_an_empty_journal_is_filled_and_no_file_is_written_over(new: New, tmp_path: Path) -> None:
    digest, file = written(source := new()), tmp_path / "backup.db"
    journal = opening.to_read(source)
    copies.backup(journal, file)
    with pytest.raises(UserError, match="is there already"):
        copies.backup(journal, file)
    with pytest.raises(UserError, match=r"holds .*records already"):
        copies.restore(file, source)
    assert journal.verify().digest == digest
    journal.close()


def test_a_control_plane_that_runs_keeps_its_journal(new: New, tmp_path: Path) -> None:
    written(source := new())
    journal = opening.to_read(source)
    copies.backup(journal, tmp_path / "backup.db")
    journal.close()
    running = opening.to_write(target := new())
    with pytest.raises(UserError, match="another control plane"):
        copies.restore(tmp_path / "backup.db", target)
    assert running.append([b"mine"]) == 1
    running.close()


def test_a_damaged_backup_is_refused_before_anything_is_touched(postgres: Cluster, tmp_path: Path) -> None:
    written(str(tmp_path / "old.db"))
    with sqlite3.connect(tmp_path / "old.db") as harm:
        harm.execute("UPDATE journal SET body = x'00' WHERE seq = 4500")
    harm.close()
    with pytest.raises(UserError, match="record 4500 is not what was written"):
        copies.restore(tmp_path / "old.db", url := postgres.database())
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regnamespace('myriad')").fetchone() == (None,)
    with pytest.raises(UserError, match="is not there"):
        copies.restore(tmp_path / "no.db", url)
