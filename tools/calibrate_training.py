"""Fit the training parameters of the catalogue once, over the published runs, and write them into its files.

    python -m tools.calibrate_training [--check rows|publishers] [--write] [--data FILE]

Robust maximum a posteriori: absolute log errors (soft L1) on every run, each source weighing less the more
rows it has, and a weak log-normal prior on every parameter, so that what the rows do not show stays where
physics puts it. A parameter belongs to an architecture, a stack or a fabric. Most stacks are the framework of
one publisher, so `--check publishers` leaves out one publisher at a time, beside `--check rows`, which leaves
out a quarter of the rows; `--write` puts values and intervals into the catalogue.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.optimize import least_squares

from myriad.catalog import figures
from myriad.catalog.shelf import Catalog
from myriad.performance.machine import Level, Machine
from myriad.performance.training import predict
from myriad.studies import published, validation
from myriad.studies.published import Run

CATALOG = Path(__file__).parents[1] / "src" / "myriad" / "catalog"
PRIORS = Path(__file__).parent / "training_priors.yaml"
#: Error at which the loss turns from square to absolute, and weight of the priors.
SCALE, PRIOR = 0.07, 0.06
#: Share of the sigma of the prior alone, from which on the runs are said not to tell.
UNTOLD = 0.9
#: Rows with gaps in their configuration weigh this much; rows of a source of n weigh n ** FEWER.
GAPS, FEWER = 0.45, -0.15
Array = NDArray[np.float64]


class Free(NamedTuple):
    """One parameter to fit, with its prior and who shares it."""

    name: str  # as in the file: `parameters.<name>`, or a level of a fabric
    entries: tuple[str, ...]  # "architecture:ampere", ...; one value for all of them
    prior: float  # median, SI
    spread: float  # sigma of its logarithm
    low: float
    high: float


def _free() -> list[Free]:
    """What is fitted, from `training_priors.yaml`."""
    found: list[Free] = []
    for name, given in yaml.safe_load(PRIORS.read_text()).items():
        for who, median in given["medians"].items():
            entries = (
                tuple(f"architecture:{one}" for one in ARCHITECTURES) if "*" in who else tuple(who.split())
            )
            bounds = (float(given[key]) for key in ("spread", "low", "high"))
            found.append(Free(name, entries, float(median), *bounds))
    return found


#: Architectures with published runs.
ARCHITECTURES = (
    "ampere",
    "hopper",
    "hopper-500w",
    "blackwell",
    "grace-blackwell",
    "blackwell-ultra",
    "davinci",
    "tpu",
)


class Fit:
    """The runs as columns, and which parameter each of them reads for each name."""

    def __init__(self, runs: Sequence[Run], catalog: Catalog) -> None:
        self.runs, self.catalog, self.free = runs, catalog, _free()
        self.work, self.base, self.layouts = validation.columns(runs, catalog)
        self.of_chip = {free.name for free in self.free if free.entries[0].startswith("architecture:")}
        self.measured = np.array([run.measured_s for run in runs], dtype=float)
        self.weights = self._weights()
        self.reads = {name: self._reading(name) for name in dict.fromkeys(free.name for free in self.free)}
        used = np.unique(np.concatenate([column[column >= 0] for column in self.reads.values()]))
        self.used = np.isin(np.arange(len(self.free)), used)
        self.prior = np.log([free.prior for free in self.free])
        self.spread = np.array([free.spread for free in self.free])
        # sigma that the prior alone would leave in the same fit
        self.alone = self.spread * SCALE / PRIOR
        self.bounds = np.log([(free.low, free.high) for free in self.free])
        # what the base holds is at the catalogue's values; scale the links to the new ones
        self.speeds = [level.bytes_per_s.copy() for level in self.base.levels]
        self.links = self._links()

    def _weights(self) -> Array:
        sources = [run.source for run in self.runs]
        counts = np.array([sources.count(source) for source in sources], dtype=float)
        recommended = np.array([run.recommended for run in self.runs])
        weights = counts**FEWER * np.where(recommended, 1.0, GAPS)
        return np.asarray(weights / weights[recommended].mean())

    def _links(self) -> list[Array]:
        """Bytes/s of each level before the share that collectives reach."""
        own = [self.catalog.chip(run.chip).parameters for run in self.runs]
        self.port_s = np.array([each.nic_latency_s.value for each in own])
        scale = np.array([each.scale_up_share.value for each in own])
        nic = np.array([each.nic_share.value for each in own])
        return [self.speeds[0] / scale, self.speeds[1] / nic, self.speeds[2] / nic]

    def _reading(self, name: str) -> NDArray[np.int64]:
        """For each run, the position of the parameter it reads; -1 where the catalogue's own value holds."""
        places = {entry: k for k, free in enumerate(self.free) if free.name == name for entry in free.entries}
        return np.array(
            [next((places[e] for e in self._chain(run, name) if e in places), -1) for run in self.runs]
        )

    def _chain(self, run: Run, name: str) -> list[str]:
        """Entries in which a run looks for a parameter, nearest first."""
        chip = self.catalog.chip(run.chip)
        if name.startswith("levels."):
            return [f"fabric:{validation.fabric_name(run, self.catalog)}"]
        if name in self.of_chip:
            kernel = f"kernel_shares.{validation.kernel(run, self.catalog)}"
            if name.startswith("kernel_shares") and name != kernel:
                return []
            return [f"architecture:{chip.architecture}"]
        return [f"stack:{stack}" for stack in validation.ancestry(run.stack, self.catalog)]

    def machine(self, logs: Array) -> Machine:
        """The machine of every run under these parameters."""
        values = np.exp(logs)

        def read(name: str, otherwise: Array) -> Array:
            places = self.reads[name]
            return np.where(places >= 0, values[places], otherwise)

        base = self.base
        columns = {}
        for name in self.reads:
            if hasattr(base, name):
                columns[name] = read(name, getattr(base, name))
        attention = columns["attention_share"]
        for name in self.reads:
            if name.startswith("kernel_shares"):
                attention = np.where(self.reads[name] >= 0, values[self.reads[name]], attention)
        fp4 = np.array(["fp4" in run.precision for run in self.runs])
        columns["fp8_share"] = np.where(fp4, read("fp4_share", base.fp8_share), columns["fp8_share"])
        inner, outer, outmost = self.links
        nic, port = read("nic_share", np.ones(1)), read("nic_latency_s", self.port_s)
        speed = inner * read("scale_up_share", np.ones(1))
        spine = read("levels.1.bytes_per_s", outmost)
        levels = (
            Level(base.levels[0].chips, speed, read("scale_up_latency_s", base.levels[0].latency_s)),
            Level(base.levels[1].chips, outer * nic, base.levels[1].latency_s - self.port_s + port),
            Level(base.levels[2].chips, spine * nic, base.levels[2].latency_s - self.port_s + port),
        )
        return replace(base, **{**columns, "attention_share": attention, "levels": levels})

    def errors(self, logs: Array) -> Array:
        """log(predicted / measured) of every run."""
        step = predict(self.work, self.machine(logs), self.layouts).step_s
        return np.asarray(np.log(step / self.measured))

    def solve(self, rows: NDArray[np.bool_], steps: int = 60) -> tuple[Array, Array]:
        """Parameters fitted on some rows, and the sigma of their logarithms."""
        free = self.used

        def full(part: Array) -> Array:
            return _filled(self.prior, free, part)

        def residuals(part: Array) -> Array:
            raw = self.errors(full(part))[rows] * self.weights[rows]
            soft = np.sign(raw) * np.sqrt(2 * SCALE**2 * (np.sqrt(1 + (raw / SCALE) ** 2) - 1))
            return np.concatenate([soft, PRIOR * (part - self.prior[free]) / self.spread[free]])

        low, high = self.bounds[free, 0], self.bounds[free, 1]
        first = np.clip(self.prior[free], low + 1e-6, high - 1e-6)
        found = least_squares(residuals, first, bounds=(low, high), max_nfev=steps)
        # a residual of the size of SCALE is taken as one sigma
        curvature = found.jac.T @ found.jac / SCALE**2
        sigma = np.sqrt(np.diag(np.linalg.inv(curvature)))
        return full(found.x), _filled(np.zeros(len(free)), free, sigma)


