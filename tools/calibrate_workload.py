"""Solve the workloads of `scenarios/parts/` from published aggregates, and print how near each comes.

    python -m tools.calibrate_workload [--check] [name ...]

Starts at `workload_priors.yaml` and moves shares of classes, shares of outcomes, run times and sizes until
the mixture has the published means, medians and shares, in closed form (`twin/workload/moments.py`), and
moves them no further than it must: least squares, one percent of a target weighs as much as a factor of two
away from the start. Spreads (sigmas) stay. Writes the files; `--check` only prints. What a sample of jobs
gives is `python -m bench.traces`.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import yaml
from rich.console import Console
from rich.table import Table
from scipy.optimize import least_squares

from myriad.kernel import units
from myriad.twin.workload import moments
from myriad.twin.workload.columns import OUTCOMES
from myriad.twin.workload.config import Workload, parse

HERE = Path(__file__).parent
PARTS = HERE.parent / "scenarios" / "parts"
PRIORS = HERE / "workload_priors.yaml"
#: One percent off a target costs as much as this logarithm away from the start.
PULL = math.log(2.0)
#: Run times of one outcome keep to those of the others of their class.
STIFF = 4.0
#: A share of jobs this far on either side of the median size, so that a sample has it too.
MARGIN = 0.04


class Figure(NamedTuple):
    """A published aggregate beside what the mixture has."""

    name: str
    published: float
    found: float

    @property
    def ratio(self) -> float:
        """Found over published."""
        return self.found / self.published


class Mixture:
    """Classes as arrays, moved by a vector of logarithms."""

    def __init__(self, tree: dict[str, Any], targets: dict[str, Any]) -> None:
        self.tree, self.targets = tree, targets
        self.start = parse(yaml.safe_dump(tree | {"jobs_per_day": 1.0}), "start")
        classes = self.start.classes
        self.free_shares = "job_shares" in targets
        #: Of each class: its share, its sizes, its run times; of each outcome its share and its run times.
        self.stiff = np.tile([1.0, 1.0, 1.0, *(2.0, STIFF) * len(OUTCOMES)], len(classes))

    def moved(self, vector: np.ndarray) -> Workload:
        """The workload at a place."""
        steps = iter(np.clip(vector, -8, 8).tolist())
        classes = []
        for kind in self.start.classes:
            share = kind.share * math.exp(next(steps))
            tilt, all_longer = next(steps), next(steps)
            sizes = {size: weight * size**tilt for size, weight in kind.sizes.items()}
            total = sum(sizes.values())
            endings = {}
            for outcome in OUTCOMES:
                more, longer = math.exp(next(steps)), math.exp(all_longer + next(steps))
                ending = getattr(kind, outcome)
                # without published shares of outcomes these stay
                more = more if self.free_shares else 1.0
                lasts = tuple(_longer(part, longer) for part in ending.lasts)
                endings[outcome] = msgspec.structs.replace(ending, share=ending.share * more, lasts=lasts)
            scale = sum(ending.share for ending in endings.values())
            endings = {
                name: msgspec.structs.replace(ending, share=ending.share / scale)
                for name, ending in endings.items()
            }
            sizes = {size: weight / total for size, weight in sizes.items()}
            classes.append(msgspec.structs.replace(kind, share=share, sizes=sizes, **endings))
        scale = sum(kind.share for kind in classes)
        scaled = tuple(msgspec.structs.replace(kind, share=kind.share / scale) for kind in classes)
        return msgspec.structs.replace(self.start, classes=scaled)

    def misses(self, vector: np.ndarray) -> np.ndarray:
        """What least squares makes small."""
        workload = self.moved(vector)
        off = [100.0 * math.log(figure.ratio) for figure in figures(workload, self.targets)]
        median, at = self.targets["median_run_s"], 0.5
        off.append(100.0 * 2.0 * (_share_below(workload, median) - at))
        under, upto = _around(workload, self.targets["median_size"])
        off.append(300.0 * max(0.0, under - (0.5 - MARGIN)))
        off.append(300.0 * max(0.0, (0.5 + MARGIN) - upto))
        return np.concatenate([off, self.stiff * vector / PULL])

    def solve(self) -> Workload:
        """The workload nearest to the start that has the aggregates, with numbers as people write them."""
        found = least_squares(self.misses, np.zeros(len(self.stiff)), max_nfev=400)
        return _rounded(self.moved(found.x))


def _longer(part: Any, factor: float) -> Any:
    """The same spread about another median, inside the ends."""
    median = units.span_ns(part.median) * factor
    low, high = units.span_ns(part.least), units.span_ns(part.most)
    return msgspec.structs.replace(part, median=f"{min(max(median, low), high) / units.SECOND:.6f}s")


def _rounded(workload: Workload) -> Workload:
    """Four digits everywhere."""

    def ending(of: Any) -> Any:
        lasts = tuple(
            msgspec.structs.replace(part, median=f"{units.span_ns(part.median) / units.SECOND:.1f}s")
            for part in of.lasts
        )
        return msgspec.structs.replace(of, share=_digits(of.share), lasts=lasts)

    classes = tuple(
        msgspec.structs.replace(
            kind,
            share=_digits(kind.share),
            sizes={size: _digits(weight) for size, weight in kind.sizes.items()},
            **{name: ending(getattr(kind, name)) for name in OUTCOMES},
        )
        for kind in workload.classes
    )
    return msgspec.structs.replace(workload, classes=classes)


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def _share_below(workload: Workload, seconds: float) -> float:
    """Share of jobs that run at most so long."""
    total = 0.0
    for kind in workload.classes:
        shares = sum(ending.share for ending in kind.endings)
        for ending in kind.endings:
            share = kind.share * ending.share / shares
            total += share * moments.over(ending, lambda part: moments.below(part, seconds))
    return total / sum(kind.share for kind in workload.classes)


def _around(workload: Workload, size: float) -> tuple[float, float]:
    """Shares of jobs below a size, and up to it."""
    under = upto = 0.0
    for kind in workload.classes:
        total = sum(kind.sizes.values())
        under += kind.share * sum(w for s, w in kind.sizes.items() if s < size) / total
        upto += kind.share * sum(w for s, w in kind.sizes.items() if s <= size) / total
    all_of = sum(kind.share for kind in workload.classes)
    return under / all_of, upto / all_of


def figures(workload: Workload, targets: dict[str, Any]) -> Iterator[Figure]:
    """Everything published that has a closed form here."""
    total = sum(kind.share for kind in workload.classes)
    jobs = {kind.name: kind.share / total for kind in workload.classes}
    size = {kind.name: moments.mean_size(kind) for kind in workload.classes}
    run = {kind.name: moments.run_s(kind) for kind in workload.classes}
    if "mean_size" in targets:
        yield Figure("mean size", targets["mean_size"], sum(jobs[name] * size[name] for name in jobs))
    if "mean_run_s" in targets:
        yield Figure("mean run time, s", targets["mean_run_s"], sum(jobs[name] * run[name] for name in jobs))
    time = dict.fromkeys(OUTCOMES, 0.0)
    ended = dict.fromkeys(OUTCOMES, 0.0)
    for kind in workload.classes:
        shares = sum(ending.share for ending in kind.endings)
        for outcome, ending in zip(OUTCOMES, kind.endings, strict=True):
            of = jobs[kind.name] * ending.share / shares
            ended[outcome] += of
            time[outcome] += of * size[kind.name] * moments.over(ending, moments.mean_s)
    if "job_shares" in targets:
        known = sum(targets["job_shares"].values())
        for outcome, share in targets["job_shares"].items():
            yield Figure(f"{outcome}, share of jobs", share / known, ended[outcome])
        for outcome, chip_s in targets["chip_s"].items():
            yield Figure(f"{outcome}, chip-s a job", chip_s / targets["jobs"], time[outcome])
    spent = {name: jobs[name] * size[name] * run[name] for name in jobs}
    for name, shares in targets.get("classes", {}).items():
        if "jobs" in shares:
            yield Figure(f"{name}, share of jobs", shares["jobs"], jobs[name])
        if "chip_time" in shares:
            yield Figure(
                f"{name}, share of chip-time", shares["chip_time"], spent[name] / sum(spent.values())
            )


def show(document: dict[str, Any], workload: Workload, console: Console) -> None:
    """The table of one workload."""
    targets = document["targets"]
    table = Table("figure", "published", "mixture", "ratio", title=document["title"])
    rows = list(figures(workload, targets))
    below = _share_below(workload, targets["median_run_s"])
    rows.append(Figure(f"share of run times up to {targets['median_run_s']:g} s", 0.5, below))
    for row in rows:
        table.add_row(row.name, f"{row.published:,.6g}", f"{row.found:,.6g}", f"{row.ratio:.3f}")
    console.print(table)


def text(document: dict[str, Any], workload: Workload) -> str:
    """The file of a workload."""
    per_day = document["targets"]["jobs"] / document["days"]
    tree = msgspec.to_builtins(workload, str_keys=False)
    tree = {"about": document["title"], "jobs_per_day": _digits(per_day), "per_chips": document["chips"]} | {
        name: value for name, value in tree.items() if name not in ("about", "jobs_per_day", "per_chips")
    }
    body = yaml.dump(_plain(tree), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return HEADER.format(title=document["title"], credit=document.get("credit", CREDIT)) + body


#: What the published targets ask for.
CREDIT = "The targets: AcmeTrace, data/cluster_summary.csv (Hu et al.,\n# NSDI 2024), CC-BY-4.0."
HEADER = """# {title}.
#
# Written by tools/calibrate_workload.py from tools/workload_priors.yaml, which has the targets and their
# sources. Change it there. {credit}
# Status of every number here: derived, from these targets and estimated starting points.
"""


class _Dumper(yaml.SafeDumper):
    """Short mappings on one line."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Nothing is written as a reference to something else."""
        return True

    def represent_dict(self, data: Any) -> yaml.MappingNode:
        """On one line if it fits."""
        return self.represent_mapping("tag:yaml.org,2002:map", data, flow_style=len(repr(data)) < 105)


_Dumper.add_representer(dict, _Dumper.represent_dict)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _key(key: Any) -> Any:
    return int(key) if isinstance(key, float) and key.is_integer() else key


def main(arguments: Sequence[str] | None = None) -> None:
    """Solve, print, write."""
    options = argparse.ArgumentParser(description="Workloads from published aggregates")
    options.add_argument("--check", action="store_true", help="print only")
    options.add_argument("names", nargs="*", help="only these files")
    asked = options.parse_args(arguments)
    console = Console(width=110)
    for document in yaml.safe_load_all(PRIORS.read_text()):
        if asked.names and not any(name in document["file"] for name in asked.names):
            continue
        workload = Mixture(document["workload"], document["targets"]).solve()
        show(document, workload, console)
        if not asked.check:
            PARTS.mkdir(parents=True, exist_ok=True)
            (PARTS / document["file"]).write_text(text(document, workload))


if __name__ == "__main__":
    main()
