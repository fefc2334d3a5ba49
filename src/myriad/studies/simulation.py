"""A question put to the twin: a scenario with some of its settings changed, played once from a seed.

`Case` is a scenario as data, with all its parts in it, so that it can be sent to another process or machine;
`play` asks the twin; `Result` is what came, with the scenario's expectations judged.
"""

import functools
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from myriad.kernel import units
from myriad.kernel.errors import UserError
from myriad.kernel.units import Span
from myriad.studies import expectations, figures, parts, settings
from myriad.studies.expectations import Expectation, Judged
from myriad.studies.settings import Setting, Variation, Varied
from myriad.studies.sweeps import Asked, Ran

#: Hears how far the simulation is: nanoseconds since its start.
Progress = Callable[[Span], None]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario as data. Plain values only."""

    #: Where it was read, for errors.
    source: str
    #: What paths in it are relative to.
    folder: str
    #: The scenario file with its parts in place of their names.
    tree: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the scenario."""
        return str(self.tree.get("name") or Path(self.source).stem)

    @property
    def hash(self) -> str:
        """The same for the same scenario, whatever file or comments it came from."""
        text = msgspec.json.encode(self.tree, order="deterministic")
        return hashlib.blake2b(text, digest_size=6).hexdigest()

    def set(self, changes: Sequence[Setting]) -> "Case":
        """The case with settings changed. Raises UserError where a path leads nowhere."""
        tree = settings.applied(self.tree, changes, self.source)
        return Case(source=self.source, folder=self.folder, tree=tree)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of playing a case once."""

    name: str
    seed: int
    days: float
    scenario_hash: str
    #: Of all facts: the same case and seed give the same, on every machine.
    digest: str
    #: Everything the twin says of the simulation.
    outcome: dict[str, Any]
    #: Every number of it, by the name that expectations and sweeps use.
    figures: dict[str, float]
    expectations: list[Judged]
    #: Seconds this machine took, and simulated days it did in a second.
    wall_s: float
    days_per_s: float

    @property
    def broken(self) -> list[str]:
        """Figures that are not as the scenario expects."""
        return [one.figure for one in self.expectations if not one.held]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A case and a seed on their way to a worker."""

    case: Case
    seed: int


def read(path: Path) -> Case:
    """The scenario in a file, with its parts. Raises UserError naming file and field."""
    return Case(source=str(path), folder=str(path.parent), tree=parts.composed(path))


def for_days(case: Case, days: float | None) -> Case:
    """The case for another span. Raises UserError."""
    if days is None:
        return case
    if not 0 < days <= 36_500:
        raise UserError("must be more than 0 and at most 36500", field="--days", value=days)
    span_ns = round(days * units.DAY)
    span = f"{span_ns // units.DAY}d" if span_ns % units.DAY == 0 else f"{span_ns}ns"
    return case.set([settings.Setting(("span",), span, f"span={span}")])


def run(case: Case, seed: int, on_progress: Progress | None = None, sink: Any = None) -> Result:
    """Play a case once. `sink` hears the facts."""
    expected = expected_of(case)
    started = time.perf_counter()
    outcome = play(case, seed, on_progress, sink)
    wall_s = time.perf_counter() - started
    found = figures.of(outcome)
    days = outcome["span_ns"] / units.DAY
    return Result(
        name=case.name,
        seed=seed,
        days=days,
        scenario_hash=case.hash,
        digest=outcome["digest"],
        outcome=outcome,
        figures=found,
        expectations=expectations.judge(expected, found),
        wall_s=round(wall_s, 3),
        days_per_s=round(days / wall_s, 3) if wall_s else 0.0,
    )


def expected_of(case: Case) -> list[Expectation]:
    """What the scenario expects. Raises UserError naming the figure."""
    section = case.tree.get("expect") or {}
    if not isinstance(section, dict):
        raise UserError("must be a mapping of figures", field=f"{case.source}: expect", value=section)
    return expectations.parse(section, case.source)


def run_task(task: bytes) -> bytes:
    """A Task in, a `sweeps.Ran` out: what workers do."""
    given = msgspec.json.decode(task, type=Task)
    result = run(given.case, given.seed)
    return msgspec.json.encode(Ran(digest=result.digest, figures=result.figures, broken=result.broken))


def tree(result: Result) -> dict[str, Any]:
    """A result as plain values, without its time series."""
    found: dict[str, Any] = msgspec.to_builtins(result)
    found["outcome"] = {key: value for key, value in result.outcome.items() if key != "series"}
    return found


def sweep_of(case: Case, varied: Sequence[Varied], seeds: Sequence[int]) -> Asked:
    """A sweep over a case, every variation checked. Raises UserError before anything is simulated."""
    cases: list[tuple[Variation, Callable[[int], bytes]]] = []
    span_ns = 0
    for variation in settings.grid(varied):
        changed = case.set(variation)
        span_ns = check(changed)
        cases.append((variation, functools.partial(_task, changed)))
    return Asked(
        name=case.name,
        scenario_hash=case.hash,
        days=span_ns / units.DAY,
        cases=cases,
        seeds=list(seeds),
    )


def _task(case: Case, seed: int) -> bytes:
    return msgspec.json.encode(Task(case=case, seed=seed))


# ---- the twin ------------------------------------------------------------------------------------


def check(case: Case) -> Span:
    """How long the case is simulated. Raises UserError naming the field if the twin cannot play it."""
    raise NotImplementedError


def play(case: Case, seed: int, on_progress: Progress | None, sink: Any) -> dict[str, Any]:
    """The outcome of a case, as plain values."""
    raise NotImplementedError


def figure_roots() -> list[str]:
    """Names that figures may begin with."""
    raise NotImplementedError


def of_trace(trace: Path, site: Path, kind: str, skip_bad_rows: bool) -> Case:
    """The replay of a trace of jobs on a site."""
    raise NotImplementedError
