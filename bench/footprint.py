"""Memory of the brain at 10,000 and 100,000 chips with 50,000 jobs known, each size in a process of its own.

Jobs of the mix: some run, 10,000 wait, the rest have ended and stay for reports. The limit is 1 GiB.
"""

import argparse
import json
import resource
import subprocess
import sys

from bench import report
from bench.saturated import Crowd, add_tenants, opened, site

JOBS, PENDING, LIMIT_MIB = 50_000, 10_000, 1024


def measure(chips: int) -> dict[str, float]:
    """MiB of this process, once everything is known."""
    core = opened(site(chips))
    base_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    crowd = Crowd(core, add_tenants(core, chips), seed=3)
    while crowd.submitted < JOBS:
        crowd.submit()
        while crowd.pending > PENDING:
            crowd.pass_time(64)
    return {
        "empty_mib": base_mib,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "jobs": len(core.state.jobs),
        "running": len(core.state.gangs),
        "pending": crowd.pending,
    }


def main() -> None:
    """Print the table and the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one)))
        return
    found = {}
    print(f"{'chips':>8} {'jobs':>8} {'running':>8} {'pending':>8} {'empty MiB':>10} {'MiB':>7}")
    for chips in (10_000, 100_000):
        command = [sys.executable, "-m", "bench.footprint", "--one", str(chips)]
        row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        found[chips] = row
        print(
            f"{chips:>8} {row['jobs']:>8} {row['running']:>8} {row['pending']:>8} {row['empty_mib']:>10.0f}"
            f" {row['mib']:>7.0f}",
            flush=True,
        )
    report.finish(
        "footprint",
        found[100_000]["mib"],
        "MiB at 100,000 chips with 50,000 jobs known",
        "the limit set for it",
        LIMIT_MIB,
        better="lower",
        mib_10k=round(found[10_000]["mib"], 1),
        empty_mib=round(found[100_000]["empty_mib"], 1),
    )


if __name__ == "__main__":
    main()
