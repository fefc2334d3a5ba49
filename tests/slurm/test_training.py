"""Jobs and services on a real Slurm of 16 nodes: nodes die, are drained from both sides, and used by others.

One control plane for all of it, with the pre-training recipe where checkpoints matter and small commands
where they do not. Every daemon is real; what breaks here breaks as it does on a cluster.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end import sites
from tests.server.harness import ROOT, Answer, Server, python, wait_for
from tests.slurm import plane
from tests.slurm.cluster import Cluster, wait_until

NODES, CHIPS = 4, 8
#: Of steps of a tenth of a second or so: long enough to be interrupted, whatever else the machine does.
EVERY = 10
FOREVER = "import time\nwhile True: time.sleep(1)"


@pytest.fixture(scope="module")
def site(slurm_running: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """16 nodes of 8 chips in service; a program named vllm is installed on each."""
    slurm_running.clear()
    folder = tmp_path_factory.mktemp("training")
    tools = folder / "tools"
    tools.mkdir()
    (tools / "vllm").write_text(
        f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests/server/fake_vllm.py"} "$@"\n'
    )
    (tools / "vllm").chmod(0o755)
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    with slurm_running.conf.open("a") as conf:
        conf.write("PartitionName=paid Nodes=ALL MaxTime=INFINITE State=UP\n")
    slurm_running.run("scontrol", "reconfigure")
    section = {"tenants": {"acme": {"account": "acme-ai", "partition": "paid"}}}
    with plane.running(slurm_running, folder, tools, **section) as server:
        yield server


@pytest.fixture
def server(site: Server, slurm_running: Cluster) -> Iterator[Server]:
    """All nodes in service before the test, whatever the last one left; nothing of it runs after it."""
    plane.mend(site, slurm_running)
    yield site
    plane.empty(site)


def pretraining(name: str, steps: int) -> dict[str, Any]:
    config = sites.CONFIG | {"steps": steps}
    spec = {"name": name, "tenant": "acme", "nodes": NODES, "chips_per_node": CHIPS, "launch": "node"}
    return spec | {"recipe": "pretrain", "config": config, "checkpoint": {"every": f"{EVERY} steps"}}


def until_kept(server: Server, job: str, step: int) -> list[str]:
    """Wait for a checkpoint of at least that step; where the job runs."""

    def kept() -> bool:
        view = server.job(job)
        return bool(view["kept_step"] >= step and view["state"] == "running")

    wait_for(kept, lambda: str(server.job(job)), plane.PATIENCE_S)
    return list(server.job(job)["placed_on"])


def resumed_at(server: Server, attempt: str) -> int:
    """From which step the attempt went on; 0: from scratch."""
    return int(sites.until_fact(server, "GangRunning", attempt=attempt).get("step", 0))


def check_moved(server: Server, job: str, before: list[str], left: str) -> list[str]:
    """It runs again, on one other node, and the rest are the same; where."""
    now = list(server.job(job)["placed_on"])
    assert left in before and left not in now and set(before) - {left} < set(now), (before, now)
    return now


@pytest.mark.timeout(240)
def test_a_node_that_dies_is_replaced_and_training_goes_on_from_its_checkpoint(
    server: Server, slurm_running: Cluster
) -> None:
    job = server.submit(pretraining("hurt", 200))
    before = until_kept(server, job, 2 * EVERY)
    wait_until(
        lambda: slurm_running.run("squeue", "-ho", "%a %P") == "acme-ai paid\n",
        "the tenant's account and partition are passed",
    )
    slurm_running.kill_slurmd(before[2])
    assert not slurm_running.processes(before[2])
    step = resumed_at(server, f"{job}.2")
    assert step >= 2 * EVERY and step % EVERY == 0, "it began from scratch"
    check_moved(server, job, before, before[2])
    assert plane.node(server, before[2])["losses"] == 1
    slurm_running.start_slurmd(before[2])
    plane.wait_node(server, before[2], "ready", "spare")
    view = server.wait_state(job, "succeeded", "failed", patience_s=plane.PATIENCE_S)
    assert (view["state"], view["attempts"], view["step"]) == ("succeeded", 2, 200), view
    assert [one["cause"] for one in view["history"]] == ["node", "done"]
    assert server.post("/journal/verify")["equal"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_drain_moves_training_from_whichever_side_it_comes(server: Server, slurm_running: Cluster) -> None:
    """Three starts of torch on four nodes."""
    job = server.submit(pretraining("drained", 100_000))
    before = until_kept(server, job, EVERY)

    slurm_running.run("scontrol", "update", f"nodename={before[1]}", "state=drain", "reason=fan 3 is loud")
    # it checkpoints when it is asked, so nothing is done twice; a later one may be whole and not yet told of
    step = resumed_at(server, f"{job}.2")
    asked = sites.story(server, "CheckpointRecorded", attempt=f"{job}.1", request=f"{job}.1-leaves")
    stopped = sites.story(server, "GangStopped", attempt=f"{job}.1")[0]
    assert len(asked) == 1 and asked[0]["step"] <= stopped["kept_step"] <= step, (asked, stopped, step)
    assert server.job(job)["history"][0]["cause"] == "moved", server.job(job)
    shown = plane.wait_node(server, before[1], "drained")
    assert "fan 3 is loud" in shown["why"] and "slurm: " in shown["why"] and shown["cordoned"]
    between = check_moved(server, job, before, before[1])

    server.post(f"/nodes/{between[3]}/drain", {"reason": "new firmware"})
    assert resumed_at(server, f"{job}.3") > step
    plane.wait_node(server, between[3], "drained")
    plane.wait_in_slurm(slurm_running, between[3], "drained")
    assert plane.reason(slurm_running, between[3]).startswith("myriad: new firmware")
    check_moved(server, job, between, between[3])

    slurm_running.run("scontrol", "update", f"nodename={before[1]}", "state=resume")
    plane.wait_node(server, before[1], "ready", "spare")
    server.post(f"/nodes/{between[3]}/undrain")
    plane.wait_in_slurm(slurm_running, between[3], "idle")
    plane.wait_node(server, between[3], "ready", "spare")


def test_drains_are_one_truth(server: Server, slurm_running: Cluster) -> None:
    server.post("/nodes/node16/drain", {"reason": "let us see"})
    plane.wait_in_slurm(slurm_running, "node16", "drained")
    assert plane.reason(slurm_running, "node16") == "myriad: let us see"
    # a look at Slurm that shows this one shows the other as well
    slurm_running.run("scontrol", "update", "nodename=node15", "state=drain", "reason=another")
    plane.wait_node(server, "node15", "drained")
    slurm_running.run("scontrol", "update", "nodename=node15", "state=resume")
    slurm_running.run("scontrol", "update", "nodename=node16", "state=resume")
    assert not plane.wait_node(server, "node16", "ready", "spare")["cordoned"], "given back in Slurm"
    plane.wait_in_slurm(slurm_running, "node16", "idle")
    slurm_running.run("scontrol", "update", "nodename=node16", "state=drain", "reason=fan 3 is loud")
    shown = plane.wait_node(server, "node16", "drained")
    assert shown["cordoned"] and shown["why"].startswith("slurm: ") and "fan 3 is loud" in shown["why"]
    server.post("/nodes/node16/undrain")
    plane.wait_in_slurm(slurm_running, "node16", "idle")
    plane.wait_node(server, "node16", "ready", "spare")


def test_nodes_that_others_use_are_left_alone(server: Server, slurm_running: Cluster) -> None:
    theirs = ["node01", "node02"]
    other = slurm_running.batch(
        "sleep 600", "--nodelist=node01,node02", "-N2", "--exclusive", "--job-name=theirs"
    )
    try:
        for name in theirs:
            shown = plane.wait_node(server, name, "occupied")
            assert f"job {other}" in shown["occupied_by"]
        job = server.submit(python(FOREVER, nodes=14, chips_per_node=CHIPS, launch="node", name="beside"))
        server.wait_state(job, "running", patience_s=plane.PATIENCE_S)
        assert not set(server.job(job)["placed_on"]) & set(theirs)
        more = server.submit(python("pass", nodes=1, chips_per_node=CHIPS, launch="node", name="waits"))
        time.sleep(3)
        assert server.job(more)["state"] == "admitted" and slurm_running.job_state(other) == "RUNNING"
    finally:
        slurm_running.run("scancel", other)
    server.wait_state(more, "succeeded")
    plane.wait_node(server, "node01", "ready", "spare")


def check_silence(server: Server, cluster: Cluster, job: str, away_s: float) -> None:
    """slurmctld does not answer for so long, and nothing follows from that."""
    before, heard = server.job(job), bad_news(server)
    os.kill(cluster.controller_pid, signal.SIGSTOP)
    try:
        time.sleep(away_s)
        assert bad_news(server) == heard
        step = server.job(job)["step"]
    finally:
        os.kill(cluster.controller_pid, signal.SIGCONT)
    assert step > before["step"] or not before["step"], "it trained on meanwhile"
    time.sleep(5)  # for what slurmctld itself may conclude from its own silence
    view = server.job(job)
    assert view["state"] == "running" and view["attempts"] == 1, view
    assert view["placed_on"] == before["placed_on"] and bad_news(server) == heard


def bad_news(server: Server) -> int:
    """How often Slurm was taken to say that a node is not well, or one was lost."""
    told = sites.story(server, "NodeEvidence", healthy=False)
    by_slurm = [one for one in told if one["source"] in ("channel", "process")]
    return len(by_slurm) + len(sites.story(server, "NodeLost"))


def test_a_slurmctld_that_is_silent_says_nothing(server: Server, slurm_running: Cluster) -> None:
    job = server.submit(python(FOREVER, nodes=NODES, name="stays"))
    server.wait_state(job, "running")
    check_silence(server, slurm_running, job, 6)


def test_a_slurmctld_that_begins_anew_knows_nothing_of_its_nodes_yet(
    server: Server, slurm_running: Cluster
) -> None:
    job = server.submit(python(FOREVER, nodes=NODES, name="outlives"))
    server.wait_state(job, "running")
    slurm_running.wait_saved(slurm_running.job_of(f"{job}.1")[0])
    lost = len(sites.story(server, "NodeLost"))
    server.post("/nodes/node16/drain", {"reason": "just now"})
    plane.wait_in_slurm(slurm_running, "node16", "drained")
    slurm_running.kill_slurmctld()  # it had no time to write that down
    slurm_running.start_slurmctld()
    plane.wait_in_slurm(slurm_running, "node15", "idle")
    plane.wait_in_slurm(slurm_running, "node16", "drained")
    time.sleep(2)
    assert plane.node(server, "node16")["cordoned"], (
        "that it was forgotten does not mean that it was given back"
    )
    view = server.job(job)
    assert view["state"] == "running" and view["attempts"] == 1
    assert len(sites.story(server, "NodeLost")) == lost
    server.post("/nodes/node16/undrain")
    plane.wait_in_slurm(slurm_running, "node16", "idle")
    plane.wait_node(server, "node16", "ready", "spare")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_training_goes_on_while_slurmctld_is_silent(server: Server, slurm_running: Cluster) -> None:
    """Half a minute: longer than any patience that the recovery has."""
    job = server.submit(pretraining("silent", 100_000))
    until_kept(server, job, EVERY)
    check_silence(server, slurm_running, job, 30)


def test_a_replica_whose_node_dies_is_replaced(server: Server, slurm_running: Cluster) -> None:
    model = {"path": str(server.home.parent / "model")}
    spec = {"name": "coder", "tenant": "acme", "engine": "vllm", "model": model, "chips_per_replica": CHIPS}
    key = server.tenant()
    server.post("/services", {"spec": spec | {"replicas": {"min": 2, "max": 2}}}, key=key)

    def ready() -> dict[str, str]:
        found = server.get("/services")[0]["replicas"]
        return {one["node"]: one["attempt"] for one in found if one["state"] == "ready"}

    def chat() -> Answer:
        body = {"model": "coder", "messages": [{"role": "user", "content": "hello"}]}
        headers = {"Authorization": f"Bearer {key}"}
        url = f"{server.gateway}/v1/chat/completions"
        return Answer(server.client.post(url, json=body, headers=headers))

    try:
        wait_for(lambda: len(ready()) == 2, lambda: str(server.get("/services")), plane.PATIENCE_S)
        before = ready()
        assert chat().status == 200
        victim = next(iter(before))
        slurm_running.kill_slurmd(victim)
        assert all(chat().status == 200 for _ in range(10)), "the other one answers"
        wait_for(
            lambda: len(ready()) == 2 and victim not in ready(),
            lambda: str(server.get("/services")),
            plane.PATIENCE_S,
        )
        kept = next(node for node in before if node != victim)
        assert ready()[kept] == before[kept] and chat().status == 200
        slurm_running.start_slurmd(victim)
    finally:
        server.ask("DELETE", "/services/coder")
    wait_for(lambda: server.get("/services") == [], patience_s=60)
    plane.wait_node(server, victim, "ready", "spare")
