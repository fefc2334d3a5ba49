"""How fast the twin is: 90 days of sites with every policy on, and the shapes that public simulators show.

Each run is a process of its own (memory is its peak). CPU time beside wall time, since machines are shared:
the bars are judged by wall time. The peers are not here: their figures were measured on such a machine
(fleetsim, AccaSim), or are what they advertise.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import report
from myriad.kernel.units import DAY
from myriad.twin import run, scenario

HERE: Final = Path(__file__).parent
SCENARIOS: Final = HERE.parent / "scenarios"


class Shape(NamedTuple):
    """One run, and what stands beside it."""

    name: str
    file: Path
    days: float
    beside: str
    seconds: float  # of the limit or the peer
    wanted: float = 1.0  # how many times as fast as that we want to be
    pods: tuple[tuple[int, int, int], ...] = ()  # pods, racks, nodes of a rack
    cores: int = 1


SHAPES: Final = (
    Shape("shaoguan-10k", SCENARIOS / "shaoguan-10k.yaml", 90, "the limit set", 15),
    Shape("shaoguan-100k", SCENARIOS / "shaoguan-100k.yaml", 90, "the limit set (and 2 GiB)", 180),
    Shape("fleet-2048-14d", HERE / "scenarios/fleet-2048.yaml", 14, "fleetsim, measured", 30, 20),
    Shape("fleet-2048-56d", HERE / "scenarios/fleet-2048.yaml", 56, "fleetsim, measured", 250, 20),
    Shape(
        "fleet-524k",
        HERE / "scenarios/fleet-524k.yaml",
        2,
        "fleetsim, advertised",
        80,
        20,
        ((32, 16, 32),),
        4,
    ),
)
#: Nodes, and days that make some 20,000 to 100,000 jobs; jobs per CPU-second of others at such sizes.
SMALL: Final = (
    (128, 30.0, "AccaSim at 128 nodes", 4600),
    (1250, 5.0, "AccaSim at 1,250", 820),
    (12500, 0.6, "", 0),
)
#: Chips of sites between which the cost of a chip-month is compared.
SIZES: Final = (1000, 10_000, 100_000)
EXPONENT: Final = 1.15


def main() -> None:
    """Run what is asked for, print a table and the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="name of one shape; small; growth")
    parser.add_argument("--days", type=float, default=0.0, help="shorten every run to so many days")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(_measure(json.loads(given.one))))
        return
    rows = {}
    columns = (f"{name:>8}" for name in ("days", "jobs", "wall s", "CPU s", "us/job", "MiB"))
    print(f"{'run':<18} {' '.join(columns)} {'digest':>12}")
    for shape in SHAPES:
        if given.only in ("", shape.name):
            rows[shape.name] = _shown(shape.name, _task(shape, given.days or shape.days))
            _compare(shape, rows[shape.name])
    if given.only in ("", "small"):
        _small(rows)
    if given.only in ("", "growth"):
        _growth(rows)
    _finish(rows)


def _task(shape: Shape, days: float) -> dict[str, Any]:
    return {"file": str(shape.file), "days": min(days, shape.days), "pods": shape.pods, "cores": shape.cores}


