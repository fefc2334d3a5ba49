"""The claim everything rests on, through the whole system: a killed node changes nothing about the result.

Two identical jobs train for real under a real control plane, one of them loses a node with SIGKILL in the
middle. Steps, losses and the model are the same, bit for bit.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from myriad.cli.client import Client
from myriad.cli.context import Context
from myriad.engines.common import layout, procs
from myriad.engines.local import agent, paths
from myriad.protocol import facts
from tests.end_to_end.sites import logged

#: Far more than are done between two looks: the node is killed in the middle.
STEPS = 150
CONFIG = {
    "model": {"layers": 2, "hidden": 64, "heads": 4, "kv_heads": 2, "ffn": 128, "vocab": 512, "context": 64},
    "data": {"limit_bytes": 300_000},
    "steps": STEPS,
    "log_every": 1,
    "global_batch_sequences": 8,
    "micro_batch_sequences": 2,
}
PATIENCE_S = 90.0


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A control plane on ports of its own, with torch preloaded as people run it."""
    environment = os.environ | {"MYRIAD_HOME": str(tmp_path)}
    cli = [sys.executable, "-m", "myriad.cli"]
    up = [*cli, "up", "--port", "0", "--gateway-port", "0"]
    subprocess.run(up, env=environment, check=True)
    yield tmp_path
    subprocess.run([*cli, "down", "--grace", "1s"], env=environment, check=True)


def until(look: Callable[[], Any], what: str) -> Any:
    give_up_at = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < give_up_at, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


def submit(client: Client, name: str) -> str:
    spec = {"kind": "training", "name": name, "tenant": "acme", "nodes": 4, "recipe": "pretrain"}
    spec |= {"config": CONFIG, "checkpoint": {"every": "10 steps"}}  # type: ignore[dict-item]
    return client.submit(spec).job.job


def finished(client: Client, job: str) -> Any:
    return until(lambda: (view := client.job(job)).ended_at and view, f"the end of {job}")


@pytest.mark.timeout(240)
def test_a_killed_node_changes_nothing_about_the_result(home: Path) -> None:
    with Context(home=str(home)).local() as client:
        client.apply_tenants([{"kind": "tenant", "name": "acme", "quota": {"chips": 6}}])
        hurt = submit(client, "hurt")
        until(lambda: client.job(hurt).kept_step >= 20, "two checkpoints")
        victim = client.job(hurt).placed_on[2]
        record = agent.read_record(paths.agent_record(home, victim))
        assert record
        for process in procs.of_incarnation(record.pid, record.started, record.instance):
            procs.send(process.pid, signal.SIGKILL)
        view = finished(client, hurt)
        assert (view.state, view.attempts, view.step) == ("succeeded", 2, STEPS)
        assert [one.cause for one in view.history] == ["node", "done"]
        whole = submit(client, "whole")
        assert finished(client, whole).attempts == 1
        printed = [set(logged(home, job)) for job in (hurt, whole)]
        assert printed[0] == printed[1] and len(printed[1]) == STEPS, "the steps differ"
        exact = [losses_by_step(client, job) for job in (hurt, whole)]
        both = exact[0].keys() & exact[1].keys()
        assert [exact[0][step] for step in both] == [exact[1][step] for step in both], "the losses differ"
        outputs = [layout.job_dir(home, job) / "output" for job in (hurt, whole)]
        ends = [json.loads((output / "run.json").read_text()) for output in outputs]
        assert ends[0]["loss"] == ends[1]["loss"], "the last losses differ"
        models = [(output / "model" / "model.safetensors").read_bytes() for output in outputs]
        assert models[0] == models[1], "the models differ"


def losses_by_step(client: Client, job: str) -> dict[int, float]:
    """The loss of each step that was reported, alone or as the last of several; if twice, the later."""
    found: dict[int, float] = {}
    after = 0
    while entries := client.journal(after).entries:
        after = entries[-1].seq
        for entry in entries:
            for fact in entry.facts:
                mine = isinstance(fact, facts.StepsDone) and fact.attempt.startswith(f"{job}.")
                if mine:  # a report of several steps at once carries the last one's loss
                    found[fact.step] = fact.loss
    return found
