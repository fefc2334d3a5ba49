"""The same gangs through Myriad: submitted to its REST API, placed by its brain, run by Slurm as its body."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tools.slurm.cluster import Cluster

from bench.clusters.figures import Cpu, Progress, Side
from bench.clusters.watch import Watch
from bench.clusters.work import EXPECTED_MINUTES, Gang, Marks
from bench.peers.slurm_site import CHIPS_PER_NODE

_POLL_S, _START_S, _END_S, _HTTP_S = 0.5, 300.0, 60.0, 120.0
_CLIENTS, _AHEAD_NS = 8, 24 * 3600 * 10**9
TENANT = "bench"
#: Only the first node of a gang starts a process, as for scripts that call srun; no burn-in.
SLURM: dict[str, Any] = {"burn_in": "none", "start": "gang", "lease": "2m", "options": ["--mem=0"]}
#: The policy that comes with Myriad, but that a gang waits a little for fewer racks (docs/policies.md).
POLICY = {"placement": {"wait_for_racks": 0.1}}


class Plane:
    """A control plane over a Slurm that is up."""

    def __init__(self, slurm: Cluster, folder: Path, **slurm_section: Any) -> None:
        folder.mkdir(parents=True)
        self.folder, self._slurm = folder, slurm
        imported = self._run("-m", "myriad.cli", "site", "import-slurm", "--chip", "local-cpu")
        (folder / "site.yaml").write_text(
            imported + _yaml(SLURM | slurm_section) + f"policy: {json.dumps(POLICY)}\n"
        )
        argv = [sys.executable, *_profiled(folder), "-m", "myriad.server", "--home", str(folder)]
        argv += ["--engine", "slurm", "--port", "0", "--gateway-port", "0"]
        with (folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, stdout=log, stderr=log, env=slurm.env, start_new_session=True
            )
        self._wait_open()

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], env=self._slurm.env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def _wait_open(self) -> None:
        give_up_at = time.monotonic() + _START_S
        while not (self.folder / "context.json").exists():
            self.check(time.monotonic() < give_up_at)
            time.sleep(0.1)
        context = json.loads((self.folder / "context.json").read_text())
        self.client = httpx.Client(
            base_url=context["api_url"],
            headers={"Authorization": f"Bearer {context['key']}"},
            trust_env=False,
            timeout=_HTTP_S,
        )

    def check(self, good: bool = True) -> None:
        """That it runs; or its last words."""
        if self.process.poll() is not None or not good:
            raise RuntimeError((self.folder / "server.log").read_text()[-3000:])

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """What the API answers."""
        answer = self.client.request(method, f"/api/v1/{path}", json=body or None)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def metric(self, name: str) -> float:
        """One that has no labels."""
        for line in self.client.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise KeyError(name)

    def wait_ready(self, nodes: int, progress: Progress) -> None:
        """Until so many nodes are ready for work."""
        give_up_at = time.monotonic() + _START_S
        while (ready := self.ask("GET", "site")["nodes_by_state"].get("ready", 0)) < nodes:
            self.check(time.monotonic() < give_up_at)
            progress.say(f"{ready:,} of {nodes:,} nodes are ready")
            time.sleep(0.2)

    def stop(self) -> None:
        """End the control plane alone."""
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def plane(slurm: Cluster, folder: Path, progress: Progress, **section: Any) -> Iterator[Plane]:
    """A control plane all of whose nodes are ready, ended with the block."""
    began = time.monotonic()
    found = Plane(slurm, folder, **section)
    try:
        found.wait_ready(slurm.shape.nodes, progress)
        progress.say(f"{slurm.shape.nodes:,} nodes ready after {time.monotonic() - began:.1f} s", now=True)
        chips = slurm.shape.nodes * CHIPS_PER_NODE
        tenants = [{"name": TENANT, "quota": {"chips": chips}}, {"name": "nobody", "quota": {"chips": chips}}]
        found.ask("POST", "tenants", tenants=tenants)
        yield found
    finally:
        found.stop()


def play(
    slurm: Cluster, found: Plane, queue: Sequence[Gang], limit_s: float, progress: Progress
) -> tuple[Side, Watch]:
    """Submit everything while the nodes are kept for another tenant, give them back, wait for the last end.

    As a partition of Slurm that is down and let up: all wait for one word, and nothing is done in advance.
    """
    marks, watch = Marks(found.folder / "marks"), Watch(slurm.folder / "log" / "slurmctld.log")
    end_at = time.time_ns() + _AHEAD_NS
    found.ask(
        "POST", "windows", name="kept", kind="reservation", tenant="nobody", end_at=end_at, nodes=slurm.names
    )
    began = time.monotonic()
    names = _submit(found, queue, marks)
    submit_s = time.monotonic() - began
    progress.say(f"{len(names):,} gangs submitted in {submit_s:.1f} s", now=True)
    decided_s = found.metric("myriad_decision_seconds_sum")
    cpu, released_at = Cpu(slurmctld=slurm.controller_pid, myriad=found.process.pid), time.time()
    found.ask("DELETE", "windows/kept")
    load: list[float] = []
    while True:
        begun, ended = marks.read()
        watch.read()
        site = found.ask("GET", "site")
        load.append(os.getloadavg()[0])
        live, here = len(watch.starts) - len(watch.ends), site["gangs_live"]
        progress.say(
            f"{len(begun):,} started, {len(begun) - len(ended):,} run, {len(ended):,} ended; "
            f"live in Slurm {live:,}, in Myriad {here:,}, waiting {site['jobs_waiting']:,}"
        )
        over = len(ended) == len(queue) and len(watch.ends) >= len(queue)
        if over and not site["gangs_live"] and not site["jobs_waiting"]:
            break
        found.check(time.time() - released_at < limit_s)
        time.sleep(_POLL_S)
    spent = cpu.spent()
    decided_s = found.metric("myriad_decision_seconds_sum") - decided_s
    side = Side(
        name="Myriad",
        submit_s=submit_s,
        released_at=released_at,
        jobs=_jobs(found.folder, names),
        begun=begun,
        ended=ended,
        decided_ms=1000 * decided_s / len(queue),
        cpu_s=spent,
        load=sum(load) / len(load),
    )
    return side, watch


def _submit(found: Plane, queue: Sequence[Gang], marks: Marks) -> dict[int, str]:
    """Gang's number -> the id of its job; several at a time, as people would."""

    def submit(gang: Gang) -> tuple[int, str]:
        spec = {
            "name": f"gang-{gang.number}",
            "tenant": TENANT,
            "nodes": gang.nodes,
            "chips_per_node": CHIPS_PER_NODE,
            "command": marks.command(gang),
            "expected": f"{EXPECTED_MINUTES}m",
        }
        return gang.number, found.ask("POST", "jobs", spec=spec)["job"]["job"]

    # in the queue's order, but for those few that are under way at once
    with ThreadPoolExecutor(_CLIENTS) as pool:
        return dict(pool.map(submit, queue))


def _jobs(folder: Path, names: dict[int, str]) -> dict[int, int]:
    """Gang's number -> the Slurm job that ran it, by the claim of its first attempt."""
    claims = folder / "slurm" / "claims"
    return {number: int((claims / f"{name}.1").read_text()) for number, name in names.items()}


def _yaml(section: dict[str, Any]) -> str:
    return "".join(f"  {name}: {json.dumps(value)}\n" for name, value in section.items())


def _profiled(folder: Path) -> list[str]:
    """With BENCH_PROFILE set the server runs under cProfile."""
    return ["-m", "cProfile", "-o", str(folder / "profile")] if os.environ.get("BENCH_PROFILE") else []