def _shown(name: str, task: dict[str, Any]) -> dict[str, Any]:
    """Run in a process of its own and print a line."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.simulation", "--one", json.dumps(task)],
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{name:<18} {row['days']:>8g} {row['jobs']:>8,} {row['wall_s']:>8.1f} {row['cpu_s']:>8.1f}"
        f" {1e6 * row['cpu_s'] / row['jobs']:>8.0f} {row['mib']:>8.0f} {row['digest'][:12]:>12}",
        flush=True,
    )
    return row


def _measure(task: dict[str, Any]) -> dict[str, Any]:
    tree = scenario.tree(Path(task["file"]))
    if task["pods"]:
        tree["site"]["pods"] = [
            {
                "name": f"c{core}p{pod}",
                "racks": racks,
                "nodes_per_rack": nodes,
                "core": f"c{core}",
                "power": f"c{core}",
            }
            for core in range(task["cores"])
            for pods, racks, nodes in task["pods"]
            for pod in range(pods)
        ]
    for path, value in task.get("set", {}).items():
        scenario.put(tree, path, value)
    found = scenario.of_tree(tree, task["file"], Path(task["file"]).parent)
    cpu, wall = time.process_time(), time.perf_counter()
    outcome = run.simulate(found, span_ns=int(task["days"] * DAY))
    return {
        "days": task["days"],
        "chips": outcome.chips,
        "jobs": outcome.submitted,
        "facts": outcome.facts,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "goodput": outcome.goodput,
        "utilisation": outcome.utilisation,
        "digest": outcome.digest,
    }


def _compare(shape: Shape, row: dict[str, Any]) -> None:
    share = row["days"] / shape.days
    row["peer"] = (shape.beside, shape.seconds * share)
    part = "" if share == 1 else f" (its part for {row['days']:g} days)"
    print(
        f"{'':<18} {shape.beside}: {shape.seconds * share:.1f} s{part},"
        f" {shape.seconds * share / row['wall_s']:.2f} times as fast; wanted {shape.wanted:g}",
        flush=True,
    )


def _small(rows: dict[str, Any]) -> None:
    """Jobs per CPU-second of plain scheduling, at three numbers of nodes."""
    for nodes, days, peer, peer_rate in SMALL:
        racks = max(1, nodes // 25)
        task = {"file": str(HERE / "scenarios/small-jobs.yaml"), "days": days, "cores": 1}
        task["pods"] = [(1, racks, math.ceil(nodes / racks))]
        row = rows[f"small-{nodes}"] = _shown(f"small-{nodes}", task)
        row["jobs_per_cpu_s"] = row["jobs"] / row["cpu_s"]
        beside = f"; {peer}: {peer_rate:,}" if peer else ""
        print(f"{'':<18} {row['jobs_per_cpu_s']:,.0f} jobs a CPU-second{beside}; wanted 10,000", flush=True)


def _growth(rows: dict[str, Any]) -> None:
    """Cost of a chip-month by the size of the site: the slope of log time over log chips."""
    points = []
    for chips in SIZES:
        days = min(30.0, 300_000 / chips)
        task = {"file": str(SCENARIOS / "shaoguan-10k.yaml"), "days": days, "cores": 1}
        task["pods"] = [(max(1, chips // 10_000), min(25, chips // 16 // 25), 25)]
        task["set"] = {"services.scale": 0.4 * chips / 10_000, "site.spares": max(1, chips // 1600)}
        if chips < SIZES[1]:  # the largest gangs of the mix are larger than such a site
            task["set"]["workload.largest"] = chips // 8
        row = rows[f"growth-{chips}"] = _shown(f"growth-{chips}", task)
        points.append((math.log(row["chips"]), math.log(row["cpu_s"] / row["days"])))
    (x0, y0), *_, (x1, y1) = points
    rows["exponent"] = (y1 - y0) / (x1 - x0)
    print(
        f"{'':<18} cost of a day grows with chips to the power of {rows['exponent']:.2f}; limit {EXPONENT}",
        flush=True,
    )


def _finish(rows: dict[str, Any]) -> None:
    """The last line: the first run that has a limit or a peer, all wall times beside it."""
    runs = {name: row for name, row in rows.items() if isinstance(row, dict)}
    more = {f"{name}_wall_s".replace("-", "_"): round(row["wall_s"], 2) for name, row in runs.items()}
    more |= {
        f"{name}_jobs_per_cpu_s".replace("-", "_"): round(row["jobs_per_cpu_s"])
        for name, row in runs.items()
        if "jobs_per_cpu_s" in row
    }
    if "exponent" in rows:
        more["exponent"] = round(rows["exponent"], 3)
    compared = next((row for row in runs.values() if "peer" in row), None)
    if compared is None:
        value = rows.get("exponent", 0.0)
        unit, peer = "exponent of the cost of a day over the chips", "the limit set"
        report.finish("simulation", value, unit, peer, EXPONENT, better="lower", **more)
        return
    unit = f"s for {compared['days']:g} days of {compared['chips']:,} chips, {compared['jobs']:,} jobs"
    more["memory_mib"] = round(compared["mib"], 1)
    peer, seconds = compared["peer"]
    report.finish("simulation", compared["wall_s"], unit, peer, seconds, better="lower", **more)


if __name__ == "__main__":
    main()
