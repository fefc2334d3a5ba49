"""A question put to the twin: a scenario with some of its settings changed, played once from a seed.

`Case` is a scenario as data, with all its parts in it, so that it can be sent to another process or machine;
`play` asks the twin; `Result` is what came, with the scenario's expectations judged.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from myriad.control import policyfile
from myriad.kernel import documents, units
from myriad.kernel.errors import UserError
from myriad.kernel.rng import Stream
from myriad.kernel.units import Span
from myriad.ledger.buckets import BUCKETS
from myriad.protocol.facts import Fact
from myriad.studies import expectations, settings
from myriad.studies.expectations import Judged
from myriad.studies.settings import Setting, Variation, Varied
from myriad.studies.sweeps import Asked, Ran
from myriad.twin import run as twin
from myriad.twin import scenario
from myriad.twin.outcome import Outcome, figures
from myriad.twin.scenario import Scenario
from myriad.twin.statistics import size_names
from myriad.twin.workload import listed, traces
from myriad.twin.workload.traces import Trace

#: Hears how far the simulation is: nanoseconds since its start.
Progress = Callable[[Span], None]
#: Hears the facts of a simulation as they become true.
Sink = Callable[[Sequence[Fact]], None]
#: What takes no time in a replay.
_DELAYS: Final = ("boot_s", "qualify_s", "start_s", "load_s", "stop_s", "save_s", "copy_s")


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario as data. Plain values only."""

    #: Where it was read, for errors.
    source: str
    #: What paths in it are relative to.
    folder: str
    #: The scenario file with its parts in place of their names.
    tree: dict[str, Any]

    def policy(self) -> dict[str, Any]:
        """What the scenario itself says of the policy, also where that is by name."""
        given = self.tree.get("policy") or {}
        return policy_tree(given, Path(self.folder)) if isinstance(given, str) else given

    def set(self, changes: Sequence[Setting]) -> "Case":
        """The case with settings changed. Raises UserError where a path leads nowhere."""
        tree = dict(self.tree)
        if any(change.path[0] == "policy" for change in changes):
            tree["policy"] = self.policy()
        tree = settings.applied(tree, changes, self.source)
        if isinstance(named := tree.get("policy"), str):
            own = {} if named == self.tree.get("policy") else self.policy()
            tree["policy"] = scenario.over(own, policy_tree(named, Path(self.folder)))
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
    outcome: Outcome
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
    return Case(source=str(path), folder=str(path.parent), tree=scenario.tree(path))


def for_days(case: Case, days: float | None) -> Case:
    """The case for another span. Raises UserError."""
    if days is None:
        return case
    if not 0 < days <= 36_500:
        raise UserError("must be more than 0 and at most 36500", field="--days", value=days)
    span_ns = round(days * units.DAY)
    span = f"{span_ns // units.DAY}d" if span_ns % units.DAY == 0 else f"{span_ns}ns"
    return case.set([Setting(("span",), span, f"span={span}")])


def policy_tree(word: str, folder: Path) -> dict[str, Any]:
    """What a policy that comes with Myriad, or a file, says; classes beside the file get its folder."""
    path = folder / word
    named = word in policyfile.names() and not path.exists()
    source = word if named or not path.exists() else str(path)
    policyfile.choose(source)
    text = policyfile.text(word) if named else documents.read(Path(source))
    tree: dict[str, Any] = dict(next(documents.documents(text, source)))
    for section in tree.values():
        own = section.get("policy")
        if isinstance(own, str) and ".py:" in own:
            section["policy"] = str(path.parent.absolute() / own)
    return tree


def check(case: Case) -> Scenario:
    """The scenario that the twin plays. Raises UserError naming the field if it cannot."""
    found = scenario.of_tree(case.tree, case.source, Path(case.folder))
    expected = expectations.parse(found.expect, case.source)
    expectations.check_names(expected, figure_roots(found), case.source)
    _try_arrivals(found)
    return found


def run(case: Case, seed: int, on_progress: Progress | None = None, sink: Sink | None = None) -> Result:
    """Play a case once. `sink` hears the facts."""
    asked = check(case)
    expected = expectations.parse(asked.expect, case.source)
    started = time.perf_counter()
    outcome = play(asked, seed, on_progress, sink)
    wall_s = time.perf_counter() - started
    found = figures(outcome)
    days = asked.span_ns / units.DAY
    return Result(
        name=asked.name,
        seed=seed,
        days=days,
        scenario_hash=asked.digest,
        digest=outcome.digest,
        outcome=outcome,
        figures=found,
        expectations=expectations.judge(expected, found),
        wall_s=round(wall_s, 3),
        days_per_s=round(days / wall_s, 3) if wall_s else 0.0,
    )


