"""A real Slurm on this machine whose nodes exist only in its books, for as long as a `with` block lasts.

The scheduler is the real slurmctld. All nodes share one address and port, where one real slurmd answers the
pings; they are made idle by hand. Jobs are allocations, so nothing is launched: what is measured is
scheduling alone. Everything listens on loopback, needs no privileges, no munge and no database, and is gone
after the block: the daemons are children of this process and die with it.
"""

import getpass
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

CHIPS_PER_NODE = 8
LEAF_NODES, POD_LEAVES = 32, 32
#: Debian keeps daemons where the PATH of ordinary users does not look.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
TOOLS = ("slurmctld", "slurmd", "scontrol", "scancel", "sinfo", "setpriv", "gcc")
SOURCE = Path(__file__).with_name("submit.c")
#: Tuned for many gangs: look at the whole queue, as long as the protocol allows (half of MessageTimeout), as
#: often as asked, and let backfill disturb the main loop rarely.
SCHEDULER = (
    "default_queue_depth=10000,max_sched_time=45,sched_interval=2,sched_min_interval=0,"
    "bf_interval=30,bf_max_job_test=5000,bf_continue,bf_max_time=120,bf_resolution=600"
)
START_S, COMMAND_S, QUIET_S, END_S = 30.0, 120.0, 90.0, 5.0
#: slurmctld pings all nodes this long after its start; before it, quiet means nothing.
FIRST_PING_S = 5.0


class SlurmError(RuntimeError):
    """Slurm did not do what the measurement needs; says what, with its own words."""


# ---- what it needs ----------------------------------------------------------------------------------


def available() -> str:
    """Empty, or why Slurm cannot be used here."""
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=PATH)]
    if missing:
        return f"not installed: {', '.join(missing)} (make slurm)"
    if Path(shutil.which("slurmctld", path=PATH) or "").resolve().name.endswith("-emulator"):
        return "slurmctld is Debian's emulator, which cannot start: remove slurm-wlm-emulator"
    with tempfile.TemporaryDirectory(prefix="myriad-slurm-") as folder:
        try:
            compile_submitter(Path(folder) / "submit")
        except SlurmError as error:
            return str(error)
    return ""


def version() -> str:
    """As in `22.05.8`."""
    return run([_tool("slurmctld"), "-V"], 10.0).split()[-1]


def compile_submitter(target: Path) -> None:
    """Build submit.c with libslurm."""
    run(["gcc", "-O1", "-o", str(target), str(SOURCE), "-lslurm"], COMMAND_S)


def _tool(name: str) -> str:
    return shutil.which(name, path=PATH) or name


