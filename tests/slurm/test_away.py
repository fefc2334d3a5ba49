"""Nobody leads for a while: what a real Slurm did meanwhile is seen, and nobody is blamed for the silence."""

import time
from pathlib import Path

import pytest

from tests.server.harness import Server, python, wait_for
from tests.slurm import plane
from tests.slurm.cluster import Cluster

_SLEEPS = "import time; time.sleep(600)"
#: The control plane is away for longer than gangs have to stop.
_STOP_S, _AWAY_S = 20, 25


@pytest.mark.timeout(300)
def test_what_happens_while_nobody_leads(slurm: Cluster, tmp_path: Path) -> None:
    with plane.running(slurm, tmp_path, recover={"stop_timeout": f"{_STOP_S}s"}) as server:
        stops, dies = (server.submit(python(_SLEEPS, name=name, nodes=2)) for name in ("stops", "dies"))
        for job in (stops, dies):
            server.wait_state(job, "running")
        victim = server.job(dies)["placed_on"][0]
        # two in one rack would be one event, and held against neither
        busy = {*server.job(stops)["placed_on"], *server.job(dies)["placed_on"]}
        rack = plane.node(server, victim)["rack"]
        idle = next(
            one["node"] for one in server.get("/nodes") if one["node"] not in busy and one["rack"] != rack
        )
        server.post(f"/jobs/{stops}/cancel")
        server.kill()
        began = time.monotonic()
        for name in (victim, idle):
            slurm.kill_slurmd(name)
        for name in (victim, idle):
            plane.wait_in_slurm(slurm, name, "down", "down*")
        time.sleep(max(0.0, began + _AWAY_S - time.monotonic()))
        server.start(plane.PATIENCE_S)
        server.wait_state(stops, "cancelled")
        for name in (victim, idle):
            assert "channel" in plane.wait_node(server, name, "repairing")["why"]
        wait_for(lambda: _goes_on(server, dies), server.said, plane.PATIENCE_S)
        assert victim not in server.job(dies)["placed_on"]
        for name in (victim, idle):
            slurm.start_slurmd(name)
            plane.wait_node(server, name, "ready", "spare")
        blamed = {one["node"]: one["losses"] for one in server.get("/nodes") if one["losses"]}
        assert blamed == {victim: 1, idle: 1}


def _goes_on(server: Server, job: str) -> bool:
    found = server.job(job)
    return bool(found["attempts"] == 2 and found["state"] == "running")
