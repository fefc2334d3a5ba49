"""Jobs started and ended a second through `Core.step`, with 10,000 pending under three-level quotas.

The site is saturated; every gang that ends makes place for others, and every start is replaced by a new
submission, so that the queue stays full: submission, decision, start and end are all in the figure. Beside it
the real Slurm, filling the same number of chips with the same mix of gangs: decisions alone, in its favour.
"""

import argparse
import gc
import resource
import sys
import time
from collections import Counter

from bench import report
from bench.peers import slurm
from bench.saturated import Crowd, add_tenants, opened, site

PENDING = 10_000


def measure(chips: int, jobs: int, chips_per_node: int) -> dict[str, float]:
    """Jobs a second on a site of so many chips, and what the process has taken."""
    core = opened(site(chips, chips_per_node))
    crowd = Crowd(core, add_tenants(core, chips), seed=7)
    began = time.perf_counter()
    while crowd.pending < PENDING:
        crowd.submit()
    filling_s = time.perf_counter() - began
    gc.collect()
    started, ended = crowd.started, crowd.ended
    cpu, began = time.process_time(), time.perf_counter()
    while crowd.ended - ended < jobs:
        before = crowd.started
        crowd.pass_time()
        for _ in range(crowd.started - before):
            crowd.submit()
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    used = 1 - core.state.columns.free_chips / chips
    return {
        "started": crowd.started - started,
        "jobs_per_s": (crowd.ended - ended) / seconds,
        "jobs_per_cpu_s": (crowd.ended - ended) / cpu_s,
        "fill_jobs_per_s": crowd.submitted / filling_s if filling_s else 0.0,
        "pending": crowd.pending,
        "utilisation": used,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Print the table and the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000, help="started and ended in the timed part")
    parser.add_argument("--peer-jobs", type=int, default=2_000, help="queued for Slurm")
    parser.add_argument("--no-peer", action="store_true", help="leave Slurm out")
    given = parser.parse_args()
    print(f"{'chips':>8} {'jobs/s':>8} {'per CPU s':>10} {'pending':>8} {'used':>6} {'MiB':>6}")
    found = {}
    for chips in (10_000, 100_000):
        row = found[chips] = measure(chips, given.jobs, chips_per_node=16)
        print(
            f"{chips:>8} {row['jobs_per_s']:>8,.0f} {row['jobs_per_cpu_s']:>10,.0f} {row['pending']:>8,.0f}"
            f" {row['utilisation']:>6.1%} {row['memory_mib']:>6.0f}",
            flush=True,
        )
    peer = Counter[str]()
    why = "left out" if given.no_peer else slurm.available()
    for chips in () if why else (10_000, 100_000):
        for gres in (True, False):
            filled = slurm.fill(
                chips // 8,
                slurm.mix(given.peer_jobs, 7),
                lambda text: print(text, file=sys.stderr),
                gres=gres,
            )
            name = f"slurm_{chips // 1000}k" + ("" if gres else "_whole_nodes")
            peer[name] = round(filled.starts_per_s, 1)  # type: ignore[assignment]
            print(f"{chips:>8} {filled.starts_per_s:>8,.1f} Slurm {filled.version}, {name}", flush=True)
    if why:
        print(f"no Slurm beside it: {why}")
    report.finish(
        "decisions",
        found[100_000]["jobs_per_s"],
        "jobs/s started and ended at 100,000 chips",
        "real Slurm on 100,000 chips, starts/s" if not why else f"none ({why})",
        peer["slurm_100k"],
        jobs_per_s_10k=round(found[10_000]["jobs_per_s"], 1),
        jobs_per_cpu_s_100k=round(found[100_000]["jobs_per_cpu_s"], 1),
        jobs_per_cpu_s_10k=round(found[10_000]["jobs_per_cpu_s"], 1),
        memory_mib=round(found[100_000]["memory_mib"], 1),
        utilisation=round(found[100_000]["utilisation"], 4),
        **peer,
    )


if __name__ == "__main__":
    main()
