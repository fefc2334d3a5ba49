"""Copies in the memory of peers, asked for by the control plane itself: a lost node costs little."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from myriad.engines.local import agent, paths
from tests.end_to_end.sites import CONFIG, PATIENCE_S, kill_node, site, story, until_fact
from tests.server.harness import Server, wait_for

#: So many losses that a copy is due several times a second.
FRAGILE = {"recover": {"prior_losses": 6_000_000.0}}
#: Each attempt lives to see storage written once.
EVERY, STEPS = 120, 400


def newest(server: Server, attempt: str) -> tuple[int, int]:
    """The newest steps in memory and on storage that were told of the attempt."""
    found = story(server, "CheckpointRecorded", attempt=attempt)
    tiers = (
        [one["step"] for one in found if "tier" in one],
        [one["step"] for one in found if "tier" not in one],
    )
    memory, storage = (max(steps, default=0) for steps in tiers)
    return memory, storage


def until_copied(server: Server, attempt: str) -> None:
    """Wait for a copy some time after storage was written and long before it is again.

    A save that is under way when a node dies may still be completed, and told of or not.
    """

    def holds() -> bool:
        memory, storage = newest(server, attempt)
        return storage > 0 and 20 < memory - storage < EVERY - 50

    wait_for(holds, lambda: str(newest(server, attempt)), patience_s=PATIENCE_S)


@pytest.mark.timeout(400)
def test_a_lost_node_costs_the_steps_since_the_last_copy(tmp_path: Path) -> None:
    with site(tmp_path / "home", 5, spares=1, **FRAGILE) as server:
        spec: dict[str, Any] = {
            "name": "hurt",
            "tenant": "acme",
            "nodes": 4,
            "recipe": "pretrain",
            "config": CONFIG | {"steps": STEPS},
            "checkpoint": {"every": f"{EVERY} steps"},
        }
        job = server.submit(spec)
        until_fact(server, "GangRunning", attempt=f"{job}.1")
        node = server.job(job)["placed_on"][1]
        until_copied(server, f"{job}.1")
        kill_node(server, node)
        stopped = until_fact(server, "GangStopped", attempt=f"{job}.1")
        assert stopped["tier"] == "memory" and stopped["cause"] == "node"
        resumed = until_fact(server, "GangRunning", attempt=f"{job}.2")["step"]
        _, on_storage = newest(server, f"{job}.1")
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
    nodes = server.job(job)["placed_on"]
    records = [agent.read_record(paths.agent_record(server.home, node)) for node in nodes]
    until_copied(server, second)
    for record in records:
        assert record
        shutil.rmtree(paths.memory_dir(server.home, record.node, record.instance) / job, ignore_errors=True)
    kill_node(server, nodes[2])
    stopped = until_fact(server, "GangStopped", attempt=second)
    resumed = until_fact(server, "GangRunning", attempt=f"{job}.3").get("step", 0)
    assert stopped["tier"] == "memory", "so it was believed"
    assert resumed == newest(server, second)[1] < stopped["kept_step"]
    assert server.job(job)["kept_step"] == resumed
