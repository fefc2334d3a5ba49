"""A real Slurm of 1,250 nodes and 10,000 chips on this machine: by itself, and held by Myriad.

The same gangs with the same commands twice in one run, as batch jobs on the same slurmctld and slurmd. First
Slurm places them itself (topology/tree, backfill, parameters tuned for many gangs); then Myriad places them
and Slurm starts them where it is told. Submission is timed apart: on both sides the whole queue is there
before the first gang may start, in Slurm with its partition down, in Myriad with all nodes kept for another
tenant. When all is over Slurm's books, Myriad's and the gangs' own marks must agree.

`python -m bench.cluster --gangs 2000` is the whole benchmark and takes a quarter of an hour.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tools.slurm import processes
from tools.slurm.cluster import Cluster, available

from bench import report
from bench.clusters import drift, held, plain, work
from bench.clusters.figures import Figures, Progress, Side, figures
from bench.clusters.work import Gang
from bench.peers import slurm_site
from myriad.engines.slurm.site import importing

#: Myriad may add so much to the makespan.
BAR = 1.10
#: Slurm's own scheduler at its best with a long queue; and under Myriad, when few jobs wait in Slurm, and
#: those only for its next look at them.
ALONE = {"SchedulerParameters": f"{slurm_site.SCHEDULER},batch_sched_delay=0"}
HELD = {"SchedulerParameters": "sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1"}
_END_S = 30.0
_LIMIT_S = 1800.0


def main() -> int:
    """1 if a bar is missed or the books differ."""
    options = _options()
    if reason := available() or slurm_site.available():
        sys.exit(f"Slurm cannot be used here: {reason}")
    queue = work.gangs(options.gangs, options.seed, *options.seconds)
    sides: dict[str, tuple[Side, Figures]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="myriad-cluster-")))
        slurm = Cluster(folder / "slurm", options.nodes, slurm_site.CHIPS_PER_NODE, 64, ALONE, progress=_tell)
        stack.enter_context(slurm)
        racks = racks_of(slurm)
        if options.side != "myriad":
            side, watch = plain.play(slurm, folder / "plain", queue, _LIMIT_S)
            sides["slurm"] = side, figures(side, watch, queue, racks)
            slurm.wait_state("idle", slurm.names, 120.0)
        if options.side != "slurm":
            tune(slurm, HELD)
            side, made, differences = held_by_myriad(slurm, folder / "held", queue, racks)
            sides["myriad"] = side, made
            if options.keep:
                _keep(folder, options.keep)
            if differences:
                print("\n".join(differences[:20]))
                return 1
    return _tell_all(options, queue, sides)


def held_by_myriad(
    slurm: Cluster, folder: Path, queue: Sequence[Gang], racks: Mapping[str, str], **section: Any
) -> tuple[Side, Figures, list[str]]:
    """Run the queue through Myriad; also every difference between the books when it is over."""
    progress = Progress("Myriad")
    with held.plane(slurm, folder, progress, **section) as found:
        side, watch = held.play(slurm, found, queue, _LIMIT_S, progress)
        slurm.wait_state("idle", slurm.names, 120.0)
        differences = drift.live(slurm, found, queue, side)
    differences += drift.recorded(folder, watch)
    progress.say(f"drift between Slurm's books and Myriad's: {len(differences)}", now=True)
    return side, figures(side, watch, queue, racks), differences


def tune(slurm: Cluster, changed: Mapping[str, str]) -> None:
    """Give slurmctld other parameters, by its restart; nothing runs meanwhile."""
    lines = slurm.conf.read_text().splitlines()
    kept = [line for line in lines if line.partition("=")[0] not in changed]
    slurm.conf.write_text("\n".join([*(f"{key}={value}" for key, value in changed.items()), *kept]) + "\n")
    processes.end([slurm.controller_pid], _END_S)
    slurm.start_slurmctld()
    slurm.wait_state("idle", slurm.names, 300.0)


def _keep(folder: Path, where: Path) -> None:
    where.mkdir(parents=True, exist_ok=True)
    for name in ("held/server.log", "held/profile", "slurm/log/slurmctld.log"):
        if (folder / name).exists():
            shutil.copy(folder / name, where)


def racks_of(slurm: Cluster) -> dict[str, str]:
    """Each node's leaf switch."""
    said = slurm.run("scontrol", "--oneliner", "show", "topology")
    return {
        node: domain.name
        for domain in importing.domains_of(said)
        if domain.level == 0
        for node in domain.nodes
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--nodes", type=int, default=1250, help="slurmd of 8 chips (1250)")
    parser.add_argument("--gangs", type=int, default=400, help="of the mix (400: about two fillings)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--seconds", type=_span, default=(20.0, 40.0), metavar="FROM-TO", help="a gang runs so long (20-40)"
    )
    parser.add_argument("--side", choices=("both", "slurm", "myriad"), default="both")
    parser.add_argument("--keep", type=Path, help="folder for the logs (and a profile: BENCH_PROFILE=1)")
    return parser.parse_args()


def _span(text: str) -> tuple[float, float]:
    low, _, high = text.partition("-")
    return float(low), float(high or low)


def _tell(line: str) -> None:
    print(f"  {line}", flush=True)


def _tell_all(
    options: argparse.Namespace, queue: Sequence[Gang], sides: Mapping[str, tuple[Side, Figures]]
) -> int:
    ideal = work.ideal_s(queue, options.nodes)
    least, most = options.seconds
    print(
        f"{len(queue):,} gangs, {sum(g.nodes for g in queue):,} nodes in all, {least:g} to {most:g} s each, "
        f"on {options.nodes:,} nodes; no schedule ends before {ideal:.1f} s"
    )
    for side, made in sides.values():
        spent = ", ".join(f"{name} {value:.0f} s" for name, value in side.cpu_s.items())
        rows = (
            ("makespan", f"{made.makespan_s:.1f} s, {made.makespan_s / ideal:.3f} of the least"),
            ("first wave", f"{made.wave_gangs} gangs run after {made.wave_s:.1f} s"),
            ("nodes at once", f"{made.peak_nodes:,}"),
            ("racks a gang", f"{made.racks:.3f}, {made.racks_over_least:.3f} of the least"),
            ("by nodes", ", ".join(f"{size}: {racks:.2f}" for size, racks in made.racks_by_size.items())),
            ("a decision", f"{side.decided_ms:.2f} ms a gang"),
            ("start, end", f"{made.start_s:.2f} s to the gang's process, {made.end_s:.2f} s after it"),
            ("submission", f"{side.submit_s:.1f} s"),
            ("CPU", f"{spent}; load {side.load:.1f}"),
        )
        print(side.name)
        for name, told in rows:
            print(f"  {name:14} {told}")
    if len(sides) < 2:
        return 0
    (theirs, slurm), (ours, myriad) = sides["slurm"], sides["myriad"]
    report.finish(
        "a real Slurm of 10,000 chips: makespan, in seconds",
        myriad.makespan_s,
        "s",
        "Slurm's own scheduler",
        slurm.makespan_s,
        better="lower",
        bar=BAR,
        nodes=options.nodes,
        gangs=len(queue),
        policy=held.POLICY,
        gang_seconds=[least, most],
        no_schedule_s=round(ideal, 1),
        first_wave_s=[round(myriad.wave_s, 2), round(slurm.wave_s, 2)],
        first_wave_gangs=[myriad.wave_gangs, slurm.wave_gangs],
        racks_over_least=[round(myriad.racks_over_least, 4), round(slurm.racks_over_least, 4)],
        racks_per_gang=[round(myriad.racks, 3), round(slurm.racks, 3)],
        decided_ms=[round(ours.decided_ms, 2), round(theirs.decided_ms, 2)],
        submit_s=[round(ours.submit_s, 1), round(theirs.submit_s, 1)],
        cpu_s=[ours.cpu_s, theirs.cpu_s],
        load=[round(ours.load, 1), round(theirs.load, 1)],
        racks_by_size=[myriad.racks_by_size, slurm.racks_by_size],
        order="Myriad, Slurm",
    )
    good = myriad.makespan_s <= BAR * slurm.makespan_s and myriad.racks < slurm.racks
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
