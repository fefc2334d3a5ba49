"""kill -9, freezes and restarts of everything that decides, on a real Slurm with a PostgreSQL journal.

Clients submit, cancel and drain without pause. Each process of a gang writes its attempt, rank and pid into
one file as it starts. After each phase: what was acknowledged is there and came to its end, nothing was
started twice, nothing runs of what is over, and Slurm's jobs are Myriad's gangs. `-s` shows the counts.
"""

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from bench.peers.postgres import Cluster as Postgres

from tests.server.harness import Clients, Server, python, wait_for
from tests.server.test_standby import role, wait_lead
from tests.slurm import plane
from tests.slurm.cluster import Cluster

_CLIENTS = 4
#: So many jobs that are not over: what two cores start in a few seconds.
_OPEN = 16
#: Says that it started, and lives a little. It never fails, so nobody may ever be told that it did.
_WORK = """
import os, random, time
line = f"{os.environ['MYRIAD_ATTEMPT']} {os.environ['RANK']} {os.getpid()}\\n"
file = os.open(%r, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(file, line.encode())
time.sleep(%s)
"""
_LIVES_A_LITTLE = "random.choice((0.02, 1.0, 5.0))"
_OVER = ("succeeded", "failed", "cancelled")
_SETTLE_S = 120.0


class Row(msgspec.Struct, kw_only=True):
    """What one phase came to. `lost` and all after it must be 0."""

    what: str
    kills: int = 0
    acknowledged: int = 0
    cancelled: int = 0
    started: int = 0
    attempts: int = 0
    lost: int = 0
    twice: int = 0
    blamed: int = 0
    zombies: int = 0
    drift: int = 0
    #: slurmd that ended, or fell silent, though nobody had touched them: not Myriad's doing.
    revived: int = 0
    away_s: float = 0.0
    settled_s: float = 0.0
    #: Causes of the ends of attempts.
    ends: dict[str, int] = {}


class Load(Clients):
    """Clients that ask without pause, each intent again under its own key until it is acknowledged."""

    def __init__(self, scene: "Scene", name: str) -> None:
        self._scene, self._name = scene, name
        self.admitted: dict[str, None] = {}
        self.cancelled: dict[str, None] = {}
        self.unexpected: list[str] = []
        self.answered_at = 0.0
        self._open = 0
        super().__init__(_CLIENTS)

    def run(self, number: int) -> None:
        chance, count = random.Random(f"{self._name}{number}"), 0
        with httpx.Client(timeout=5, trust_env=False, verify=False) as client:
            while not self.over.is_set():
                count += 1
                intent = self._intent(chance, f"{self._name}-{number}-{count}")
                while not self.over.is_set() and not self._acknowledged(client, *intent):
                    time.sleep(0.05)
                time.sleep(chance.uniform(0.05, 0.2))

    def _intent(self, chance: random.Random, once: str) -> tuple[str, Any, str]:
        kind = chance.random()
        if kind < 0.1:
            return (
                f"/nodes/{chance.choice(self._scene.drainable)}/{chance.choice(('drain', 'undrain'))}",
                None,
                "",
            )
        if (kind < 0.3 or self._open > _OPEN) and self.admitted:
            return f"/jobs/{chance.choice(list(self.admitted))}/cancel", None, ""
        shape = {"nodes": chance.randint(1, 3), "chips_per_node": chance.choice((1, 1, 2, 8))}
        return "/jobs", {"spec": self._scene.work(_LIVES_A_LITTLE, name=once, launch="node", **shape)}, once

    def _acknowledged(self, client: httpx.Client, path: str, body: Any, once: str) -> bool:
        server = self._scene.server
        headers = {"Authorization": f"Bearer {server.key}"} | ({"Idempotency-Key": once} if once else {})
        try:
            answer = client.post(f"{server.url}/api/v1{path}", json=body, headers=headers)
            tree = answer.json()
        except (httpx.TransportError, json.JSONDecodeError):
            return False  # it is away
        if answer.status_code not in (200, 201):
            if answer.status_code != 503:
                self.unexpected.append(f"{path}: {answer.status_code} {answer.text}")
            return answer.status_code != 503
        self.answered_at = time.monotonic()
        if path == "/jobs":
            self.admitted[tree["job"]["job"]] = None
            self._open += 1
        elif path.endswith("/cancel"):
            self.cancelled[tree["job"]] = None
            self._open = max(0, self._open - 1)
        return True


