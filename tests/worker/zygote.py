"""A parent that preloads torch once and forks gangs on demand, as the local engine does.

Reads one JSON scenario per line from stdin, runs that gang to its end, answers with one JSON line:
{codes, reports, seconds, modules}. A scenario: {folder, config, world, env, nodes, at: {STEP: ACTION}} where
an action, taken when rank 0 reports that step, is ["kill", RANK], ["term"] or ["request", ID]; and `when`:
{TIER: STEP} with `then`: ACTION, taken as soon as every tier has a checkpoint of that step or later. With
`nodes`, the name of each rank's node, nodes have memory. What data a rank takes is in windows-RANK.jsonl.
`slow` is a rank whose layers take longer. `late`: threads that copy have no turn before a step more is done.

However late this process has its turn, no report is lost and an action comes at its step: rank 0 waits
after each step it reports until it was looked at. A gang that is to be acted on `when` does not end before.
"""

import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from myriad.engines.common import ports
from myriad.worker import reports as telling
from myriad.worker import run
from myriad.worker.recipes.pretrain import mirror, model, order, train

#: For what takes a moment on a machine that is not busy.
PATIENCE_S = 60.0
#: Enough for a copy in memory to be begun and told, whatever the cadence here.
LAST_STEPS = 6


def main() -> None:
    run.preload()
    threads = len(os.listdir("/proc/self/task"))
    print(json.dumps({"threads": threads}), flush=True)
    for line in sys.stdin:
        print(json.dumps(gang(json.loads(line))), flush=True)


