"""Copies in the memory of peers, asked for by the control plane itself: a lost node costs little."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from myriad.engines.local import agent, paths
from tests.end_to_end.sites import CONFIG, PATIENCE_S, kill_node, site, story, until_fact, until_step
from tests.server.harness import Server, wait_for

#: So many losses that a copy is due every second.
FRAGILE = {"recover": {"prior_losses": 1_500_000.0}}
STEPS = 200


def copied(server: Server, attempt: str) -> int:
    """The newest step in memory that was told of the attempt."""
    found = story(server, "CheckpointRecorded", attempt=attempt, tier="memory")
    return int(found[-1]["step"]) if found else 0


def stored(server: Server, job: str) -> int:
    return max(
        (f["step"] for f in story(server, "CheckpointRecorded", job=job) if "tier" not in f), default=0
    )


@pytest.mark.timeout(240)
def test_a_lost_node_costs_the_steps_since_the_last_copy(tmp_path: Path) -> None:
    with site(tmp_path / "home", 5, spares=1, **FRAGILE) as server:
        spec: dict[str, Any] = {
            "name": "hurt",
            "tenant": "acme",
            "nodes": 4,
            "recipe": "pretrain",
            "config": CONFIG | {"steps": STEPS},
            "checkpoint": {"every": "60 steps"},
        }
        job = server.submit(spec)
        wait_for(lambda: copied(server, f"{job}.1") > stored(server, job) + 5 > 60, patience_s=PATIENCE_S)
        kill_node(server, server.job(job)["placed_on"][1])
        stopped = until_fact(server, "GangStopped", attempt=f"{job}.1")
        assert stopped["tier"] == "memory" and stopped["cause"] == "node"
        resumed = until_fact(server, "GangRunning", attempt=f"{job}.2")["step"]
        on_storage = stored(server, job)
        assert resumed >= stopped["kept_step"] > on_storage
        logs = f"/jobs/{job}/logs?rank=0"
        # a report may be on record before what was printed with it is on disk
        wait_for(lambda: "from memory" in server.ask("GET", logs).text, patience_s=PATIENCE_S)
        lost_less_than_storage_alone(server, job, on_storage)
        believed_wrongly(server, job)
        wait_for(lambda: server.job(job)["state"] == "succeeded", patience_s=PATIENCE_S)
        assert server.post("/journal/verify")["equal"]
        assert not list(paths.memory_root(server.home).glob(f"*/*/{job}")), "whoever ends frees its memory"


def lost_less_than_storage_alone(server: Server, job: str, on_storage: int) -> None:
    """What the books call lost, beside the time of all steps that storage did not have."""
    told = story(server, "StepsDone", attempt=f"{job}.1")
    since = next(one["at"] for one in told if one["step"] >= on_storage)
    alone_ns = 4 * (told[-1]["at"] - since)
    lost_ns = server.get(f"/jobs/{job}/report")["buckets"].get("lost", 0)
    print(f"lost {lost_ns / 4e9:.2f} s a chip; with storage alone {alone_ns / 4e9:.2f} s")
    assert lost_ns < 0.7 * alone_ns


def believed_wrongly(server: Server, job: str) -> None:
    """Copies that nobody knows to be gone: what training really resumed from is believed."""
    second = f"{job}.2"
    until_step(server, job, story(server, "GangRunning", attempt=second)[0]["step"] + 10)
    wait_for(lambda: copied(server, second) > stored(server, job), patience_s=PATIENCE_S)
    nodes = server.job(job)["placed_on"]
    for node in nodes:
        record = agent.read_record(paths.agent_record(server.home, node))
        assert record
        shutil.rmtree(paths.memory_dir(server.home, node, record.instance) / job, ignore_errors=True)
    kill_node(server, nodes[2])
    stopped = until_fact(server, "GangStopped", attempt=second)
    resumed = until_fact(server, "GangRunning", attempt=f"{job}.3").get("step", 0)
    assert stopped["tier"] == "memory", "so it was believed"
    assert resumed == stored(server, job) < stopped["kept_step"]
    assert server.job(job)["kept_step"] == resumed
