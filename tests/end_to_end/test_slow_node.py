"""A node that computes slowly is found among real processes by what each computes alone, and left behind."""

from pathlib import Path

import pytest

from tests.end_to_end.sites import site, story, until_fact
from tests.server.harness import command, wait_for

#: A program of one's own: works alone, then waits for its peers; slow where the file `slow` names the node.
TRAIN = """
import os, pathlib, sys, time
from myriad import worker
node, shared = os.environ["MYRIAD_NODE"], pathlib.Path(os.environ["MYRIAD_OUTPUT_DIR"])
work_s = 0.02
saved = shared / "saved"
step = int(saved.read_text()) if saved.exists() else 0
worker.resumed(step)
while True:
    slow = shared / "slow"
    alone_s = work_s * (3 if slow.exists() and slow.read_text() == node else 1)
    time.sleep(alone_s)
    time.sleep(4 * work_s - alone_s)  # the collective: all end the step together
    step += 1
    worker.pace(step=step, compute_s=alone_s)  # a clock would say how busy this machine is
    if os.environ["RANK"] == "0":
        worker.report(step=step, tokens=1, loss=1.0, step_s=4 * work_s)
        if (request := worker.should_checkpoint()) is not None:
            saved.write_text(str(step))
            worker.checkpoint_saved(step=step, path=str(saved), request=request)
"""
IMPATIENT = {"recover": {"slow_span": "2s", "slow_ratio": 1.5, "move_cost": "1s"}}


@pytest.mark.timeout(240)
def test_a_slow_node_is_marked_and_its_gang_moves_off_it(tmp_path: Path) -> None:
    with site(tmp_path / "home", 5, preload=False, **IMPATIENT) as server:
        job = server.submit(command("python", "-c", TRAIN, nodes=4, expected="1h"))
        wait_for(lambda: server.job(job)["step"] > 5)
        assert not story(server, "NodeSlow")
        before = server.job(job)["placed_on"]
        slow = before[2]
        (server.home / "jobs" / job / "output" / "slow").write_text(slow)
        marked = until_fact(server, "NodeSlow")
        assert marked["node"] == slow and marked["slow"] and marked["ratio"] == pytest.approx(3)
        stopped = until_fact(server, "GangStopped", attempt=f"{job}.1")
        assert stopped["cause"] == "moved" and stopped["kept_step"] > 5, "after a checkpoint"
        running = until_fact(server, "GangRunning", attempt=f"{job}.2")
        assert running["step"] == stopped["kept_step"]
        after = server.job(job)["placed_on"]
        assert slow not in after and set(after) - set(before), after
        assert {fact["node"] for fact in story(server, "NodeSlow")} == {slow}
        view = next(one for one in server.get("/nodes") if one["node"] == slow)
        assert view["state"] == "drained" and view["why"].startswith("slow: "), view
