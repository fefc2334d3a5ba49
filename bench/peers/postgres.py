"""A PostgreSQL server of one's own in a temporary folder, on a unix socket: for benchmarks, and for tests.

Durable as it comes: fsync and synchronous_commit stay on. It does not run as root: then it is started as the
user `postgres` that Debian's package makes.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

_PATIENCE_S = 60.0
_AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def programs() -> Path | None:
    """The newest installed version's folder of programs; None: there is none."""
    found = shutil.which("postgres")
    if found:
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    return versions[-1].parent if versions else None


def missing() -> str:
    """Why there cannot be one here; empty: there can."""
    if programs() is None:
        return "PostgreSQL is not installed (make postgres)"
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root, and there is no setpriv"
    return ""


class Cluster:
    """One server with one user, `myriad`, who owns every database. Use as a context manager."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="myriad-pg-", dir=folder))
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0

    def __enter__(self) -> "Cluster":
        try:
            return self.create().start()
        except BaseException:
            self.end()
            raise

    def __exit__(self, *_: object) -> None:
        self.end()

    def url(self, database: str = "postgres") -> str:
        """The address of a database."""
        return f"postgresql://myriad@/{database}?host={self.folder}"

    def create(self) -> "Cluster":
        """Lay the files out."""
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run(
            "initdb", "-D", "data", "-U", "myriad", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )
        return self

    def start(self) -> "Cluster":
        """Start it, and wait until it answers."""
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.folder)}
        # after a crash its thousand files are flushed by one call, not by one each
        settings["recovery_init_sync_method"] = "syncfs"
        argv = [self._program("postgres"), "-D", "data"]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._as_user(argv), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        give_up_at = time.monotonic() + _PATIENCE_S
        while True:
            try:
                psycopg.connect(self.url()).close()
                return self
            except psycopg.OperationalError:
                said = (self.folder / "log").read_text(errors="replace")
                assert self._process.poll() is None and time.monotonic() < give_up_at, said[-2000:]
                time.sleep(0.02)

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it, at once and cleanly (SIGINT), or as if it crashed (SIGQUIT). Sessions are lost."""
        if self._process:
            self._process.send_signal(number)
            self._process.wait(_PATIENCE_S)
            self._process = None

    def end(self) -> None:
        """Stop it and remove its files."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        """The address of a new, empty database."""
        self._count += 1
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE d{self._count}")  # type: ignore[arg-type]
        return self.url(f"d{self._count}")

    def _program(self, name: str) -> str:
        folder = programs()
        assert folder, missing()
        return str(folder / name)

    def _run(self, name: str, *argv: str) -> None:
        done = subprocess.run(
            self._as_user([self._program(name), *argv]), cwd=self.folder, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")

    @staticmethod
    def _as_user(argv: list[str]) -> list[str]:
        return [*_AS_POSTGRES, *argv] if os.getuid() == 0 else argv
