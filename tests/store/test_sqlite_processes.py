"""Real processes: one writer at a time, and kill -9 of it loses nothing it acknowledged."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from myriad.kernel.errors import UserError
from myriad.kernel.rng import Stream
from myriad.store.sqlite import SqliteJournal

WRITER = """
import sys
from pathlib import Path
from myriad.store.sqlite import SqliteJournal
journal = SqliteJournal(Path(sys.argv[1]))
k = 0
while True:
    group = [f"{k + i}".encode() for i in range(1 + k % 7)]
    k += len(group)
    print(journal.append(group), flush=True)
"""


def start(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)


def test_every_acknowledged_record_survives_kill_9(volatile: Path) -> None:
    chance = Stream(1, "kill")
    for round_ in range(8):
        path = volatile / f"journal-{round_}.db"
        process = start(path)
        assert process.stdout is not None
        for _ in range(chance.integer(1, 200)):
            process.stdout.readline()
        process.kill()
        rest, _ = process.communicate()
        acknowledged = max(int(line) for line in ["0", *rest.splitlines()] if line)
        journal = SqliteJournal(path)
        found = [record.body for record in journal.read()]
        journal.close()
        assert found == [str(k).encode() for k in range(len(found))]
        assert len(found) >= acknowledged


def test_a_second_control_plane_is_told_who_has_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    process = start(path)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        with pytest.raises(UserError, match=rf"control plane \(pid {process.pid}\).*journal.db.*myriad down"):
            SqliteJournal(path)
        looking = SqliteJournal(path, read_only=True)
        assert len(list(looking.read())) > 0
        looking.close()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    SqliteJournal(path).close()