def _filled(base: Array, mask: NDArray[np.bool_], part: Array) -> Array:
    whole = base.copy()
    whole[mask] = part
    return whole


def write(fit: Fit, logs: Array, sigma: Array) -> None:
    """Put values and 80 % intervals into the files of the catalogue."""
    rows = len(fit.runs)
    for place, free in enumerate(fit.free):
        if not fit.used[place]:
            continue
        value = float(np.exp(logs[place]))
        factor = float(np.exp(1.28 * max(sigma[place], 0.02)))
        told_of = sigma[place] < UNTOLD * fit.alone[place]
        share = free.name.endswith("share") or free.name.startswith("kernel_shares")
        high = min(value * factor, 1.0) if share else value * factor
        readers = int((fit.reads[free.name] == place).sum())
        source = f"calibrated on published runs ({readers} of {rows} read it); tools/calibrate_training.py"
        if not told_of:
            source = "a prior that published runs do not move; tools/training_priors.yaml"
        origin = f'status: {"derived" if told_of else "estimated"}, source: "{source}"'
        for entry in free.entries:
            kind, name = entry.split(":")
            _put(CATALOG / f"{kind}s" / f"{name}.yaml", free.name, (value, value / factor, high), origin)


def _put(path: Path, name: str, numbers: tuple[float, float, float], origin: str) -> None:
    """Replace or add one figure of a file, in people's units."""
    measures = figures.dimension(name.rsplit(".", 1)[-1])
    value, low, high = (_shown(number, measures) for number in numbers)
    figure = f"{{value: {value}, low: {low}, high: {high}, {origin}}}"
    text = path.read_text()
    if name.startswith("levels."):
        start = text.index("bytes_per_s", text.index("name: spine"))
        text = text[:start] + re.sub(
            r"bytes_per_s: \{.*\}", lambda _: f"bytes_per_s: {figure}", text[start:], count=1
        )
    elif name.startswith("kernel_shares."):
        key = name.split(".")[1]
        if "kernel_shares:" not in text:
            text = text.rstrip("\n") + "\n    kernel_shares:\n"
        text = _line(text, key, figure, indent=6)
    else:
        text = _line(text.replace("parameters: {}", "parameters:"), name, figure, indent=4)
    path.write_text(text)