def run(argv: Sequence[str], timeout_s: float, *, feed: str = "", env: dict[str, str] | None = None) -> str:
    """Output of a command that must succeed."""
    try:
        done = subprocess.run(
            argv, input=feed, capture_output=True, text=True, timeout=timeout_s, env=env, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{Path(argv[0]).name}: no answer in {timeout_s:.0f} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise SlurmError(f"{Path(argv[0]).name}: exit code {done.returncode}: {said[0]}")
    return done.stdout


# ---- its files --------------------------------------------------------------------------------------


def configuration(folder: Path, nodes: int, ports: tuple[int, int]) -> dict[str, str]:
    """Contents of slurm.conf, gres.conf and topology.conf, by name."""
    host, user = platform.node(), getpass.getuser()
    settings = {
        "ClusterName": "bench",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": ports[0],
        "SlurmUser": user,
        "SlurmdUser": user,
        # a throw-away cluster on loopback trusts whoever calls
        "AuthType": "auth/none",
        "CredType": "cred/none",
        "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd.pid",
        "SlurmctldLogFile": folder / "slurmctld.log",
        "SlurmdLogFile": folder / "slurmd.log",
        "SlurmctldDebug": "info",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "MpiDefault": "none",
        "MailProg": "/bin/true",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": SCHEDULER,
        "TopologyPlugin": "topology/tree",
        "PriorityType": "priority/basic",
        # a ping of all nodes at the start and then one in six hours
        "SlurmdTimeout": 65533,
        # no forwarding from node to node, and patience: one slurmd that stands for all would run out of
        # threads waiting for itself, and nodes would count as silent
        "TreeWidth": 65533,
        "MessageTimeout": 100,
        "TCPTimeout": 60,
        "InactiveLimit": 0,
        "MaxJobCount": 100_000,
        "GresTypes": "gpu",
        "AccountingStorageType": "accounting_storage/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "JobCompType": "jobcomp/none",
        "SlurmdParameters": "config_overrides",
    }
    # sockets and cores are told: 64 sockets of one core, the default, make decisions several times slower
    node = (
        f"NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} "
        f"Sockets=2 CoresPerSocket=32 ThreadsPerCore=1 RealMemory=1000 Gres=gpu:{CHIPS_PER_NODE}"
    )
    partition = "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO"
    lines = [*(f"{key}={value}" for key, value in settings.items()), node, partition]
    return {
        "slurm.conf": "\n".join(lines) + "\n",
        "gres.conf": f"Name=gpu File={folder}/gpu[0-{CHIPS_PER_NODE - 1}]\n",
        "topology.conf": topology(nodes),
    }


def topology(nodes: int) -> str:
    """A tree: leaves of 32 nodes, pods of 32 leaves, one core."""
    leaves = [(first, min(nodes, first + LEAF_NODES - 1)) for first in range(1, nodes + 1, LEAF_NODES)]
    last = len(leaves) - 1
    pods = [(first, min(last, first + POD_LEAVES - 1)) for first in range(0, len(leaves), POD_LEAVES)]
    lines = [f"SwitchName=leaf{k} Nodes=n[{low}-{high}]" for k, (low, high) in enumerate(leaves)]
    lines += [f"SwitchName=pod{k} Switches=leaf[{low}-{high}]" for k, (low, high) in enumerate(pods)]
    lines += [f"SwitchName=core Switches=pod[0-{len(pods) - 1}]"]
    return "\n".join(lines) + "\n"


# ---- the site ---------------------------------------------------------------------------------------


class Site:
    """A running Slurm of so many idle nodes."""

    def __init__(self, folder: Path, nodes: int, controller: subprocess.Popen[bytes]) -> None:
        self.folder, self.nodes, self.controller = folder, nodes, controller
        self.log = Log(folder / "slurmctld.log")

    def ask(self, tool: str, *words: str, feed: str = "", timeout_s: float = COMMAND_S) -> str:
        """What a client program of Slurm, or the submitter, answers."""
        program = str(self.folder / tool) if tool == "submit" else _tool(tool)
        env = os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf")}
        return run([program, *words], timeout_s, feed=feed, env=env)

    def submit(self, sizes: Sequence[int], *words: str) -> None:
        """Submit gangs of so many nodes each; `words` as submit.c explains them."""
        taken = int(self.ask("submit", *words, feed="\n".join(map(str, sizes)) + "\n"))
        assert taken == len(sizes), (taken, len(sizes))

    def empty(self) -> None:
        """All nodes idle, whatever they were, and slurmctld at rest."""
        for _ in range(3):  # a node whose answer got lost on a busy machine is idle* and gets no job
            # down ends what still completes on a node
            self.ask("scontrol", "update", "nodename=ALL", "state=down", "reason=bench")
            self.ask("scontrol", "update", "nodename=ALL", "state=idle")
            self.wait_quiet()
            found = self.ask("sinfo", "--noheader", "--format=%T %D").split()
            if found == ["idle", str(self.nodes)]:
                return
        raise SlurmError(f"sinfo: {' '.join(found)} nodes, but {self.nodes} should be idle")

    def check_alive(self) -> None:
        """That slurmctld has not ended; or its last words."""
        if self.controller.poll() is not None:
            said = (self.folder / "slurmctld.out").read_text(errors="replace").strip().splitlines()
            raise SlurmError(f"slurmctld ended: {(said or ['no output'])[-1]}")

    def cpu_s(self) -> float:
        """CPU seconds slurmctld has used so far."""
        fields = Path(f"/proc/{self.controller.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_quiet(self) -> None:
        """Until slurmctld does next to nothing for a second."""
        give_up_at, before = time.monotonic() + QUIET_S, self.cpu_s()
        while time.monotonic() < give_up_at:
            time.sleep(1.0)
            now = self.cpu_s()
            if now - before < 0.05:
                return
            before = now
        raise SlurmError(f"slurmctld is still busy after {QUIET_S:.0f} s without a job")


class Log:
    """New lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def lines(self) -> list[str]:
        """Whole lines since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        self._offset += len(text)
        return text.decode(errors="replace").splitlines()


@contextmanager
def site(nodes: int, progress: Callable[[str], None]) -> Iterator[Site]:
    """A Slurm of so many idle nodes, ended and removed with the block."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="myriad-slurm-")))
        _write(folder, nodes)
        compile_submitter(folder / "submit")
        began = time.monotonic()
        controller = stack.enter_context(_daemon(folder, "slurmctld", "-D", "-c"))
        _favour(controller.pid)
        stack.enter_context(_daemon(folder, "slurmd", "-D", "-N", "n1"))
        slurm = Site(folder, nodes, controller)
        _wait_up(slurm)
        progress(f"slurmctld answers after {time.monotonic() - began:.1f} s; its first ping follows")
        time.sleep(FIRST_PING_S)
        slurm.wait_quiet()
        slurm.empty()
        progress(f"{nodes:,} nodes idle after {time.monotonic() - began:.1f} s")
        yield slurm


def _write(folder: Path, nodes: int) -> None:
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    for k in range(CHIPS_PER_NODE):
        (folder / f"gpu{k}").touch()  # slurmd asks only that they exist
    for name, text in configuration(folder, nodes, _free_ports()).items():
        (folder / name).write_text(text)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@contextmanager
def _daemon(folder: Path, name: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon in the foreground and in a session of its own, ended with the block."""
    # should this process be killed, the kernel ends the daemon
    argv = ["setpriv", "--pdeathsig", "KILL", _tool(name), *words, "-f", str(folder / "slurm.conf")]
    with (folder / f"{name}.out").open("wb") as out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # helpers it left in its own group


def _favour(pid: int) -> None:
    """Before other sessions of a busy machine, where we may: plain `nice` does nothing across sessions."""
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text("-20")


def _wait_up(slurm: Site) -> None:
    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at:
        slurm.check_alive()
        try:
            if "is UP" in slurm.ask("scontrol", "ping", timeout_s=3.0):
                return
        except SlurmError:
            pass
        time.sleep(0.05)
    raise SlurmError(f"slurmctld does not answer after {START_S:.0f} s")
