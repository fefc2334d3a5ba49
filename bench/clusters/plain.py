"""The peer: the same gangs as batch jobs that Slurm itself places, on the same cluster."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from tools.slurm.cluster import Cluster
from tools.slurm.files import PARTITION

from bench.clusters.figures import Cpu, Progress, Side
from bench.clusters.watch import Watch
from bench.clusters.work import EXPECTED_MINUTES, Gang, Marks
from bench.peers.slurm_site import compile_submitter, run

_POLL_S, _SUBMIT_S = 0.5, 600.0


def play(slurm: Cluster, folder: Path, queue: Sequence[Gang], limit_s: float) -> tuple[Side, Watch]:
    """Submit everything while the partition is down, let it up, and wait for the last end."""
    progress, marks, watch = (
        Progress("Slurm"),
        Marks(folder / "marks"),
        Watch(slurm.folder / "log" / "slurmctld.log"),
    )
    slurm.run("scontrol", "update", f"partitionname={PARTITION}", "state=down")
    began = time.monotonic()
    jobs = _submit(slurm, folder, queue, marks)
    submit_s = time.monotonic() - began
    progress.say(f"{len(jobs):,} gangs submitted in {submit_s:.1f} s", now=True)
    slurm.run("sdiag", "--reset")
    cpu, released_at = Cpu(slurmctld=slurm.controller_pid), time.time()
    slurm.run("scontrol", "update", f"partitionname={PARTITION}", "state=up")
    load: list[float] = []
    while True:
        begun, ended = marks.read()
        watch.read()
        load.append(os.getloadavg()[0])
        progress.say(
            f"{len(watch.starts):,} started by Slurm, {len(begun) - len(ended):,} run, {len(ended):,} ended"
        )
        if len(ended) == len(queue) and len(watch.ends) >= len(queue):
            break
        if time.time() - released_at > limit_s:
            raise TimeoutError(f"{len(ended)} of {len(queue)} gangs ended in {limit_s:.0f} s")
        time.sleep(_POLL_S)
    spent = cpu.spent()
    side = Side(
        name="Slurm",
        submit_s=submit_s,
        released_at=released_at,
        jobs=jobs,
        begun=begun,
        ended=ended,
        decided_ms=_decided_ms(slurm, len(queue)),
        cpu_s=spent,
        load=sum(load) / len(load),
    )
    return side, watch


def _submit(slurm: Cluster, folder: Path, queue: Sequence[Gang], marks: Marks) -> dict[int, int]:
    """One process for all, as one sbatch each costs more than the job."""
    compile_submitter(folder / "submit")
    lines = []
    for gang in queue:
        script = folder / f"{gang.number}.sh"
        script.write_text(f"#!/bin/sh\n{marks.command(gang)[2]}\n")
        lines.append(f"{gang.nodes} {script}")
    words = [str(folder / "submit"), "gres", "batch", f"minutes={EXPECTED_MINUTES}"]
    said = run(words, _SUBMIT_S, feed="\n".join(lines) + "\n", env=slurm.env)
    numbers = [int(line) for line in said.split()]
    return {gang.number: job for gang, job in zip(queue, numbers, strict=True)}


def _decided_ms(slurm: Cluster, gangs: int) -> float:
    """Both loops' time, over the gangs, by sdiag: cycles times their mean."""
    total_us, section = 0.0, ""
    fields: dict[str, float] = {}
    for line in slurm.run("sdiag").splitlines():
        if not line.startswith(("\t", " ")):
            section = line.split(" ")[0]
        name, _, value = line.strip().partition(":")
        if value.strip().split(" ")[0].isdigit():
            fields[f"{section} {name}"] = float(value.split()[0])
    total_us += fields.get("Main Total cycles", 0) * fields.get("Main Mean cycle", 0)
    total_us += fields.get("Backfilling Total cycles", 0) * fields.get("Backfilling Mean cycle", 0)
    return total_us / 1000 / gangs
