"""What every journal must do, for memory, SQLite and PostgreSQL alike."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from myriad.kernel.ports import Journal, Record
from myriad.store import opening
from myriad.store.memory import MemoryJournal
from myriad.store.sqlite import SqliteJournal


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    made: Journal
    if request.param == "memory":
        made = MemoryJournal()
    elif request.param == "sqlite":
        made = SqliteJournal(tmp_path / "journal.db")
    else:
        made = opening.to_write(request.getfixturevalue("postgres").database())
    yield made
    made.close()


def test_numbers_records_from_one_and_gives_them_back_in_order(journal: Journal) -> None:
    assert journal.append([b"a", b"b"]) == 2
    assert journal.append([b"c"]) == 3
    assert list(journal.read()) == [Record(1, b"a"), Record(2, b"b"), Record(3, b"c")]
    assert list(journal.read(after=1)) == [Record(2, b"b"), Record(3, b"c")]
    assert list(journal.read(after=9)) == []


def test_appending_nothing_changes_nothing(journal: Journal) -> None:
    assert journal.append([]) == 0
    journal.append([b"a"])
    assert journal.append([]) == 1


def test_verifies_to_the_same_digest_as_the_reference(journal: Journal) -> None:
    bodies = [bytes([k % 256]) * k for k in range(2500)]
    reference = MemoryJournal()
    reference.append(bodies)
    journal.append(bodies[:7])
    journal.append(bodies[7:])
    assert journal.verify() == reference.verify()
    assert journal.verify().records == 2500


def test_a_reader_may_go_on_while_another_thread_appends(journal: Journal) -> None:
    def append() -> None:
        for k in range(300):
            journal.append([str(k).encode()])

    writer = threading.Thread(target=append)
    writer.start()
    seen = 0
    while seen < 300:
        for record in journal.read(after=seen):
            assert record == Record(seen + 1, str(seen).encode())
            seen += 1
    writer.join()


def test_reading_ends_however_fast_a_writer_goes_on(journal: Journal) -> None:
    journal.append([str(k).encode() for k in range(5000)])  # more than any of them fetches at once
    seen = []
    for record in journal.read(after=5):
        seen.append(record.seq)
        if record.seq % 50 == 0:
            journal.append([b"meanwhile"])
    assert seen == list(range(6, 5001))


def test_close_is_idempotent(journal: Journal) -> None:
    journal.close()
    journal.close()
