"""From SIGKILL to the first new step: Myriad beside plain torchrun, same recipe, same machine, one run.

Myriad: a real control plane with six nodes; a whole node of a four-node training gang is killed (its agent
and its worker), replaced by the hot spare, and the gang resumes from its last checkpoint. The instants come
from the journal: detect (evidence enough), decide (survivors stopped, the dead node fenced, the next gang
placed), start (all processes exist), load (state is back), step (the first new step is done).

torchrun: one agent, four workers, `--max-restarts`, and TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1: by default it
never recovers with gloo in this version (its kept store hands out addresses of the dead). One worker is
killed, which is less than a node.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import report
from myriad.cli.client import Client
from myriad.cli.context import Context
from myriad.engines.common import procs
from myriad.engines.local import agent, paths
from myriad.kernel.units import SECOND
from myriad.protocol import facts
from myriad.protocol.facts import Fact

#: Small batches: the figure is about restarting, not about arithmetic on two cores.
CONFIG: dict[str, Any] = {
    "steps": 100_000,
    "global_batch_sequences": 4,
    "micro_batch_sequences": 1,
    "precision": "bf16",
    "checkpoint_every_steps": 10,
    "data": {"limit_bytes": 1_000_000},
}
TENANT = {"kind": "tenant", "name": "bench", "quota": {"chips": 6}}
PHASES = ("detect", "decide", "start", "load", "step")
PATIENCE_S = 120.0


def waited(look: Callable[[], Any], what: str) -> Any:
    """Poll until `look` gives something true."""
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at:
        if found := look():
            return found
        time.sleep(0.02)
    raise SystemExit(f"bench.restart: waited {PATIENCE_S:.0f} s for {what}")


# ---- Myriad ---------------------------------------------------------------------------------------


def of_myriad(rounds: int) -> list[dict[str, float]]:
    """Kill a node of the gang so many times; seconds by phase for each."""
    with tempfile.TemporaryDirectory(prefix="myriad-bench-") as folder:
        environment = os.environ | {"MYRIAD_HOME": folder}
        cli = [sys.executable, "-m", "myriad.cli"]
        up = [*cli, "up", "--port", "0", "--gateway-port", "0"]
        subprocess.run(up, env=environment, check=True, stdout=subprocess.DEVNULL)
        try:
            with Context(home=folder).local() as client:
                return list(_kills(client, Path(folder), rounds))
        finally:
            subprocess.run(
                [*cli, "down", "--grace", "1s"], env=environment, check=True, stdout=subprocess.DEVNULL
            )


def _kills(client: Client, home: Path, rounds: int) -> Iterator[dict[str, float]]:
    client.apply_tenants([TENANT])
    spec = {"kind": "training", "name": "bench", "tenant": "bench", "nodes": 4, "recipe": "pretrain"}
    spec["config"] = CONFIG
    spec["checkpoint"] = {"every": f"{CONFIG['checkpoint_every_steps']} steps"}
    job = client.submit(spec).job.job
    for number in range(rounds):
        goal = client.job(job).kept_step + 1
        waited(lambda goal=goal: client.job(job).kept_step >= goal, "a checkpoint")
        waited(lambda: any(node.state == "spare" for node in client.nodes()), "a hot spare")
        # a few steps on, so that there is work to lose
        time.sleep(0.5)
        victim = client.job(job).placed_on[1 + number % 3]
        last = client.journal(limit=1).last
        killed_at = time.time_ns()
        _kill(home, victim)
        yield _phases(client, last, killed_at)


def _kill(home: Path, node: str) -> None:
    record = agent.read_record(paths.agent_record(home, node))
    assert record is not None, node
    for process in procs.of_incarnation(record.pid, record.started, record.instance):
        procs.send(process.pid, signal.SIGKILL)


def _phases(client: Client, after: int, killed_at: int) -> dict[str, float]:
    """Instants of the phases, out of the journal."""
    marks: dict[str, int] = {}

    def look() -> bool:
        nonlocal after
        for entry in client.journal(after).entries:
            after = entry.seq
            for fact in entry.facts:
                _mark(marks, fact)
        return "step" in marks

    waited(look, "the first new step")
    ends = [killed_at, *(marks[phase] for phase in PHASES)]
    split = {phase: (ends[k + 1] - ends[k]) / SECOND for k, phase in enumerate(PHASES)}
    return {**split, "total": (ends[-1] - killed_at) / SECOND}


def _mark(marks: dict[str, int], fact: Fact) -> None:
    """Note the first fact of each phase, in their order."""
    match fact:
        case facts.NodeLost():
            marks.setdefault("detect", fact.at)
        case facts.GangPlaced() if "detect" in marks:
            marks.setdefault("decide", fact.at)
        case facts.GangStarted() if "decide" in marks:
            marks.setdefault("start", fact.at)
        case facts.GangRunning() if "start" in marks:
            marks.setdefault("load", fact.at)
        case facts.StepsDone() if "load" in marks:
            marks.setdefault("step", fact.at)


# ---- torchrun -------------------------------------------------------------------------------------


def of_torchrun() -> float:
    """Seconds from SIGKILL of one worker to the first new step under torchrun."""
    with tempfile.TemporaryDirectory(prefix="myriad-bench-") as folder:
        home = Path(folder)
        (home / "config.json").write_text(json.dumps(CONFIG))
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ear.bind(str(home / "ear"))
        ear.settimeout(PATIENCE_S)
        environment = os.environ | {
            "MYRIAD_REPORT": str(home / "ear"),
            "MYRIAD_JOB": "bench",
            "MYRIAD_ATTEMPT": "bench.1",
            "MYRIAD_CHECKPOINT_DIR": str(home / "checkpoints"),
            "MYRIAD_OUTPUT_DIR": str(home / "output"),
            "OMP_NUM_THREADS": "1",
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        }
        argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
        argv += [
            "--max-restarts",
            "3",
            "-m",
            "myriad.worker.run",
            "pretrain",
            "--config",
            str(home / "config.json"),
        ]
        with (home / "log").open("wb") as log:
            agent_process = subprocess.Popen(
                argv, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            return _one_kill(ear, agent_process.pid)
        finally:
            os.killpg(agent_process.pid, signal.SIGTERM)
            agent_process.wait()
            ear.close()


def _one_kill(ear: socket.socket, launcher: int) -> float:
    saved = 0
    while saved < 1:
        saved += _heard(ear)["kind"] == "checkpoint"
    workers = sorted(process.pid for process in procs.table() if process.parent == launcher)
    killed_at = time.monotonic()
    os.kill(workers[1], signal.SIGKILL)
    while _heard(ear)["kind"] != "resumed":
        pass
    while _heard(ear)["kind"] != "progress":
        pass
    return time.monotonic() - killed_at


def _heard(ear: socket.socket) -> dict[str, Any]:
    heard: dict[str, Any] = json.loads(ear.recv(65536))
    return heard


def main() -> None:
    """Print the split of each round, both medians, and the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{'round':>6} " + " ".join(f"{phase:>8}" for phase in (*PHASES, "total")), flush=True)
    rows = of_myriad(options.rounds)
    for number, row in enumerate(rows):
        print(f"{number:>6} " + " ".join(f"{row[phase]:>8.3f}" for phase in (*PHASES, "total")))
    median = {phase: round(statistics.median(row[phase] for row in rows), 3) for phase in (*PHASES, "total")}
    print(f"{'median':>6} " + " ".join(f"{median[phase]:>8.3f}" for phase in (*PHASES, "total")), flush=True)
    torchrun = of_torchrun()
    print(f"torchrun, one worker killed, with the environment variable: {torchrun:.2f} s (by default: never)")
    report.finish(
        "restart",
        median["total"],
        "s from SIGKILL of a node to the first new step",
        "torchrun --max-restarts, one worker killed",
        torchrun,
        better="lower",
        split={phase: median[phase] for phase in PHASES},
        slowest=round(max(row["total"] for row in rows), 3),
        rounds=len(rows),
    )


if __name__ == "__main__":
    main()