def _line(text: str, key: str, figure: str, indent: int) -> str:
    pattern = re.compile(rf"^ {{{indent}}}{re.escape(key)}: .*$", re.MULTILINE)
    line = f"{' ' * indent}{key}: {figure}"
    if pattern.search(text):
        return pattern.sub(lambda _: line, text, count=1)
    if indent == 4 and "    kernel_shares:" in text:
        return text.replace("    kernel_shares:", f"{line}\n    kernel_shares:", 1)
    return text.rstrip("\n") + f"\n{line}\n"


def _shown(number: float, measures: figures.Dimension) -> str:
    """A number in the largest unit in which it is one or more, three digits."""
    units = sorted(measures.scales.items(), key=lambda item: item[1])
    fitting = [
        (name, scale) for name, scale in units if number >= scale and name.endswith(("B/s", "B", "s", ""))
    ]
    name, scale = fitting[-1] if fitting else units[0]
    return f"{float(f'{number / scale:.3g}'):g} {name}".rstrip()


def check(fit: Fit, what: str) -> None:
    """Errors on what the fit did not see: a quarter of the rows at a time, or all of one publisher.

    The first tells how sweeps are completed, the second what a framework nobody has calibrated would get.
    Each fit starts from the priors.
    """
    if what == "rows":
        fold = np.random.default_rng(0).integers(0, 4, len(fit.runs))
    else:
        names = [validation.publisher(run) for run in fit.runs]
        fold = np.array([sorted(set(names)).index(name) for name in names])
    errors = np.zeros(len(fit.runs))
    for part in np.unique(fold):
        logs, _ = fit.solve(fold != part, steps=15)
        errors[fold == part] = np.expm1(fit.errors(logs)[fold == part])
    told(f"{what} left out", fit, errors)


def told(title: str, fit: Fit, errors: Array) -> None:
    """Print the error by source, for recommended rows and for the others."""
    sources = np.array([run.source for run in fit.runs])
    recommended = np.array([run.recommended for run in fit.runs])
    for wanted in (True, False):
        rows, means = recommended == wanted, []
        print(f"{title}, {'recommended' if wanted else 'others'}")
        for source in dict.fromkeys(sources[rows]):
            these = errors[rows & (sources == source)]
            means.append(np.abs(these).mean())
            print(f"  {100 * means[-1]:6.2f} % ({100 * these.mean():+6.2f}) n={len(these):3d} {source}")
        within = (np.abs(errors[rows]) <= 0.1).mean()
        print(f"  mean of sources {100 * np.mean(means):.2f} %, within 10 %: {100 * within:.1f} % of rows")


def main() -> None:
    """Fit, print, and as asked check and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", choices=("rows", "publishers"))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    catalog = Catalog.shipped()
    text = given.data.read_text() if given.data else published.shipped()
    runs, _ = published.read(text, str(given.data or "shipped runs"), catalog)
    fit = Fit([run for run in runs if run.measured_s and run.tier != "C"], catalog)
    logs, sigma = fit.solve(np.ones(len(fit.runs), dtype=bool))
    told("fitted", fit, np.expm1(fit.errors(logs)))
    for place, free in enumerate(fit.free):
        if fit.used[place]:
            value, factor = np.exp(logs[place]), np.exp(sigma[place])
            print(f"{free.name:24} {value:10.4g} (x/ {factor:.2f})  {', '.join(free.entries)}")
    if given.check:
        check(fit, given.check)
    if given.write:
        write(fit, logs, sigma)


if __name__ == "__main__":
    main()
