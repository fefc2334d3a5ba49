"""Whatever happens to the file: a record is never silently lost, never changed, never invented."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from myriad.kernel.errors import UserError
from myriad.store import head
from myriad.store.repair import repair
from myriad.store.sqlite import SqliteJournal

bodies = st.lists(st.binary(max_size=600), min_size=1, max_size=12)


@contextmanager
def opened(path: Path, **options: bool) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(path, **options)
    try:
        yield journal
    finally:
        journal.close()


def read_all(path: Path) -> tuple[list[bytes], UserError | None]:
    """Everything that can be read, and the error that ended it."""
    found: list[bytes] = []
    try:
        with opened(path) as journal:
            for record in journal.read():
                assert record.seq == len(found) + 1
                found.append(record.body)
    except UserError as error:
        return found, error
    return found, None


def as_killed(path: Path, folder: Path) -> Path:
    """The files as a killed process leaves them: the -wal still holds what was appended."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal", ".head"):
        if path.with_name(path.name + suffix).exists():
            shutil.copy(path.with_name(path.name + suffix), folder / (path.name + suffix))
    return folder / path.name


@pytest.mark.timeout(400)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    groups=st.lists(bodies, min_size=1, max_size=6),
    killed=st.booleans(),
    victim=st.sampled_from(["", "-wal"]),
    harm=st.sampled_from(["flip", "truncate", "zero", "remove", "none"]),
    where=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_damage_is_found_and_mended_without_losing_a_good_record(
    volatile: Path, groups: list[list[bytes]], killed: bool, victim: str, harm: str, where: float, bit: int
) -> None:
    with tempfile.TemporaryDirectory(dir=volatile) as name:
        home = Path(name)
        written = [body for group in groups for body in group]
        with opened(home / "journal.db") as journal:
            for group in groups:
                journal.append(group)
            path = as_killed(home / "journal.db", home / "after")
        if not killed:
            path = home / "journal.db"
        _harm(path.with_name(path.name + victim), harm, where, bit)
        found, error = read_all(path)
        assert found == written[: len(found)], "never changed, never invented"
        assert error is not None or found == written, "never silently lost"
        if error and not path.exists():
            return
        if error:
            assert "--repair" in str(error) or "Put the file back" in str(error)
            _mend(path, written, len(found))


def _mend(path: Path, written: list[bytes], readable: int) -> None:
    before = {
        suffix: path.with_name(path.name + suffix).read_bytes()
        for suffix in ("", "-wal")
        if path.with_name(path.name + suffix).exists()
    }
    done = repair(path)
    assert done.kept >= readable
    assert done.problem
    assert done.aside is not None
    for suffix, content in before.items():
        assert done.aside.with_name(done.aside.name + suffix).read_bytes() == content, "nothing destroyed"
    with opened(path) as journal:
        assert [record.body for record in journal.read()] == written[: done.kept]
        assert journal.append([b"after"]) == done.kept + 1
        assert journal.verify().problem == ""


def _harm(victim: Path, harm: str, where: float, bit: int) -> None:
    if not victim.exists() or harm == "none":
        return
    if harm == "remove":
        victim.unlink()
        return
    content = bytearray(victim.read_bytes())
    if not content:
        return
    place = int(where * len(content))
    if harm == "flip":
        content[place] ^= 1 << bit
    elif harm == "truncate":
        del content[place:]
    else:
        content[place : place + 512] = bytes(len(content[place : place + 512]))
    victim.write_bytes(content)


@pytest.mark.timeout(400)
@settings(max_examples=40, deadline=None)
@given(groups=st.lists(bodies, max_size=8), reopen=st.lists(st.booleans(), min_size=8, max_size=8))
def test_append_and_reopen_in_any_order_loses_and_invents_nothing(
    volatile: Path, groups: list[list[bytes]], reopen: list[bool]
) -> None:
    with tempfile.TemporaryDirectory(dir=volatile) as name:
        path, written = Path(name) / "journal.db", []
        journal = SqliteJournal(path)
        for group, again in zip(groups, reopen, strict=False):
            written += group
            assert journal.append(group) == len(written)
            if again:
                journal.close()
                journal = SqliteJournal(path)
        assert [record.body for record in journal.read()] == written
        journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with opened(tmp_path / "journal.db") as journal:
        journal.append([b"one", b"two", b"three", b"four"])
    return tmp_path / "journal.db"


