"""Jobs started and ended a second through the brain, with 10,000 or more pending under three levels of quota.

The site is saturated: every gang that ends makes place for others. What happens within a moment comes in one
turn, as a server under load takes it (`TURNS`); the same one by one is printed beside it, and so is the
rate of submission, which is not in the figure. Beside it the real Slurm, filling the same number of chips
with the same mix of gangs: decisions alone, nothing submitted, nothing ended.
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
#: Inputs in a turn. Under such a load some 250 come while as many are taken; a server takes 512 at most.
TURNS = (1, 32, 256)
TOGETHER = TURNS[-1]


def measure(chips: int, jobs: int, together: int) -> dict[str, float]:
    """Jobs a second on a site of so many chips, and what the process has taken."""
    core = opened(site(chips))
    crowd = Crowd(core, add_tenants(core, chips), seed=7)
    cpu = time.process_time()
    while crowd.pending < PENDING + jobs:
        crowd.submit()
    submitted_s = time.process_time() - cpu
    while crowd.ended < jobs // 10:  # until gangs of all ages run
        crowd.pass_time(together)
    gc.collect()
    gc.freeze()
    started, ended = crowd.started, crowd.ended
    cpu, began = time.process_time(), time.perf_counter()
    while crowd.pending > PENDING:
        crowd.pass_time(together)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    gc.unfreeze()
    return {
        "jobs": crowd.ended - ended,
        "started": crowd.started - started,
        "jobs_per_s": (crowd.ended - ended) / seconds,
        "jobs_per_cpu_s": (crowd.ended - ended) / cpu_s,
        "submitted_per_cpu_s": crowd.submitted / submitted_s,
        "utilisation": 1 - core.state.columns.free_chips / chips,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Print the table and the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000, help="started and ended in the timed part")
    parser.add_argument("--peer-jobs", type=int, default=2_000, help="queued for Slurm")
    parser.add_argument("--no-peer", action="store_true", help="leave Slurm out")
    given = parser.parse_args()
    print("   chips together   jobs/s  per CPU s  submitted   used    MiB")
    found: dict[tuple[int, int], dict[str, float]] = {}
    for chips in (10_000, 100_000):
        for together in TURNS:
            row = found[chips, together] = measure(chips, given.jobs, together)
            print(
                f"{chips:>8} {together:>8} {row['jobs_per_s']:>8,.0f} {row['jobs_per_cpu_s']:>10,.0f}"
                f" {row['submitted_per_cpu_s']:>10,.0f} {row['utilisation']:>6.1%} {row['memory_mib']:>6.0f}",
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
    large, small = found[100_000, TOGETHER], found[10_000, TOGETHER]
    report.finish(
        "decisions",
        large["jobs_per_s"],
        "jobs/s started and ended at 100,000 chips",
        "real Slurm on 100,000 chips, starts/s" if not why else f"none ({why})",
        peer["slurm_100k"],
        jobs_per_s_10k=round(small["jobs_per_s"], 1),
        jobs_per_cpu_s=round(large["jobs_per_cpu_s"], 1),
        jobs_per_cpu_s_10k=round(small["jobs_per_cpu_s"], 1),
        one_by_one_per_s=round(found[100_000, 1]["jobs_per_s"], 1),
        one_by_one_per_s_10k=round(found[10_000, 1]["jobs_per_s"], 1),
        submitted_per_cpu_s=round(large["submitted_per_cpu_s"], 1),
        memory_mib=round(large["memory_mib"], 1),
        utilisation=round(large["utilisation"], 4),
        **peer,
    )


if __name__ == "__main__":
    main()
