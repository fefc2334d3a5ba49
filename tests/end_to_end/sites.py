"""Small sites of real processes under a control plane: kill a node, wait, read the story."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from myriad.engines.common import layout, procs
from myriad.engines.local import agent, paths
from tests.server.harness import Server, running, wait_for

#: A Llama that takes a step of a few hundredths of a second.
CONFIG: dict[str, Any] = {
    "model": {"layers": 2, "hidden": 64, "heads": 4, "kv_heads": 2, "ffn": 128, "vocab": 512, "context": 64},
    "data": {"limit_bytes": 300_000},
    "global_batch_sequences": 12,
    "micro_batch_sequences": 4,
}
PATIENCE_S = 90.0


@contextlib.contextmanager
def site(home: Path, nodes: int, *, spares: int = 0, preload: bool = True, **policy: Any) -> Iterator[Server]:
    """A rack of nodes of one chip, ready, with a tenant who may have them all."""
    home.mkdir(parents=True, exist_ok=True)
    tree = {
        "name": "small",
        "chip": "local-cpu",
        "chips_per_node": 1,
        "spares": spares,
        "pods": [{"name": "p0", "racks": 1, "nodes_per_rack": nodes}],
        "policy": policy,
    }
    (home / "small.yaml").write_text(yaml.safe_dump(tree))
    options = ["--site", str(home / "small.yaml"), *(["--preload"] if preload else [])]
    with running(home, *options) as server:
        server.wait_ready(nodes, PATIENCE_S)  # torch is imported first
        server.tenant(chips=nodes)
        yield server


def kill_node(server: Server, node: str) -> None:
    """SIGKILL everything of the node, its agent included."""
    record = agent.read_record(paths.agent_record(server.home, node))
    assert record
    for process in procs.of_incarnation(record.pid, record.started, record.instance):
        procs.send(process.pid, signal.SIGKILL)


def story(server: Server, kind: str, **fields: Any) -> list[dict[str, Any]]:
    """Facts of one kind so far, as the journal has them; fields that are at their default are left out."""
    found = [fact for entry in server.journal() for fact in entry["facts"] if fact["type"] == kind]
    return [fact for fact in found if all(fact.get(name) == value for name, value in fields.items())]


def until_step(server: Server, job: str, step: int) -> None:
    """Wait until the job is so far."""
    wait_for(lambda: server.job(job)["step"] >= step, lambda: str(server.job(job)), PATIENCE_S)


def until_fact(server: Server, kind: str, count: int = 1, **fields: Any) -> dict[str, Any]:
    """Wait for so many facts; the last of them."""
    wait_for(lambda: len(story(server, kind, **fields)) >= count, lambda: server.said()[-2000:], PATIENCE_S)
    return story(server, kind, **fields)[count - 1]


def logged(home: Path, job: str) -> list[tuple[int, float]]:
    """Step and loss of every step in the logs of the job; reports are fewer, as chance has it.

    A step that was done again is there again. Its configuration has `log_every: 1`.
    """
    logs = (layout.job_dir(home, job) / "logs").glob("*/rank-0.log")
    lines = [line.split() for log in logs for line in log.read_text().splitlines()]
    return [(int(words[1]), float(words[3])) for words in lines if words[0::2][:2] == ["step", "loss"]]