def run_task(task: bytes) -> bytes:
    """A Task in, a `sweeps.Ran` out: what workers do."""
    given = msgspec.msgpack.decode(task, type=Task)
    result = run(given.case, given.seed)
    return msgspec.json.encode(Ran(digest=result.digest, figures=result.figures, broken=result.broken))


def tree(result: Result) -> dict[str, Any]:
    """A result as plain values, without its time series."""
    found: dict[str, Any] = msgspec.to_builtins(result)
    del found["outcome"]["series"], found["outcome"]["wall_s"]
    found["outcome"]["services"] = {name: one._asdict() for name, one in result.outcome.services.items()}
    return found


def sweep_of(case: Case, varied: Sequence[Varied], seeds: Sequence[int]) -> Asked:
    """A sweep over a case, every variation checked. Raises UserError before anything is simulated."""
    whole = check(case)
    cases: list[tuple[Variation, Callable[[int], bytes]]] = []
    for variation in settings.grid(varied):
        changed = case.set(variation)
        check(changed)
        cases.append((variation, functools.partial(_task, changed)))
    return Asked(
        name=whole.name,
        scenario_hash=whole.digest,
        days=whole.span_ns / units.DAY,
        cases=cases,
        seeds=list(seeds),
    )


def _task(case: Case, seed: int) -> bytes:
    # not JSON: keys of a tree may be numbers
    return msgspec.msgpack.encode(Task(case=case, seed=seed))


# ---- the twin ------------------------------------------------------------------------------------


def play(asked: Scenario, seed: int, on_progress: Progress | None, sink: Sink | None) -> Outcome:
    """What came of a scenario."""

    def heard(elapsed: Span, _span: Span) -> None:
        if on_progress is not None:
            on_progress(elapsed)

    return twin.simulate(asked, seed, followers=[sink] if sink else [], on_progress=heard)


def figure_roots(asked: Scenario) -> list[str]:
    """What the names of its figures may begin with."""
    return [
        *Outcome.__struct_fields__,
        "energy_mwh",
        "days",
        *BUCKETS,
        "all",
        *size_names(),
        *asked.services.loads,
    ]


def _try_arrivals(asked: Scenario) -> None:
    """Raises UserError if something that would arrive cannot fit the site."""
    site, chance = asked.setup.site, Stream(asked.seed, "check")
    if asked.workload is not None:
        asked.workload.arrivals(site, chance.split("arrivals"), asked.span_ns)
        asked.workload.backlog(site, chance.split("backlog"))
    listed.works(asked.jobs, site, 0)


# ---- replays -------------------------------------------------------------------------------------


def of_trace(trace: Path, site: Path, kind: str, skip_bad_rows: bool) -> Case:
    """The replay of a trace of jobs on a site, until a day after the last would end had none waited.

    Nothing fails and nothing takes time but the jobs: what a trace tells of run times has it all in it.
    Raises UserError naming the line of a malformed row.
    """
    rows = traces.read(trace, kind, skip_bad_rows=skip_bad_rows).rows
    span_s = max(row.submit_s + row.run_s for row in rows) - rows[0].submit_s
    given = {
        "name": trace.stem,
        "span": f"{math.ceil(span_s) + units.DAY // units.SECOND}s",
        "site": str(site.absolute()),
        "workload": {"trace": str(trace.absolute()), "kind": kind, "skip_bad_rows": skip_bad_rows},
        "physics": {"whole_gangs": True, "report_s": 3600.0, "jitter": 0.0, **dict.fromkeys(_DELAYS, 0.0)},
    }
    return Case(source=str(trace), folder=".", tree=scenario.composed(given, Path(), str(trace)))


def left_out(asked: Scenario) -> dict[str, int]:
    """Of a replay: its jobs, and rows that are not in it, by reason; empty for other workloads."""
    source = asked.workload
    return traces.counts(source) if isinstance(source, Trace) else {}


def bad_rows(asked: Scenario) -> list[UserError]:
    """Of a replay: the first of the rows that could not be read."""
    source = asked.workload
    return list(source.bad_rows) if isinstance(source, Trace) else []
