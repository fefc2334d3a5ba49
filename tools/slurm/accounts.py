"""The accounts of a cluster: slurmdbd, and a MariaDB of its own that listens on a socket in the folder alone.

Nothing of it has a password: MariaDB knows its user by the socket, slurmdbd knows whom it speaks to by munge.
"""

import getpass
import shutil
import time
from collections.abc import Callable
from pathlib import Path

TOOLS = ("slurmdbd", "sacctmgr", "sacct", "mariadbd", "mariadb-install-db", "my_print_defaults")
#: How libmariadb, in slurmdbd, is told where MariaDB listens.
SOCKET = "MYSQL_UNIX_PORT"
START_S = 30.0
#: It is small, and what it knows need not outlive a machine that loses its power.
_OPTIONS = (
    "--innodb-log-file-size=8M",
    "--innodb-buffer-pool-size=32M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-lock-wait-timeout=900",
    "--skip-networking",
    "--debug-no-sync",
)


def missing(path: str) -> list[str]:
    """Programs that are not installed."""
    return [tool for tool in TOOLS if not shutil.which(tool, path=path)]


def socket(folder: Path) -> Path:
    """Where MariaDB listens."""
    return folder / "db" / "sql"


class Accounts:
    """Starts them for a cluster; how, the cluster knows: `launch` a daemon, `run` a program."""

    def __init__(
        self, folder: Path, launch: Callable[..., None], run: Callable[..., str], error: type[Exception]
    ) -> None:
        self._folder, self._launch, self._run, self._error = folder, launch, run, error

    def make(self) -> None:
        """An empty database, which nobody else may open."""
        folder, user = socket(self._folder).parent, getpass.getuser()
        folder.chmod(0o700)
        self._launch(
            "mariadb-install-db",
            "--no-defaults",
            f"--user={user}",
            f"--datadir={folder / 'data'}",
            "--auth-root-authentication-method=socket",
            f"--auth-root-socket-user={user}",
            "--skip-test-db",
            "--skip-name-resolve",
            _OPTIONS[0],
            _OPTIONS[-1],
        )

    def start(self) -> None:
        """MariaDB, slurmdbd, and the cluster in their books; whoever runs it may submit. Needs munged."""
        self.start_mariadbd()
        self.start_slurmdbd()
        self._run("sacctmgr", "-i", "add", "cluster", "here")
        if (user := getpass.getuser()) != "root":  # which has an account from the beginning
            self._run("sacctmgr", "-i", "add", "account", "here")
            self._run("sacctmgr", "-i", "add", "user", user, "account=here", "adminlevel=administrator")

    def start_mariadbd(self) -> None:
        """Returns when it listens."""
        where = socket(self._folder)
        argv = [
            "mariadbd",
            "--no-defaults",
            f"--user={getpass.getuser()}",
            f"--datadir={where.parent / 'data'}",
        ]
        argv += [f"--socket={where}", f"--pid-file={self._folder / 'run' / 'mariadbd.pid'}"]
        argv += [f"--log-error={self._folder / 'log' / 'mariadbd.log'}", *_OPTIONS]
        # it stays in the foreground by itself
        self._launch("sh", "-c", '"$@" &', "sh", *argv)
        self._wait(where.exists, "mariadbd")

    def start_slurmdbd(self) -> None:
        """Returns when it answers."""
        self._launch("slurmdbd")

        def answers() -> bool:
            try:
                self._run("sacctmgr", "-n", "show", "cluster", timeout_s=5.0)
            except self._error:
                return False
            return True

        self._wait(answers, "slurmdbd")

    def _wait(self, holds: Callable[[], bool], name: str) -> None:
        give_up_at = time.monotonic() + START_S
        while not holds():
            if time.monotonic() > give_up_at:
                log = self._folder / "log" / f"{name}.log"
                said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
                raise self._error(f"{name} does not answer after {START_S:.0f} s: {(said or ['no log'])[-1]}")
            time.sleep(0.05)
