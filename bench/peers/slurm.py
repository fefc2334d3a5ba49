"""Slurm as the peer of scheduling benchmarks: how fast the real slurmctld decides where gangs run.

Allocations without launch, accounting or a job's own end, every gang exclusive on whole nodes of 8 chips, in
a tree of leaves with 32 nodes, with scheduler parameters tuned for many gangs. Chips are asked for by name
(`gres/gpu:8`) unless `gres` is false: whole nodes alone are much cheaper for Slurm to place. Times are those
of Slurm's own log, in milliseconds. `python -m bench.peers.slurm 12500` prints the figures for a site
of 100,000 chips.
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bench.peers import slurm_site
from bench.peers.slurm_site import CHIPS_PER_NODE, Site, SlurmError, available, site
from myriad.kernel.rng import Stream

__all__ = ["Fill", "SlurmError", "available", "decision_ms", "fill", "mix"]

Progress = Callable[[str], None]
#: Percent of the jobs by their number of nodes.
SHARES = {1: 40, 2: 20, 4: 15, 8: 10, 16: 8, 32: 5, 64: 2}
STARTED = re.compile(
    r"\[(?P<at>[^]]+)\] sched(?P<backfill>/backfill)?: "
    r"(?:Allocate|\w+: Started) JobId=(?P<job>\d+)"
)
DECIDED = re.compile(r"_slurm_rpc_allocate_resources JobId=\d+ NodeList=(?P<nodes>\S+) usec=(?P<us>\d+)")


def _silent(text: str) -> None:
    """Progress for those who do not look."""


def mix(count: int, seed: int) -> list[int]:
    """Nodes of so many jobs: many small ones, few large ones, 6.4 on average."""
    stream = Stream(seed, "mix")
    hundred = [nodes for nodes, share in SHARES.items() for _ in range(share)]
    return [stream.choice(hundred) for _ in range(count)]


# ---- how fast a queue fills a site ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """What became of a queue that was released at once on an empty site."""

    jobs: int
    started: int
    backfilled: int
    """Of those started, by the backfill loop; the others by the main loop."""
    nodes: int
    nodes_used: int
    seconds: float
    """First start to last."""
    starts_per_s: float
    release_s: float
    """Release of the queue to the last start."""
    cpu_s: float
    """CPU slurmctld used from the release to the end, whatever else ran on the machine."""
    version: str


@dataclass(frozen=True, slots=True)
class _Start:
    at: float
    job: int
    backfilled: bool


def fill(
    nodes: int,
    sizes: Sequence[int],
    progress: Progress = _silent,
    *,
    gres: bool = True,
    limit_s: float = 300.0,
    quiet_s: float = 12.0,
) -> Fill:
    """Release gangs of these numbers of nodes on an empty site; ends when nothing more fits.

    Or when none has started for `quiet_s`, or after `limit_s`.
    """
    with site(nodes, progress) as slurm:
        slurm.ask("scontrol", "update", "partitionname=main", "state=down")
        slurm.submit(sizes, "held", *(["gres"] if gres else []))
        slurm.ask("scontrol", "release", "jobname=gang")
        slurm.wait_quiet()
        progress(f"{len(sizes):,} jobs wait; released")
        cpu_s, released_at = slurm.cpu_s(), time.time()
        slurm.ask("scontrol", "update", "partitionname=main", "state=up")
        starts = _watch(slurm, sizes, progress, limit_s, quiet_s)
        cpu_s = slurm.cpu_s() - cpu_s
    if not starts:
        raise SlurmError(f"none of {len(sizes)} jobs started in {quiet_s:.0f} s")
    seconds = starts[-1].at - starts[0].at
    return Fill(
        jobs=len(sizes),
        started=len(starts),
        backfilled=sum(start.backfilled for start in starts),
        nodes=nodes,
        nodes_used=sum(sizes[start.job - 1] for start in starts),
        seconds=seconds,
        starts_per_s=(len(starts) - 1) / max(seconds, 0.001),
        release_s=starts[-1].at - released_at,
        cpu_s=cpu_s,
        version=slurm_site.version(),
    )


def _watch(
    slurm: Site, sizes: Sequence[int], progress: Progress, limit_s: float, quiet_s: float
) -> list[_Start]:
    """Starts in their order, out of the log."""
    starts: list[_Start] = []
    waiting, free = dict(enumerate(sizes, start=1)), slurm.nodes
    began = changed = told = time.monotonic()
    while waiting and min(waiting.values()) <= free:
        time.sleep(0.1)
        slurm.check_alive()
        now = time.monotonic()
        for start in filter(None, map(_start, slurm.log.lines())):
            starts.append(start)
            free -= waiting.pop(start.job)
            changed = now
        if now - told > 5.0:
            told = now
            progress(f"{now - began:4.0f} s: {len(starts):,} started, {free:,} nodes free")
        if now - changed > quiet_s or now - began > limit_s:
            break
    return starts


def _start(line: str) -> _Start | None:
    found = STARTED.match(line)
    if not found:
        return None
    at = datetime.fromisoformat(found["at"]).timestamp()
    return _Start(at, int(found["job"]), bool(found["backfill"]))


# ---- one decision -----------------------------------------------------------------------------------


def decision_ms(
    nodes: int, gang_sizes: Sequence[int], rounds: int, progress: Progress = _silent, *, gres: bool = True
) -> dict[int, float]:
    """Median milliseconds inside slurmctld to place one gang on an empty site, by its number of nodes."""
    found: dict[int, list[float]] = {size: [] for size in gang_sizes}
    with site(nodes, progress) as slurm:
        for number in range(rounds):
            for size in gang_sizes:
                found[size].append(_one_decision(slurm, size, gres))
            told = ", ".join(f"{size}: {found[size][-1]:.1f} ms" for size in gang_sizes)
            progress(f"round {number + 1} of {rounds}: {told}")
    return {size: statistics.median(times) for size, times in found.items()}


def _one_decision(slurm: Site, size: int, gres: bool) -> float:
    slurm.log.lines()
    slurm.submit([size], *(["gres"] if gres else []))
    lines = slurm.log.lines()
    decided = [found for found in map(DECIDED.search, lines) if found]
    if len(decided) != 1 or decided[0]["nodes"] == "(null)":
        raise SlurmError(f"a gang of {size} nodes did not start at once on {slurm.nodes} idle nodes")
    slurm.ask("scancel", "--name=gang")
    slurm.empty()
    return int(decided[0]["us"]) / 1000


# ---- by hand ----------------------------------------------------------------------------------------


def main() -> None:
    """Print what Slurm does on a site of so many nodes."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.slurm", description=__doc__)
    parser.add_argument("nodes", type=int, nargs="?", default=1250, help="nodes of 8 chips (default 1250)")
    parser.add_argument("--jobs", type=int, default=2000, help="jobs of the mix in the queue")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=5, help="decisions of each size")
    parser.add_argument("--no-gres", dest="gres", action="store_false", help="whole nodes, no chips by name")
    options = parser.parse_args()
    if reason := available():
        raise SystemExit(f"Slurm cannot be used here: {reason}")

    def progress(text: str) -> None:
        print(f"  {text}", flush=True)

    filled = fill(options.nodes, mix(options.jobs, options.seed), progress, gres=options.gres)
    sizes = [size for size in (1, 64, 1024) if size <= options.nodes]
    decided = decision_ms(options.nodes, sizes, options.rounds, progress, gres=options.gres)
    chips = options.nodes * CHIPS_PER_NODE
    print(f"Slurm {filled.version}, {options.nodes:,} nodes, {chips:,} chips, {filled.jobs:,} jobs at once")
    print(f"started          {filled.started:,}, {filled.backfilled:,} of them by backfill")
    print(f"nodes used       {filled.nodes_used:,}")
    print(f"first to last    {filled.seconds:.3f} s, {filled.starts_per_s:.1f} starts/s")
    print(f"release to last  {filled.release_s:.3f} s, {filled.cpu_s:.2f} s of CPU")
    for size, median in decided.items():
        print(f"one decision     {size:>5,} nodes: {median:.1f} ms, median of {options.rounds}")


if __name__ == "__main__":
    main()
