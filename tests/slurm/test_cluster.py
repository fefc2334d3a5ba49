"""The Slurm that the other tests here stand on: it starts, runs gangs, and breaks as a real one does."""

import subprocess
import sys
from pathlib import Path

import pytest
from tools.slurm import processes

from tests.slurm.cluster import Cluster, available, wait_until


def test_sixteen_nodes_in_leaves_of_four(slurm: Cluster) -> None:
    slurm.wait_state("idle", [f"node{k:02d}" for k in range(1, 17)])
    assert len(slurm.names) == 16
    said = slurm.run("scontrol", "show", "topology", "node06")
    assert "SwitchName=leaf2 Level=0" in said and "node[05-08]" in said


def test_a_gang_has_a_process_and_eight_chips_on_each_node(slurm: Cluster) -> None:
    script = "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES"
    said = slurm.run("srun", "-N4", "--ntasks-per-node=1", "--gres=gpu:8", "sh", "-c", script)
    found = dict(line.split() for line in said.splitlines())
    assert len(found) == 4 and set(found.values()) == {"0,1,2,3,4,5,6,7"}


def test_a_killed_node_takes_its_processes_along_and_comes_back(slurm: Cluster) -> None:
    # one that hides from its environment, one that leaves its session
    script = "setsid sleep 310 & env -i sleep 311 & wait"
    job = slurm.batch(f"srun sh -c '{script}'", "-N2", "--ntasks-per-node=1", "--nodelist=node03,node04")
    # slurmstepd, sh and two sleeps
    wait_until(lambda: len(slurm.processes("node04")) >= 4, "the gang runs on node04")
    ended = slurm.processes("node04")
    slurm.kill_slurmd("node04")
    assert not slurm.processes("node04") and not any(processes.alive(pid) for pid in ended)
    assert slurm.slurmd_pid("node04") == 0 and slurm.processes("node03")
    slurm.run("scontrol", "update", "nodename=node04", "state=down", "reason=test")
    wait_until(lambda: slurm.job_state(job) == "NODE_FAIL", "the job has failed")
    slurm.start_slurmd("node04")
    slurm.run("scontrol", "update", "nodename=node04", "state=resume")
    slurm.wait_state("idle", ["node04"])
    wait_until(lambda: not slurm.processes("node03"), "the other node is cleared")


def test_jobs_outlive_slurmctld(slurm: Cluster) -> None:
    job = slurm.batch("sleep 320", "-N2")
    wait_until(lambda: slurm.job_state(job) == "RUNNING", "the job runs")
    slurm.wait_saved(job)
    before = slurm.controller_pid
    slurm.kill_slurmctld()
    assert slurm.controller_pid == 0 and slurm.states() == {}
    slurm.start_slurmctld()
    assert slurm.controller_pid not in (0, before)
    assert slurm.job_state(job) == "RUNNING"
    assert any(slurm.processes(name) for name in slurm.names)


def test_stop_is_idempotent_and_leaves_nothing(slurm: Cluster) -> None:
    other = Cluster(slurm.folder / "other", nodes=2)
    other.start()
    other.batch("setsid sleep 330 & wait")
    wait_until(lambda: len(processes.of_nodes(other.folder)) >= 3, "the job runs")
    # a slurmd forks for what it is told, and is two for a moment
    wait_until(lambda: len(processes.daemons(other.folder)) == 4, "munged, slurmctld and two slurmd")
    mine = [*processes.daemons(other.folder), *processes.of_nodes(other.folder)]
    other.stop()
    other.stop()
    assert not any(processes.alive(pid) for pid in mine)
    assert slurm.controller_pid and len(slurm.states()) == 16


def test_the_command_line_starts_and_ends_it(tmp_path: Path) -> None:
    if problem := available():
        pytest.skip(f"Slurm: {problem}")

    def does(*words: str) -> str:
        argv = [sys.executable, "-m", "tools.slurm", *words, "--folder", str(tmp_path), "--nodes", "2"]
        root = Path(__file__).parents[2]
        return subprocess.run(argv, cwd=root, capture_output=True, text=True, check=True).stdout

    try:
        assert f"export SLURM_CONF={tmp_path}/slurm.conf" in does("up")
        assert "idle node[01-02]" in does("status")
        assert "2 nodes idle" in does("up")  # anew
    finally:
        assert does("down") == f"no Slurm runs in {tmp_path}\n"
    assert does("status") == f"no Slurm runs in {tmp_path}\n" and not processes.daemons(tmp_path)