class Scene:
    """A Slurm, a database, and whoever leads."""

    def __init__(self, stack: ExitStack, cluster: Cluster, postgres: Postgres, folder: Path) -> None:
        self._stack, self.cluster, self.postgres, self.folder = stack, cluster, postgres, folder
        self.data, self.starts = folder / "data", folder / "starts"
        site = plane.site_file(cluster, folder, burn_in="none", lease="10s", look_every="1s")
        self._options = ["--engine", "slurm", "--site", str(site), "--data", str(self.data)]
        self._options += ["--journal", postgres.database()]
        stack.callback(cluster.clear)
        self.server = self.add("first").start(plane.PATIENCE_S)
        wait_for(lambda: plane.usable(self.server) == 16, self.server.said, 60)
        self.server.tenant(chips=128)
        #: Gangs that live through everything.
        self.anchors = [self.submit(self.work("3600", name=f"anchor{k}", nodes=2)) for k in range(2)]
        for job in self.anchors:
            self.server.wait_state(job, "running", patience_s=plane.PATIENCE_S)
        taken = {name for job in self.anchors for name in self.server.job(job)["placed_on"]}
        self.drainable = [name for name in cluster.names[8:] if name not in taken]
        self.rows: list[Row] = []

    def add(self, name: str, *more: str) -> Server:
        """One more control plane, not started."""
        server = Server(self.folder / name, *self._options, *more, env=self.cluster.env)
        self._stack.callback(server.end)
        return server

    def work(self, seconds: str, **more: Any) -> dict[str, Any]:
        """A job whose processes write that they started, then live so long."""
        return python(_WORK % (str(self.starts), seconds), **more)

    def submit(self, spec: dict[str, Any]) -> str:
        """Submit a job; its id."""
        return self.server.submit(spec)

    # ---- phases ----------------------------------------------------------------------------------

    def phase(self, what: str, kills: int, kill: Callable[[Load], float]) -> None:
        """So many kills under load, each checked at once, then the rest."""
        row = Row(what=what, kills=kills)
        before, silenced = len(self.started()), self.cluster.silenced()
        with Load(self, f"l{len(self.rows)}") as load:
            wait_for(lambda: len(load.admitted) > 5, self.server.said)
            for _ in range(kills):
                # what was acknowledged until now, not what is just being asked
                row.away_s += kill(load)
                self._check_kept(list(load.admitted), list(load.cancelled))
        assert not load.unexpected, load.unexpected[:3]
        began = time.monotonic()
        self._settle(load, row, silenced)
        row.settled_s = time.monotonic() - began
        row.acknowledged, row.cancelled = len(load.admitted), len(load.cancelled)
        row.started = len(self.started()) - before
        self.rows.append(row)
        print(msgspec.json.encode(row).decode(), flush=True)

    def _check_kept(self, admitted: list[str], cancelled: list[str]) -> None:
        states = {one["job"]: one["state"] for one in self.server.get("/jobs")}
        assert not set(admitted) - set(states), "an acknowledged job is gone"
        alive = ("admitted", "placed", "starting", "running", "checkpointing")
        revived = [job for job in cancelled if states[job] in alive]
        assert not revived, f"an acknowledged cancel is gone: {revived}"
        verified = self.server.post("/journal/verify")
        assert verified["equal"] and not verified["problem"], verified

    def _settle(self, load: Load, row: Row, silenced: int) -> None:
        """After the storm: all comes to its end but the anchors, and both sides agree on these."""
        server = self.server
        for name in self.drainable:
            server.post(f"/nodes/{name}/undrain")
        for one in server.get("/jobs"):
            if one["state"] == "admitted":  # only waits: it would take its time
                server.post(f"/jobs/{one['job']}/cancel")

        def ended() -> bool:
            return all(one["state"] in _OVER for one in server.get("/jobs") if one["job"] not in self.anchors)

        wait_for(ended, lambda: f"{self._open()}\n{server.said()[-3000:]}", _SETTLE_S)
        wait_for(lambda: not self._apart(), patience_s=_SETTLE_S, story=lambda: str(self._apart()))
        wait_for(lambda: not self._zombies(), patience_s=30, story=lambda: str(self._zombies()))
        row.revived = len(self.cluster.revive()) + self.cluster.silenced() - silenced
        wait_for(lambda: plane.usable(server) == 16, self._nodes, plane.PATIENCE_S)
        jobs = {one["job"]: one for one in server.get("/jobs")}
        lines = [line.rpartition(" ")[0] for line in self.started()]
        starts = Counter(lines)
        row.twice = sum(times > 1 for times in starts.values())
        row.lost = len(set(load.admitted) - set(jobs))
        for job in load.admitted:
            one = jobs[job]
            row.attempts += one["attempts"]
            row.blamed += one["state"] == "failed" or any(end["cause"] == "job" for end in one["history"])
            if one["state"] == "succeeded":
                last = one["history"][-1]["attempt"]
                row.lost += any(f"{last} {rank}" not in starts for rank in range(one["nodes"]))
        row.drift, row.zombies = len(self._apart()), len(self._zombies())
        ends = Counter(end["cause"] for job in load.admitted for end in jobs[job]["history"])
        row.ends = dict(ends)
        assert [row.twice, row.lost, row.blamed] == [0, 0, 0], self._wrong(load, jobs, starts)
        attempts = [jobs[job]["attempts"] for job in self.anchors]
        assert attempts == [1, 1] or row.revived, "what only ran was left alone"
        self._check_kept(list(load.admitted), list(load.cancelled))

    def _wrong(self, load: Load, jobs: dict[str, Any], starts: Counter[str]) -> str:
        twice = [what for what, times in starts.items() if times > 1]
        blamed = [
            (end["attempt"], end["why"])
            for job in load.admitted
            for end in jobs[job]["history"]
            if end["cause"] == "job"
        ]
        return f"started twice: {twice}; blamed: {blamed}"

    def _open(self) -> list[str]:
        return [str(one) for one in self.server.get("/jobs") if one["state"] not in _OVER]

    def _nodes(self) -> str:
        """Those that are not in service, as Myriad and Slurm see them."""
        off = [one for one in self.server.get("/nodes") if one["state"] not in plane.IN_SERVICE]
        seen = [self.cluster.run("scontrol", "--oneliner", "show", "node", one["node"]) for one in off]
        return f"{off}\n{seen}\n{self.server.said()[-3000:]}"

    def started(self) -> list[str]:
        """Lines `attempt rank pid` so far."""
        return self.starts.read_text().splitlines() if self.starts.exists() else []

    def live(self) -> set[str]:
        """Attempts that Myriad takes to be under way."""
        return {attempt for one in self.server.get("/nodes") for attempt in one["attempts"]}

    def _apart(self) -> set[str]:
        """Attempts that only Slurm or only Myriad knows of."""
        said = self.cluster.run("squeue", "--noheader", "--format=%j", check=False)
        return {
            name.partition("/")[2] for name in said.splitlines() if name.startswith("myriad-")
        } ^ self.live()

    def _zombies(self) -> set[str]:
        """Attempts that are over, and of which something runs."""
        return attempts_running(self.data) - self.live()


