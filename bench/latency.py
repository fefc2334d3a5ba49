"""How long one gang decision takes on a site that is 95 % full and fragmented, at 10,000 and 100,000 chips.

A decision is the whole step: a job of 1 to 6,250 nodes is submitted, and comes out placed or, since most
large ones cannot fit, with a reservation and a forecast. Beside it one decision of the real Slurm on as many
chips.
"""

import argparse
import gc
import resource
import sys
import time

import numpy as np

from bench import report
from bench.peers import slurm
from bench.saturated import add_tenants, opened, site
from myriad.control.core import Core
from myriad.kernel.ids import JobId, TenantId
from myriad.kernel.rng import Stream
from myriad.kernel.units import HOUR
from myriad.protocol import inputs
from myriad.protocol.values import Profile
from myriad.workload.jobs import TrainingJob

ROUNDS = 3000
FULL = 0.95
#: Nodes of the gangs that fill the site, and of those that end in between, so that holes are everywhere.
FILLING = (1, 1, 1, 2, 2, 3, 4, 6, 8, 12)


def fragmented(chips: int, stream: Stream) -> Core:
    """A site 95 % full: filled to the brim, then single gangs ended here and there."""
    core = opened(site(chips))
    add_tenants(core, 16 * chips)
    placed: list[JobId] = []
    while core.state.columns.free_chips > 0:
        nodes, whole = stream.choice(FILLING), stream.happens(0.9)
        if core.state.columns.fitting(16 if whole else 4) < nodes:
            nodes, whole = 1, False
        job = _submit(core, len(placed), nodes, 16 if whole else stream.choice((1, 2, 4, 8)))
        if core.state.jobs[job].attempt is None:
            core.step(inputs.CancelJob(at=0, job=job))
            break
        placed.append(job)
    while core.state.columns.free_chips < (1 - FULL) * chips:
        job = placed.pop(stream.integer(0, len(placed) - 1))
        _leave(core, job)
    return core


def _submit(core: Core, number: int, nodes: int, chips_per_node: int) -> JobId:
    job = JobId(f"job-{number}")
    spec = TrainingJob(
        name="job",
        tenant=TenantId(f"org{number % 4}-team{number % 5}-user{number % 3}"),
        nodes=nodes,
        chips_per_node=chips_per_node,
        command=("train",),
    )
    core.step(inputs.SubmitJob(at=number, job=job, spec=spec, profile=Profile(expected_ns=number % 7 * HOUR)))
    return job


def _leave(core: Core, job: JobId) -> None:
    attempt = core.state.jobs[job].attempt
    core.step(inputs.CancelJob(at=0, job=job))
    if attempt:
        core.step(inputs.GangGone(at=0, attempt=attempt))


def measure(chips: int) -> dict[str, float]:
    """Milliseconds of single decisions, by percentile, of those placed and of all."""
    stream = Stream(11, "latency")
    core = fragmented(chips, stream)
    every, placed = [], []
    largest = len(core.state.columns)
    gc.collect()
    gc.disable()
    for number in range(1_000_000, 1_000_000 + ROUNDS):
        nodes = min(largest, int(np.exp(stream.uniform(0, float(np.log(largest + 1))))))
        begun = time.perf_counter()
        job = _submit(core, number, nodes, 16)
        spent_ms = 1000 * (time.perf_counter() - begun)
        every.append(spent_ms)
        if core.state.jobs[job].attempt:
            placed.append(spent_ms)
        _leave(core, job)
    gc.enable()
    return {
        "p50": float(np.percentile(every, 50)),
        "p99": float(np.percentile(every, 99)),
        "placed_p50": float(np.percentile(placed, 50)),
        "placed_p99": float(np.percentile(placed, 99)),
        "placed_share": len(placed) / len(every),
        "used": 1 - core.state.columns.free_chips / chips,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Print the table and the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-peer", action="store_true", help="leave Slurm out")
    given = parser.parse_args()
    print(
        f"{'chips':>8} {'used':>6} {'p50 ms':>8} {'p99 ms':>8} {'placed':>7} {'p50':>7} {'p99':>7} {'MiB':>5}"
    )
    found = {}
    for chips in (10_000, 100_000):
        row = found[chips] = measure(chips)
        print(
            f"{chips:>8} {row['used']:>6.1%} {row['p50']:>8.3f} {row['p99']:>8.3f}"
            f" {row['placed_share']:>7.0%} {row['placed_p50']:>7.3f} {row['placed_p99']:>7.3f}"
            f" {row['memory_mib']:>5.0f}",
            flush=True,
        )
    why = "left out" if given.no_peer else slurm.available()
    peer_ms = 0.0
    if not why:
        tell = lambda text: print(text, file=sys.stderr)
        peer_ms = slurm.decision_ms(12_500, [64], 3, tell)[64]
    large, small = found[100_000], found[10_000]
    report.finish(
        "latency",
        large["p50"],
        "ms for one gang decision at 100,000 chips, 95 % full, p50",
        "real Slurm, 64 nodes of an empty site of 100,000 chips" if not why else f"none ({why})",
        peer_ms,
        better="lower",
        p99_ms=round(large["p99"], 3),
        p50_ms_10k=round(small["p50"], 3),
        p99_ms_10k=round(small["p99"], 3),
        growth=round(large["p50"] / small["p50"], 2),
        growth_p99=round(large["p99"] / small["p99"], 2),
        placed_p50_ms=round(large["placed_p50"], 3),
        placed_p99_ms=round(large["placed_p99"], 3),
        memory_mib=round(large["memory_mib"], 1),
    )


if __name__ == "__main__":
    main()