def alter(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("sql", "good", "says"),
    [
        ("UPDATE journal SET body = x'00' WHERE seq = 3", 2, "record 3 is not what was written"),
        ("DELETE FROM journal WHERE seq = 2", 1, "record 2 is missing (the next one is 3)"),
        ("DELETE FROM journal WHERE seq = 4", 3, "record 4 was acknowledged but is missing"),
        ("UPDATE journal SET digest = 7 WHERE seq = 4", 3, "record 4"),
        ("DELETE FROM journal", 0, "record 4 was acknowledged but is missing"),
        ("DROP TABLE journal", 0, "has lost its first page"),
    ],
)
def test_names_the_record_and_the_remedy(path: Path, sql: str, good: int, says: str) -> None:
    alter(path, sql)
    found, error = read_all(path)
    assert len(found) == good
    assert says in str(error)
    assert "myriad journal --repair" in str(error)
    assert repair(path).kept == good
    assert read_all(path) == ([b"one", b"two", b"three", b"four"][:good], None)


def test_verify_reports_instead_of_raising(path: Path) -> None:
    with opened(path, read_only=True) as journal:
        assert journal.verify().problem == ""
    alter(path, "UPDATE journal SET body = 'x' WHERE seq = 2")
    with opened(path, read_only=True) as journal:
        found = journal.verify()
    assert (found.records, "record 2" in found.problem) == (1, True)


def test_does_not_append_after_a_lost_tail(path: Path) -> None:
    alter(path, "DELETE FROM journal WHERE seq = 4")
    with opened(path) as journal, pytest.raises(UserError, match="acknowledged but is missing"):
        journal.append([b"five"])


def test_a_good_journal_is_not_touched_by_a_repair(path: Path) -> None:
    before = path.read_bytes()
    done = repair(path)
    assert (done.kept, done.problem, done.aside) == (4, "", None)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*repair*"))


def test_an_interrupted_repair_is_refused_then_finished(path: Path) -> None:
    alter(path, "UPDATE journal SET body = 'x' WHERE seq = 3")
    good = path.with_name("copy.db")
    with opened(good) as journal:
        journal.append([b"one", b"two"])
    os.replace(good, path.with_name("journal.db.repaired"))
    with pytest.raises(UserError, match="repair that was interrupted"):
        SqliteJournal(path)
    assert repair(path).kept == 2
    assert read_all(path) == ([b"one", b"two"], None)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"hello " * 1000)
    with pytest.raises(UserError, match="no SQLite page"):
        SqliteJournal(tmp_path / "journal.db")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    alter(path, "CREATE TABLE theirs (x)")
    before = path.read_bytes()
    for attempt in (SqliteJournal, repair):
        with pytest.raises(UserError, match="not a journal of Myriad"):
            attempt(path)
    assert path.read_bytes() == before


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Check that the folder exists"):
        SqliteJournal(tmp_path / "no" / "journal.db")
    with pytest.raises(UserError, match="cannot be opened"):
        SqliteJournal(tmp_path / "journal.db", read_only=True)
    with pytest.raises(UserError, match="is not there"):
        repair(tmp_path / "journal.db")


def test_a_vanished_journal_is_not_replaced_by_an_empty_one(path: Path) -> None:
    path.unlink()
    with pytest.raises(UserError, match="4 records were acknowledged in it"):
        SqliteJournal(path)
    assert not path.exists()


def test_an_unreadable_head_is_no_reason_to_refuse(path: Path) -> None:
    head.path_of(path).write_text("garbage")
    assert read_all(path) == ([b"one", b"two", b"three", b"four"], None)


def test_a_full_disk_is_named_and_can_be_tried_again(path: Path) -> None:
    with opened(path) as journal:
        assert journal._writer is not None
        pages = journal._writer.execute("PRAGMA page_count").fetchone()[0]
        journal._writer.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(UserError, match="disk is full"):
            journal.append([b"x" * 50_000, b"y"])
        journal._writer.execute("PRAGMA max_page_count=100000")
        assert journal.append([b"five"]) == 5
        assert [record.body for record in journal.read(after=4)] == [b"five"]