def attempts_running(data: Path) -> set[str]:
    """Attempts of which a process runs: a member, or a rank."""
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            argv = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            pairs = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        env = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if env.get("MYRIAD_OUTPUT_DIR", "").startswith(f"{data}/"):
            found.add(env.get("MYRIAD_ATTEMPT", "?"))
        elif "myriad.engines.slurm.member" in argv and str(data) in argv:
            found.add(argv[argv.index(str(data)) + 1])
    return found


# ---- what is killed ------------------------------------------------------------------------------


def kill_myriad(scene: Scene, chance: random.Random) -> float:
    """SIGKILL at a random moment, and start again."""
    time.sleep(chance.uniform(0.1, 2.0))
    scene.server.kill()
    began = time.monotonic()
    scene.server.start(plane.PATIENCE_S)
    return time.monotonic() - began


def kill_slurmctld(scene: Scene, chance: random.Random) -> float:
    """SIGKILL: it forgets up to five seconds. It is away a little, and back."""
    time.sleep(chance.uniform(1.0, 6.0))
    scene.cluster.kill_slurmctld()
    began = time.monotonic()
    time.sleep(chance.uniform(0.0, 3.0))
    scene.cluster.start_slurmctld()
    away_s = time.monotonic() - began
    wait_for(lambda: len(scene.cluster.states()) == 16)
    return away_s


