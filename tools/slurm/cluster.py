"""A cluster in a folder: started, asked, broken on purpose, ended.

Everything is found again from the folder, so that one command starts it and another ends it.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import SystemRandom

from tools.slurm import accounts, files, processes
from tools.slurm.files import Ports, Shape

#: Debian keeps daemons where the PATH of ordinary users does not look.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
TOOLS = ("slurmctld", "slurmd", "munged", "scontrol", "sinfo", "squeue", "srun", "sbatch", "scancel")
#: What `start` makes and `stop` leaves for reading; nothing else in the folder is touched.
PARTS = ("state", "spool", "run", "log", "dev", "munge", "db")
START_AT_ONCE = 4
COMMAND_S, ANSWER_S, START_S, SECONDS_A_NODE, END_S = 60.0, 3.0, 30.0, 0.25, 10.0
#: A Unix socket's path has at most 107 bytes.
SOCKET_BYTES = 107


class SlurmError(RuntimeError):
    """Slurm did not do what it was asked; says what, with its own words."""


def available(*, accounting: bool = False) -> str:
    """Empty, or why Slurm, or Slurm with accounts, cannot be used here."""
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=PATH)]
    if missing:
        return f"not installed: {', '.join(missing)} (make slurm)"
    # under another name than slurmd, and the emulator has one, a slurmd forgets its chips
    if Path(shutil.which("slurmctld", path=PATH) or "").resolve().name.endswith("-emulator"):
        return "slurmctld is Debian's emulator, which cannot start: remove slurm-wlm-emulator"
    if accounting and (missing := accounts.missing(PATH)):
        return f"not installed: {', '.join(missing)} (make slurmdbd)"
    return ""


#: A slurmstepd's socket in the folder, of a job with a long number, and how long addresses may be.
_LONGEST, _ADDRESS_BYTES = "spool/node0000/node0000_9999999.4294967291", 107


class Cluster:
    """Slurm on this machine: slurmctld, and a slurmd for each node. `with Cluster(folder) as slurm: …`"""

    def __init__(
        self,
        folder: Path,
        nodes: int = 16,
        chips: int = 8,
        cpus: int = 16,
        changed: Mapping[str, object] | None = None,
        progress: Callable[[str], None] = lambda _: None,
        *,
        accounting: bool = False,
    ) -> None:
        self.folder = folder.resolve()
        self.shape = Shape(nodes, chips, cpus)
        if len(f"{self.folder}/{_LONGEST}") > _ADDRESS_BYTES:
            raise SlurmError(
                f"{self.folder}: is too long a name: Slurm's sockets there have a job's number in theirs. "
                f"Give a folder of at most {_ADDRESS_BYTES - len(_LONGEST) - 1} letters"
            )
        #: Keys of slurm.conf that shall be otherwise.
        self.changed = dict(changed or {})
        #: With slurmdbd: who has no account there may not submit.
        self.accounting = accounting
        self._accounts = accounts.Accounts(self.folder, self._launch, self.run, SlurmError)
        self._say = progress

    def __enter__(self) -> "Cluster":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def conf(self) -> Path:
        """Its slurm.conf: the value of SLURM_CONF."""
        return self.folder / "slurm.conf"

    @property
    def env(self) -> dict[str, str]:
        """The environment in which Slurm's programs mean this cluster."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SBATCH"))}
        found = kept | {"PATH": PATH, "SLURM_CONF": str(self.conf)}
        return found | ({accounts.SOCKET: str(accounts.socket(self.folder))} if self.accounting else {})

    @property
    def names(self) -> list[str]:
        """Its nodes in order."""
        return self.shape.names

    # ---- life --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it anew and return when all nodes are idle. Raises SlurmError, and then nothing runs."""
        if problem := available(accounting=self.accounting):
            raise SlurmError(problem)
        if self.controller_pid:
            raise SlurmError(f"a cluster is up in {self.folder} already")
        self.stop()  # what a crash may have left
        began = time.monotonic()
        try:
            self._write()
            keys = [f"--{key}={value}" for key, value in self._munge().items()]
            # forced: a folder that others may not enter, as those of tests, serves its owner alone
            self._launch("munged", "--force", "--num-threads=4", *keys)
            if self.accounting:
                self._accounts.make()
                self._accounts.start()
                self._say(f"slurmdbd answers after {time.monotonic() - began:.1f} s")
            self.start_slurmctld("-c")
            self._say(f"slurmctld answers after {time.monotonic() - began:.1f} s")
            # a few at a time: a slurmd reads its configuration and registers before it goes to the background
            with ThreadPoolExecutor(START_AT_ONCE) as pool:
                list(pool.map(self.start_slurmd, self.names))
            self.wait_state("idle", self.names, START_S + SECONDS_A_NODE * self.shape.nodes)
        except BaseException:
            self.stop()
            raise
        self._say(f"{self.shape.nodes:,} nodes idle after {time.monotonic() - began:.1f} s")

    def stop(self) -> None:
        """End all of its processes, jobs included. Twice is once."""
        for names in processes.DAEMONS:
            processes.end(processes.daemons(self.folder, *names), END_S)
        while left := processes.of_nodes(self.folder):
            processes.kill(left)

    def _write(self) -> None:
        for part in PARTS:
            shutil.rmtree(self.folder / part, ignore_errors=True)
            (self.folder / part).mkdir(parents=True)
        for name in self.names:
            (self.folder / "spool" / name).mkdir()
        for k in range(self.shape.chips):
            (self.folder / "dev" / f"gpu{k}").symlink_to(os.devnull)
        if len(self._munge()["socket"]) + 2 > SOCKET_BYTES:  # munged adds a suffix while it binds
            raise SlurmError(f"{self.folder} is too long a path for a socket: choose a shorter --folder")
        key = self.folder / "munge" / "key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        ports = free_ports(self.shape.nodes, accounting=self.accounting)
        for name, text in files.configuration(self.folder, self.shape, ports, self.changed).items():
            (self.folder / name).write_text(text)
        if self.accounting:
            (self.folder / "slurmdbd.conf").touch(0o600)
            (self.folder / "slurmdbd.conf").write_text(files.slurmdbd(self.folder, ports))

    def _munge(self) -> dict[str, str]:
        munge = self.folder / "munge"
        return {
            "key-file": str(munge / "key"),
            "socket": str(munge / "socket"),
            "seed-file": str(munge / "seed"),
            "log-file": str(munge / "log"),
            "pid-file": str(self.folder / "run" / "munged.pid"),
        }

    def _launch(self, *argv: str) -> None:
        """A daemon that goes to the background by itself."""
        with (self.folder / "log" / "start.log").open("ab") as out:
            done = subprocess.run(
                argv,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                timeout=COMMAND_S,
                start_new_session=True,
                check=False,
            )
        if done.returncode:
            said = (self.folder / "log" / "start.log").read_text(errors="replace").strip().splitlines()
            raise SlurmError(f"{argv[0]}: exit code {done.returncode}: {(said or ['no output'])[-1]}")

    # ---- asking ------------------------------------------------------------------------------------

    def run(self, *argv: str, timeout_s: float = COMMAND_S, check: bool = True) -> str:
        """What a program says on standard output. Raises SlurmError if it fails or does not answer."""
        try:
            done = subprocess.run(
                argv, env=self.env, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SlurmError(f"{argv[0]}: no answer in {timeout_s:g} s") from error
        if done.returncode and check:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
            raise SlurmError(f"{' '.join(argv[:3])}: exit code {done.returncode}: {said[0]}")
        return done.stdout

    def states(self) -> dict[str, str]:
        """Each node's state as `sinfo` says it: idle, idle*, down*, drained, …; none if it is silent."""
        try:
            said = self.run("sinfo", "--Node", "--noheader", "--format=%N %T", timeout_s=ANSWER_S)
        except SlurmError:
            return {}
        return dict(line.split() for line in said.splitlines())

    def wait_state(self, wanted: str, nodes: Collection[str], patience_s: float = START_S) -> None:
        """Until these nodes are in that state."""
        give_up_at = time.monotonic() + patience_s
        while True:
            states = self.states()
            other = {name: states.get(name, "unknown") for name in nodes if states.get(name) != wanted}
            if not other:
                return
            if time.monotonic() > give_up_at:
                some = ", ".join(f"{name} {state}" for name, state in list(other.items())[:5])
                raise SlurmError(f"{len(other)} nodes not {wanted} after {patience_s:.0f} s: {some}")
            time.sleep(0.1)

    # ---- breaking ----------------------------------------------------------------------------------

    @property
    def controller_pid(self) -> int:
        """Of slurmctld; 0 if it does not run."""
        return processes.from_file(self.folder / "run" / "slurmctld.pid")

    def slurmd_pid(self, name: str) -> int:
        """Of a node's slurmd; 0 if it does not run."""
        return processes.from_file(self.folder / "run" / f"{name}.pid")

    def processes(self, name: str) -> list[int]:
        """What runs on a node beside its slurmd: slurmstepd, tasks and what they started."""
        return processes.of_nodes(self.folder, [name])

    def kill_slurmd(self, name: str) -> None:
        """A node is gone at once, as when its power fails: slurmd, and all that ran there."""
        if pid := self.slurmd_pid(name):
            processes.kill([pid])
        while left := self.processes(name):  # a fork may have been missed
            processes.kill(left)

    def start_slurmd(self, name: str) -> None:
        """Start a node's slurmd; it registers by itself."""
        self._launch("slurmd", "-N", name)

    def kill_slurmctld(self) -> None:
        """SIGKILL; it has no time to write its state."""
        if pid := self.controller_pid:
            processes.kill([pid])

    def start_slurmctld(self, *words: str) -> None:
        """Start it from its saved state (`-c`: from none) and return when it answers."""
        self._launch("slurmctld", *words)
        give_up_at = time.monotonic() + START_S
        while time.monotonic() < give_up_at:
            try:
                if "is UP" in self.run("scontrol", "ping", timeout_s=ANSWER_S):
                    return
            except SlurmError:
                pass
            time.sleep(0.05)
        log = self.folder / "log" / "slurmctld.log"
        said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        raise SlurmError(f"slurmctld does not answer after {START_S:.0f} s: {(said or ['no log'])[-1]}")


def free_ports(nodes: int, *, accounting: bool = False) -> Ports:
    """One for slurmctld, so many in a row, one for slurmdbd; below those that the kernel hands out by itself.

    A node that is killed and started again wants its old port: one of the kernel's own range could have been
    given away meanwhile.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    count = nodes + 1 + accounting
    for _ in range(100):
        first = SystemRandom().randrange(10_000, low - count)
        if all(_is_free(port) for port in range(first, first + count)):
            return Ports(first, first + 1, first + nodes + 1 if accounting else 0)
    raise SlurmError(f"no {count} free ports in a row between 10000 and {low}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
