"""`myriad doctor`: a machine that is well, and each check with the thing broken that it looks at."""

import json
import os
import shutil
import socket
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench.peers.postgres import Cluster
from click.testing import CliRunner

from myriad.cli.main import cli
from myriad.kernel.findings import Finding
from myriad.server.checks import around, folders, machine
from myriad.store import head
from myriad.store.sqlite import SqliteJournal
from tests.server.harness import running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home as `myriad up` makes it, with a journal of two records."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    journal = SqliteJournal(folder / "journal.db")
    journal.append([b'{"cause":"x","facts":[],"schema":1}'] * 2)
    journal.close()
    return folder


def doctor(home: Path, *more: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code, and findings by check."""
    argv = ["--home", str(home), "doctor", "--json", "--port", "0", "--gateway-port", "0", *more]
    done = CliRunner().invoke(cli, argv)
    return done.exit_code, {one["check"]: one for one in json.loads(done.output)}


def test_a_machine_that_is_well(home: Path) -> None:
    code, found = doctor(home)
    assert code == 0 and {one["result"] for one in found.values()} <= {"ok", "skip", "warn"}, found
    assert "2 records" in found["journal"]["found"] and "not given" in found["postgresql"]["found"]
    assert not list(home.glob(".doctor*")), "it leaves nothing behind"


def test_the_table_names_the_remedy_and_the_exit_code_is_1(home: Path) -> None:
    home.chmod(0o755)
    done = CliRunner().invoke(cli, ["--home", str(home), "doctor", "--port", "0", "--gateway-port", "0"])
    said = "".join(done.output.split())  # a table breaks its lines
    assert done.exit_code == 1 and "opentoothers" in said and f"->chmod700{home}" in said
    assert "1tomend" in said


def test_a_home_that_is_not_there_yet_is_no_trouble(tmp_path: Path) -> None:
    code, found = doctor(tmp_path / "new" / "home")
    assert code == 0 and "first myriad up" in found["home"]["found"]
    assert not (tmp_path / "new").exists(), "it makes nothing"


def failed(found: Finding, *words: str) -> None:
    """It failed, for this reason, and says how to mend it."""
    assert found.result == "fail" and found.remedy
    assert all(word in found.found + found.remedy for word in words), found


# ---- the machine ---------------------------------------------------------------------------------


def test_an_old_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.9.2")
    failed(machine.python(), "3.9.2", "Install Python 3.11")


def test_packages_that_are_missing_or_old() -> None:
    failed(machine.packages(["no-such-thing>=1.0"]), "no-such-thing is missing")
    failed(machine.packages(["msgspec>=99.1", 'ray>=2; extra == "ray"']), "msgspec is 0", ">=99.1 is needed")
    failed(machine.packages(["msgspec==0.1"]), "==0.1 is needed")
    assert machine.packages().result == "ok"


def test_few_open_files() -> None:
    failed(machine.limits(100), "at most 100", "LimitNOFILE")
    assert machine.limits(1024).result == "warn" and machine.limits(65536).result == "ok"


def test_torch_missing_or_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert machine.device().result == "warn"

    def broken(_: str) -> None:
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    monkeypatch.setattr("importlib.import_module", broken)
    failed(machine.device(), "libcudart")


# ---- folders -------------------------------------------------------------------------------------


def test_keys_that_others_may_read(home: Path) -> None:
    (home / "context.json").write_text("{}")
    (home / "context.json").chmod(0o644)
    failed({one.check: one for one in folders.home(home)}["keys"], "context.json", "revoke")


def test_a_home_of_somebody_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    failed(next(folders.home(home)), "belongs to user id", "chown")


def test_a_home_on_a_shared_file_system(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = f"/dev/vda / ext4 rw 0 0\nfiler:/x {home.parent} nfs4 rw 0 0\n"
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_: mounts)
    (found,) = [one for one in folders.home(home) if one.check == "home's disk"]
    assert found.result == "warn" and "nfs4" in found.found and "--journal" in found.remedy


def test_a_full_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(total=100 << 30, used=0, free=200 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    failed(folders.room("home", home), "0.2 GiB free of 100")
    usage.free = 4 << 30
    assert folders.room("home", home).result == "warn"
    usage.free = 90 << 30
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_files=10**6, f_favail=5))
    failed(folders.room("data", home), "5 inodes")


def test_a_slow_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: time.sleep(0.03))
    found = folders.disk(home, 3)
    assert found.result == "warn" and "(3 syncs)" in found.found and "NVMe" in found.remedy
    assert folders.judged([0.001] * 49 + [0.5]).result == "ok", "one in fifty is no p99"


def test_a_disk_that_cannot_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", refuse)
    failed(folders.disk(home), "Input/output error")


def test_a_data_folder_that_does_not_keep_its_promises(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open, real_replace = os.open, os.replace
    with monkeypatch.context() as patch:
        patch.setattr(
            "os.open", lambda path, flags, *more, **named: real_open(path, flags & ~os.O_EXCL, *more, **named)
        )
        failed(next(folders.data(home)), "O_EXCL")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", shutil.copy)
        failed(next(folders.data(home)), "rename")
    assert os.replace is real_replace

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    failed(next(folders.data(home)), "Permission denied")


def test_a_file_server_with_another_clock(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    for off_s, result in ((60.0, "fail"), (2.0, "warn"), (-60.0, "fail"), (0.0, "ok")):
        monkeypatch.setattr("time.time", lambda off_s=off_s: real() + off_s)
        found = list(folders.data(home))[1]
        assert found.result == result, found
        assert off_s == 0 or ("behind" if off_s > 0 else "ahead") in found.found


# ---- what is around ------------------------------------------------------------------------------


def test_a_site_file_with_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("name: x\nchip: h2000\npods: []\n")
    finding, setup = around.site(path)
    failed(finding, "")
    assert setup is None


def test_a_journal_that_lost_its_end(home: Path) -> None:
    path = home / "journal.db"
    with sqlite3.connect(path) as line:
        line.execute("DELETE FROM journal WHERE seq = 2")
    line.close()
    failed(around.journal(path), "record 2", "--repair")


def test_a_journal_that_is_gone_or_damaged_or_newer(home: Path) -> None:
    path = home / "journal.db"
    journal = SqliteJournal(path)
    journal.append([b'{"cause":"x","facts":[],"schema":99}'])
    journal.close()
    failed(around.journal(path), "newer Myriad", "upgrade")
    with sqlite3.connect(path) as line:
        line.execute("UPDATE journal SET body = 'x' WHERE seq = 3")
    line.close()
    failed(around.journal(path), "not what was written")
    path.write_bytes(b"\0" * 8192)
    failed(around.journal(path))
    path.unlink()
    failed(around.journal(path), "is gone")


def test_a_journal_without_its_head(home: Path) -> None:
    head.path_of(home / "journal.db").unlink()
    found = around.journal(home / "journal.db")
    assert found.result == "warn" and "--verify" in found.remedy


def test_a_port_that_another_program_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        failed(around.port("REST", "127.0.0.1", number, 0), "in use", str(number))
        assert around.port("REST", "127.0.0.1", number, 4711).result == "ok"
    assert around.port("REST", "127.0.0.1", number, 0).result == "ok"


def test_the_control_plane_that_runs_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path / "home", "--engine", "memory") as server:
        server.home.chmod(0o700)
        port, gateway = (url.rpartition(":")[2] for url in (server.url, server.gateway))
        code, found = doctor(server.home, "--port", port, "--gateway-port", gateway)
        assert code == 0 and found["control plane"]["result"] == "ok" and "clock: control plane" in found
        assert f"pid {server.process.pid}" in found[f"port {port}"]["found"]  # type: ignore[union-attr]
        monkeypatch.setattr("importlib.metadata.version", lambda _: "99")
        first, second = around.control_plane(server.url)
        assert first.result == "warn" and "this is 99" in first.found and second.result == "ok"
        real = time.time
        monkeypatch.setattr("time.time", lambda: real() - 60)
        _, second = around.control_plane(server.url)
        failed(second, "control plane", "chrony")
    failed(next(around.control_plane(server.url)), "refused")


class _Database:
    """A connection that answers what a test wants."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def connect(self, _url: str, **_: object) -> "_Database":
        return self

    def __enter__(self) -> "_Database":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, _: str) -> "_Database":
        return self

    def fetchone(self) -> Any:
        return self.answer


def test_a_database_that_is_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = (time.time(), "16.2", True)
    monkeypatch.setattr("myriad.store.postgres.connection.connect", _Database(answer).connect)
    failed(next(around.database("postgresql://db/x")), "read-only replica", "primary")


def test_a_database_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    (found,) = around.database(f"postgresql://me:secret@127.0.0.1:{number}/x")
    failed(found, "does not answer", "Start PostgreSQL")
    assert "secret" not in found.found + found.remedy


def test_a_real_database(postgres: Cluster) -> None:
    first, second = around.database(postgres.url())
    assert (first.result, second.result) == ("ok", "ok") and "primary" in first.found


def test_a_database_with_another_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = (time.time() - 30, "16.2", False)
    monkeypatch.setattr("myriad.store.postgres.connection.connect", _Database(answer).connect)
    first, second = around.database("postgresql://db/x")
    assert first.result == "ok"
    failed(second, "PostgreSQL is", "behind")