def restart_postgres(scene: Scene, chance: random.Random, load: Load) -> float:
    """As it is restarted, and as it crashes; until something is acknowledged again."""
    time.sleep(chance.uniform(0.5, 2.0))
    began = time.monotonic()
    scene.postgres.stop(chance.choice((signal.SIGINT, signal.SIGQUIT)))
    time.sleep(0.3)
    scene.postgres.start()
    back = time.monotonic()
    wait_for(lambda: load.answered_at > back, scene.server.said)
    return load.answered_at - began


def freeze_leader(scene: Scene, frozen_s: float) -> float:
    """SIGSTOP for so long while a standby takes over; then it goes on, and must find that it is over."""
    old, new = scene.server, scene.add(f"next{len(scene.rows)}", "--standby")
    new.start(plane.PATIENCE_S)
    wait_for(lambda: role(new).get("leader_url") == old.url, lambda: str(role(new)))
    time.sleep(1.0)
    assert old.process
    old.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    answers: list[object] = []
    late = threading.Thread(target=lambda: answers.append(_ask_late(old)))
    late.start()
    wait_lead(new)
    away_s = time.monotonic() - began
    new.tenant_keys, scene.server = old.tenant_keys, new
    time.sleep(max(0.0, frozen_s - away_s))
    old.process.send_signal(signal.SIGCONT)
    assert old.process.wait(30) == 3, old.said()[-3000:]
    assert "another control plane leads" in old.said() and "Traceback" not in old.said()
    late.join()
    assert answers[0] in (503, "gone") and "late" not in {one["name"] for one in new.get("/jobs")}
    return away_s


def _ask_late(old: Server) -> object:
    """Its socket takes the request; what it says when it wakes must not be yes."""
    try:
        with httpx.Client(timeout=120, trust_env=False, verify=False) as client:
            headers = {"Authorization": f"Bearer {old.key}"}
            spec = python("pass", name="late")
            return client.post(f"{old.url}/api/v1/jobs", json={"spec": spec}, headers=headers).status_code
    except httpx.TransportError:
        return "gone"


# ---- the story -------------------------------------------------------------------------------------


@pytest.fixture
def scene(slurm: Cluster, postgres: Postgres, tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        found = Scene(stack, slurm, postgres, tmp_path)
        yield found


def _story(scene: Scene, myriad: int, slurmctld: int, database: int, frozen_s: float) -> None:
    chance = random.Random(myriad)
    try:
        scene.phase("kill -9 Myriad", myriad, lambda _: kill_myriad(scene, chance))
        scene.phase("kill -9 slurmctld", slurmctld, lambda _: kill_slurmctld(scene, chance))
        scene.phase("restart PostgreSQL", database, lambda load: restart_postgres(scene, chance, load))
        scene.phase("freeze leader", 1, lambda _: freeze_leader(scene, frozen_s))
    finally:
        _show(scene.rows, scene.folder / "kills.json")
    for job in scene.anchors:
        scene.server.post(f"/jobs/{job}/cancel")
    wait_for(lambda: not scene.live() and not attempts_running(scene.data), patience_s=60)


def _show(rows: list[Row], path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(rows)))
    names = Row.__struct_fields__[:-1]
    shown = [
        [f"{one:.1f}" if isinstance(one, float) else str(one) for one in msgspec.structs.astuple(row)[:-1]]
        for row in rows
    ]
    widths = [max(len(line[k]) for line in [names, *shown]) for k in range(len(names))]
    print(f"\n{path}")
    for line in [names, *shown]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))


@pytest.mark.timeout(900)
def test_a_few_kills(scene: Scene) -> None:
    _story(scene, myriad=5, slurmctld=2, database=1, frozen_s=12)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_kills(scene: Scene) -> None:
    """Minutes: twenty starts, each a lease of the database after its kill, and a minute of silence."""
    _story(scene, myriad=20, slurmctld=5, database=3, frozen_s=60)