def gang(scenario: dict[str, Any]) -> dict[str, Any]:
    folder = Path(scenario["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(scenario["config"]))
    (folder / "request").unlink(missing_ok=True)
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    (folder / "agent.sock").unlink(missing_ok=True)
    agent.bind(str(folder / "agent.sock"))
    agent.settimeout(0.05)
    began = time.monotonic()
    looked_at, go_on = os.pipe()
    pids = start(folder, scenario, looked_at)
    reports, codes = watch(agent, pids, folder, scenario, began, go_on)
    for descriptor in (looked_at, go_on):
        os.close(descriptor)
    agent.close()
    return {"codes": codes, "reports": reports, "seconds": time.monotonic() - began}


def start(folder: Path, scenario: dict[str, Any], looked_at: int) -> list[int]:
    port = ports.free(set())
    pids = []
    for rank in range(scenario["world"]):
        pid = os.fork()
        if pid == 0:
            os.environ.update(environment(folder, rank, scenario["world"], port))
            os.environ.update(scenario.get("env", {}))
            if nodes := scenario.get("nodes"):
                os.environ.update(on_node(folder, nodes, rank))
            log = os.open(folder / f"rank-{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if rank == scenario.get("slow"):
                slow_down()
            if scenario.get("late"):
                be_late()
            watch_data(folder / f"windows-{rank}.jsonl")
            keep_step(looked_at)
            settle_before_the_end()
            run.exit_with(["pretrain", "--config", str(folder / "config.json")])
        pids.append(pid)
    return pids


def environment(folder: Path, rank: int, world: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "MYRIAD_ATTEMPT": "attempt-1",
        "MYRIAD_CHECKPOINT_DIR": str(folder / "checkpoints"),
        "MYRIAD_OUTPUT_DIR": str(folder / "output"),
        "MYRIAD_REPORT": str(folder / "agent.sock"),
        "MYRIAD_REQUESTS": str(folder / "request"),
    }


def on_node(folder: Path, nodes: list[str], rank: int) -> dict[str, str]:
    """The place of a rank when each has a node: ranks of one node share its memory."""
    return {
        "GROUP_RANK": str(list(dict.fromkeys(nodes)).index(nodes[rank])),
        "MYRIAD_MEMORY_DIR": str(folder / "memory" / nodes[rank]),
    }


def slow_down() -> None:
    fast = model.FeedForward.forward

    def forward(self: model.FeedForward, x: Any) -> Any:
        time.sleep(0.1)
        return fast(self, x)

    model.FeedForward.forward = forward  # type: ignore[method-assign]


def be_late() -> None:
    step, run_soon = train._Run._step, mirror.Mirror._run
    done = 0

    def counted(self: Any, **asked: bool) -> Any:
        nonlocal done
        agreed = step(self, **asked)
        done += 1
        return agreed

    def run_late(self: mirror.Mirror, work: Any) -> None:
        begun = done

        def late(folder: Path) -> None:
            give_up_at = time.monotonic() + 0.2  # the last steps wait for this thread
            while done == begun and time.monotonic() < give_up_at:
                time.sleep(0.001)
            work(folder)

        run_soon(self, late)

    train._Run._step = counted  # type: ignore[method-assign]
    mirror.Mirror._run = run_late  # type: ignore[method-assign]


def watch_data(path: Path) -> None:
    taken_by = order.window_of

    def window_of(*, step: int, index: int, **rest: int) -> int:
        window = taken_by(step=step, index=index, **rest)
        with path.open("a") as file:
            file.write(json.dumps([step, index, window]) + "\n")
        return window

    order.window_of = window_of  # type: ignore[assignment]


def keep_step(looked_at: int) -> None:
    """Reports wait for room in the queue; rank 0, who alone reports progress, until it was looked at."""
    send = telling._send

    def send_and_wait(kind: str, body: dict[str, object], *, patience_s: float) -> None:
        send(kind, body, patience_s=PATIENCE_S)
        if kind == "progress":
            if not select.select([looked_at], [], [], PATIENCE_S)[0]:
                raise TimeoutError(f"nothing came after step {body['step']}")
            os.read(looked_at, 1)

    telling._send = send_and_wait


def settle_before_the_end() -> None:
    """Copies in memory do not lag behind the last steps: chance does not decide what a short run tells."""
    step = train._Run._step

    def settled(self: Any, **asked: bool) -> Any:
        if self.mirror is not None and self.state.step >= self.config.steps - LAST_STEPS:
            self.mirror.wait()
        return step(self, **asked)

    train._Run._step = settled  # type: ignore[method-assign]


def watch(
    agent: socket.socket, pids: list[int], folder: Path, scenario: dict[str, Any], began: float, go_on: int
) -> tuple[list[dict[str, Any]], list[int]]:
    at, when = scenario.get("at") or {}, dict(scenario.get("when") or {})
    reports: list[dict[str, Any]] = []
    codes: dict[int, int] = {}
    held = False  # before the last step, until `then` is done
    while True:
        try:
            report = json.loads(agent.recv(65536))
        except TimeoutError:
            if len(codes) == len(pids):
                return reports, [codes[pid] for pid in pids]
        else:
            report["after_s"] = time.monotonic() - began
            reports.append(report)
            if report["kind"] == "progress":
                if action := at.get(str(report["step"])):
                    act(action, pids, folder)
                held = bool(when) and report["step"] == scenario["config"]["steps"] - 1
                if not held:
                    os.write(go_on, b".")
            if report["kind"] == "checkpoint" and report["step"] >= when.get(report["tier"], 1 << 62):
                del when[report["tier"]]
                if not when:
                    act(scenario["then"], pids, folder)
                    if held:
                        os.write(go_on, b".")
        for pid in pids:
            if pid not in codes and (found := os.waitpid(pid, os.WNOHANG))[0]:
                codes[pid] = os.waitstatus_to_exitcode(found[1])


def act(action: list[Any], pids: list[int], folder: Path) -> None:
    if action[0] == "kill":
        os.kill(pids[action[1]], signal.SIGKILL)
    elif action[0] == "term":
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
    elif action[0] == "request":
        half = folder / "request.tmp"
        half.write_text(action[1])
        half.replace(folder / "request")


if __name__ == "__main__":
    main()
