"""One node's part of a gang, as a Slurm task: starts its ranks, hears them, and writes down what happens.

`python -m myriad.engines.slurm.member DATA ATTEMPT [USER]`, started by srun on every node of the gang. USER
is who we are, if not Myriad's own user. It needs neither the control plane nor Slurm to go on or to stop: its
orders are files of the shared folder.

It starts anew for every gang, so it imports the protocol only when a worker reports.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import stat
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

from myriad.engines.common import endings, forking, layout, ports, procs, ranks
from myriad.engines.slurm import guard, spool

if TYPE_CHECKING:
    from myriad.engines.common.reports import Listener
    from myriad.protocol.inputs import Input

_LOOK_EVERY_S = 0.25
_AGAIN_S = 0.05
#: A process that was killed with SIGKILL may be the first of all: Slurm ends a step so, with its member, when
#: it has lost track of the job. Whether it was meant alone is known so much later, or an eighth of the lease.
_ALONE_S = 1.0
_MEETING_S = 120.0
_MEMORY = "MYRIAD_MEMORY_DIR="
#: So long a job that was stopped finds its copies in memory again.
_IDLE_S = 600.0
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
_DATAGRAM_BYTES = 64 << 10
_DATAGRAMS_AT_ONCE = 256


class Plan:
    """What the engine wrote, as this node reads it."""

    def __init__(self, tree: dict[str, Any], node: str) -> None:
        self.node: str = node
        self.attempt: str = tree["attempt"]
        self.job: str = tree["job"]
        self.service: str = tree["service"]
        self.lease_s: float = tree["lease_s"]
        self.owner = Path(tree["owner"])
        self.logs = layout.logs_dir(self.owner, self.attempt)
        #: A process for the whole gang, on its first node.
        self.whole: bool = tree["whole"]
        self.launch = SimpleNamespace(**tree["launch"])
        members = [tree["members"][0]] if self.whole else tree["members"]
        self.master: str = members[0]["address"]
        names = [member["node"] for member in members]
        number = 0 if self.whole else names.index(node)
        self.address: str = members[number]["address"]
        self.instance: str = members[number]["instance"]
        sizes = [1 if self.launch.per_node or self.whole else len(m["chips"]) for m in members]
        self.launch.per_node = self.launch.per_node or self.whole
        self.here = ranks.Here(
            chips=members[number]["chips"],
            group_rank=number,
            group_size=len(members),
            first_rank=sum(sizes[:number]),
            world_size=sum(sizes),
        )
        #: Where this incarnation of the node keeps jobs' copies in memory.
        self.memory = Path(tree["memory"]) / node


class Member:
    """Runs until nothing of the attempt is left here; `code` is the worst of its ranks'."""

    def __init__(self, files: spool.Spool, plan: Plan) -> None:
        self._files, self._plan = files, plan
        # made once: whatever Slurm does, a member begins at most once
        self._log = os.open(files.log(plan.attempt, plan.node), _NEW, 0o644)
        self._marker = f"{plan.instance}/{plan.attempt}"
        self._guard = guard.Guard(plan.lease_s, self._marker)
        self._children: dict[int, ranks.Planned] = {}
        self._private = _private_folder()
        self._reports = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._reports.bind(os.fspath(self._private / "report.sock"))
        self._reports.setblocking(False)
        self._woken, self._waker = socket.socketpair()
        self._listener: Listener | None = None
        self.code, self._detail = 0, ""
        self._ending = ""  # exit or stop
        self._kill_at = self._alone_at = 0.0
        self._forget = False
        self._beat_at = self._look_at = self._pace_at = 0.0

    def run(self) -> None:
        """From the first process to the last word."""
        for channel in (self._woken, self._waker):
            channel.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._asked_by_slurm)
        procs.adopt_orphans()
        self._obey(time.monotonic())  # an order to stop may have come before us
        if not self._ending:
            self._begin()
        with selectors.DefaultSelector() as selector:
            selector.register(self._reports, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._turn(selector):
                pass
        self._say_last()

    def _begin(self) -> None:
        try:
            self._start()
        except OSError as error:
            self.code, self._detail = endings.CANNOT_START, f"cannot start: {error}"
            self._ending, self._kill_at = self._ending or "exit", time.monotonic()
        self._write({"type": "MemberStarted"})

    # ---- the loop --------------------------------------------------------------------------------

    def _turn(self, selector: selectors.BaseSelector) -> bool:
        selector.select(_AGAIN_S if self._ending else _LOOK_EVERY_S)
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        ended = procs.reap()
        # now all that they ever said is there, and is heard before their end is told
        self._hear()
        for pid, status in ended:
            if planned := self._children.pop(pid, None):
                self._ended(planned, os.waitstatus_to_exitcode(status))
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat(now)
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            self._obey(now)
        if self._listener:
            if self._listener.due_at is not None and self._listener.due_at <= now:
                self._listener.flush(now)
            if now >= self._pace_at and (pace := self._listener.pace()):
                self._pace_at = now + 1.0
                self._write({"type": "Paced", "pace_ns": pace})
        if not self._ending:
            return False
        remains = self._remains()
        if not remains and not self._children and now >= self._alone_at:
            return True
        if now >= self._kill_at:
            for process in remains:
                procs.send(process.pid, signal.SIGKILL)
        return False

    def _beat(self, now: float) -> None:
        """Touch our log: the control plane sees that we live, and the guard hears that it could."""
        self._beat_at, since = now + self._plan.lease_s / 8, guard.clock()
        try:
            os.utime(self._log)
        except OSError:
            return  # the guard ends us if that goes on
        self._guard.alive(since)

    def _obey(self, now: float) -> None:
        for path in self._files.stop_files(self._plan.attempt, self._plan.node):
            if (order := spool.read_json(path)) is not None:
                self._forget |= bool(order.get("forget"))
                self._stop(now + float(order.get("grace_s", 0.0)), gently=order.get("grace_s", 0.0) > 0)

    def _stop(self, deadline: float, *, gently: bool) -> None:
        if self._ending != "stop":
            self._ending, self._kill_at = "stop", deadline
            if gently:
                self._signal(signal.SIGTERM)
        self._kill_at = min(self._kill_at, deadline)

    def _asked_by_slurm(self, *_: object) -> None:
        """Slurm ends the step, by somebody's wish or at its time limit; what follows from it is SIGKILL."""
        if not self._ending:
            self._ending, self._kill_at = "slurm", time.monotonic() + endings.FAILED_GRACE_S
            self._signal(signal.SIGTERM)

    # ---- processes -------------------------------------------------------------------------------

    def _start(self) -> None:
        plan = self._plan
        own = ranks.owned(plan.owner, plan.attempt, plan.node, job=plan.job, service=plan.service)
        own |= {
            "MASTER_ADDR": plan.master,
            "MASTER_PORT": str(self._meeting()),
            "MYRIAD_REPORT": str(self._private / "report.sock"),
            "MYRIAD_REQUESTS": str(self._files.request(plan.attempt)),
            procs.MEMBER: self._marker,
        }
        folders = [plan.logs, plan.owner / "output"]
        if plan.job:
            _make_ours(plan.memory.parent)
            memory = self._memory()
            own[_MEMORY.rstrip("=")] = str(memory / plan.job)
            folders += [plan.owner / "checkpoints", memory]
        if plan.service:
            port = ports.free(set())
            own["MYRIAD_SERVICE_PORT"] = str(port)
            self._write({"type": "Listens", "url": f"http://{plan.address}:{port}"})
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        config = plan.logs / "config.json"
        if plan.launch.recipe:
            spool.write_json(config, plan.launch.config)
        for planned in ranks.planned(plan.here, plan.launch, own, plan.logs, os.environ):
            pid = forking.fork(planned.log, self._release, lambda one=planned: self._become(one, config))  # type: ignore[misc]
            self._guard.started(pid)
            self._children[pid] = planned

    def _become(self, planned: ranks.Planned, config: Path) -> NoReturn:
        launch = self._plan.launch
        os.chdir(launch.workdir or self._plan.owner / "output")
        if launch.command:
            forking.execute(tuple(launch.command), planned.env)
        forking.run_recipe([launch.recipe, "--config", str(config)], planned.env)

    def _meeting(self) -> int:
        """The port of the gang's first rank: chosen there, read by the others. Raises OSError."""
        path, plan = self._files.master(self._plan.attempt), self._plan
        if plan.here.group_rank == 0:
            port = ports.free(set())
            spool.replace(path, str(port))
            return port
        give_up_at = time.monotonic() + _MEETING_S
        while time.monotonic() < give_up_at:
            with contextlib.suppress(FileNotFoundError, ValueError):
                return int(path.read_text())
            self._beat(time.monotonic())
            self._obey(time.monotonic())
            if self._ending:
                raise OSError("it was stopped before it began")
            time.sleep(_AGAIN_S)
        raise OSError(f"the gang's first node said nothing for {_MEETING_S:.0f} s")

    def _memory(self) -> Path:
        """This incarnation's folder in memory. Earlier ones are of a node that died; jobs leave theirs behind
        when they are stopped, and may be brought back for a while, or never."""
        mine, oldest = self._plan.memory / self._plan.instance, time.time() - _IDLE_S
        with contextlib.suppress(OSError):
            for other in self._plan.memory.iterdir():
                if other != mine:
                    self._remove(other)
            left = [folder for folder in mine.iterdir() if folder.name != self._plan.job]
            if idle := [folder for folder in left if folder.stat().st_mtime < oldest]:
                used = {line for p in procs.table() for line in procs.environment(p.pid)}
                for folder in idle:
                    if f"{_MEMORY}{folder}" not in used:
                        self._remove(folder)
        return mine

    def _remove(self, folder: Path) -> None:
        """Of what may be much, and take long: signs of life go on."""
        for place, _, names in os.walk(folder, topdown=False):
            for name in names:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(place, name))
                if (now := time.monotonic()) >= self._beat_at:
                    self._beat(now)
            with contextlib.suppress(OSError):
                os.rmdir(place)

    def _ended(self, planned: ranks.Planned, code: int) -> None:
        if not self._ending and endings.worse(code, self.code):
            words = self._listener.last_words.get(planned.rank, "") if self._listener else ""
            self.code = code
            self._detail = endings.detail(planned.rank, code, words, planned.log)
        if self._ending:
            return
        if not self._children:
            self._ending, self._kill_at = "exit", time.monotonic()
            wait_s = max(_ALONE_S, self._plan.lease_s / 8)
            self._alone_at = self._kill_at + (wait_s if code == -signal.SIGKILL else 0.0)
        elif code:
            self._ending, self._kill_at = "exit", time.monotonic() + endings.FAILED_GRACE_S
            self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        for process in self._remains():
            procs.send(process.pid, number)

    def _remains(self) -> list[procs.Process]:
        if not procs.has_children():
            return []  # nor descendants, as we adopt them: the whole table need not be read
        everybody = procs.table()
        ours = [p for p in everybody if p.parent == os.getpid()]
        return procs.with_descendants(ours, everybody)

    def _release(self) -> None:
        """In a forked child: let go of what is the member's alone."""
        self._guard.release()
        for channel in (self._reports, self._woken, self._waker):
            channel.close()

    # ---- words -----------------------------------------------------------------------------------

    def _hear(self) -> None:
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                data = self._reports.recv(_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            from myriad.engines.common import reports

            report = reports.parse(data)
            if report is None or report.attempt != self._plan.attempt:
                continue
            if self._listener is None:
                self._listener = reports.Listener(self._plan.attempt, self._plan.node, self._tell)
            self._listener.hear(report, time.monotonic(), time.time_ns())

    def _tell(self, what: "Input") -> None:
        import msgspec

        os.write(self._log, msgspec.json.encode(what) + b"\n")

    def _write(self, tree: dict[str, Any]) -> None:
        at, plan = time.time_ns(), self._plan
        whole = {"type": tree.pop("type"), "at": at, "attempt": plan.attempt, "node": plan.node} | tree
        os.write(self._log, json.dumps(whole).encode() + b"\n")

    def _say_last(self) -> None:
        if self._listener:
            self._listener.flush(time.monotonic())
        if self._plan.job and (self._forget or (self._ending == "exit" and not self.code)):
            self._remove(self._plan.memory / self._plan.instance / self._plan.job)
        if self._ending == "stop":
            self._write({"type": "MemberGone"})
        elif self._ending == "slurm":
            self._write({"type": "EndedBySlurm"})
        else:
            self._write({"type": "MemberExited", "code": self.code, "detail": self._detail})
        os.fsync(self._log)
        self._guard.done()
        with contextlib.suppress(OSError):
            (self._private / "report.sock").unlink()
            self._private.rmdir()


def _make_ours(folder: Path) -> None:
    """A folder in a place where anybody may make one: nobody else's may take its place. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to somebody else")


def _private_folder() -> Path:
    """As `tempfile.mkdtemp`, whose import costs more than all the rest of a member's start."""
    folder = Path(os.environ.get("TMPDIR") or "/tmp") / f"myriad-{os.urandom(8).hex()}"
    folder.mkdir(mode=0o700)
    return folder


def main(argv: list[str]) -> int:
    """The member's life; its exit code is what Slurm shows."""
    files, attempt = spool.Spool(Path(argv[0])), argv[1]
    node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    path = files.plan(attempt)
    if argv[2:]:
        os.umask(0o027)
        files.belongs(attempt, argv[2], os.getuid(), {})
        path = files.master(attempt).with_name(path.name)
    tree = spool.read_json(path)
    if tree is None:
        print(f"myriad: there is no plan of {attempt} under {argv[0]}", file=sys.stderr)
        return 1
    try:
        member = Member(files, Plan(tree, node))
    except FileExistsError:
        print(f"myriad: {attempt} was started on {node} before", file=sys.stderr)
        return 1
    member.run()
    return min(abs(member.code), 255)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # nothing is left to tidy up, and doing it takes as long as a look at the table
