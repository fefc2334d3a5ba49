"""Published figures from whole simulations: the brain as it is, in the twin (`myriad.twin.run`).

`Twin` is what `reliability.judge` asks. Which scenario a figure is of: `reliability_scenarios`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from myriad.kernel.units import DAY, Instant, seconds
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.studies import reliability_lemons, reliability_scenarios
from myriad.studies.reliability import Figure, Parts
from myriad.studies.reliability_models import chi_square_p, per_day
from myriad.twin import run
from myriad.twin.drive import Follower
from myriad.twin.faults.causes import mix_of
from myriad.twin.outcome import Outcome
from myriad.twin.scenario import Scenario
from myriad.twin.statistics import size_class, size_names

#: Shipped scenarios that stand for a part of faults.
_FILES: Final[Mapping[str, str]] = {"llama3": "llama3-16k", "byterobust": "byterobust-9600"}
#: Of a job with restarts in place it fails so often a day: enough to see many, too seldom to back off.
_RESTARTS_A_DAY: Final = 24.0
#: Sizes above this are left to the other ways in a quick run: a restart of 2,000 nodes takes some 50 ms.
_QUICK_CHIPS: Final = 4096
#: Interruptions that a run is to have, as far as its days are not published, and the same in a quick one. The
#: error of a mean time is one over the root of them: some 3 %, and 4 % for giants.
_WANTED, _QUICK_WANTED, _WANTED_OF_GIANTS = 1000, 150, 600
_GIANT: Final = 65_536
_MOST_DAYS: Final = 120

#: Told of each run as it goes on: what is run, how much of it is done.
Watcher = Callable[[str, float], None]


class Twin:
    """What the twin says of a figure; None where it does not run that one. Figures share runs."""

    def __init__(
        self, parts: Parts, seed: int = 1, quick: bool = False, watch: Watcher | None = None
    ) -> None:
        self._parts, self._seed, self._quick, self._watch = parts, seed, quick, watch
        #: Every run so far, by what it is of.
        self.outcomes: dict[str, Outcome] = {}

    def __call__(self, figure: Figure) -> float | None:
        """The figure as the twin shows it."""
        if self._quick and figure.chips > _QUICK_CHIPS and figure.kind != "restart":
            return None
        ways: Mapping[str, Callable[[Figure], float | None]] = {
            "mttf": self._mttf,
            "count": self._count,
            "causes": self._causes,
            "ettr": self._ettr,
            "incidents": self._incidents,
            "restart": self._restart,
            "lemons": self._lemons,
        }
        return ways[figure.kind](figure)

    # ---- one kind each ---------------------------------------------------------------------------

    def _mttf(self, figure: Figure) -> float:
        """Hours that jobs of this size ran over how often they were interrupted."""
        trials = figure.chips <= 4096
        # small jobs share a site of 16,384 chips, half of it for each size
        counts = {8: 1024, 1024: 8} if trials else {figure.chips: 1}
        faults = reliability_scenarios.of_part(figure, self._parts, trials=trials)
        name = "rsc-mttf" if trials else figure.id
        days = 10.0 if trials and self._quick else 30.0 if trials else self._days(figure, figure.published)
        outcome = self._run(name, lambda: reliability_scenarios.of_jobs(name, counts, faults, days))
        return outcome.mtti_s[size_names()[size_class(figure.chips)]] / 3600

    def _count(self, figure: Figure) -> float:
        """Faults that stopped the job, of a shipped scenario."""
        return float(sum(self._shipped(figure).broke.values()))

    def _causes(self, figure: Figure) -> float:
        return chi_square_p(self._shipped(figure).broke, mix_of(self._parts.faults(figure.part).mix))

    def _incidents(self, figure: Figure) -> float:
        (ettr,) = self._shipped(figure).job_ettr.values()
        return ettr

    def _ettr(self, figure: Figure) -> float:
        """Share of useful time of the job, by the ledger."""
        if figure.part:
            hours = 24 / per_day(self._parts.faults(figure.part), figure.chips, 0.0)
        else:
            hours = figure.seconds("mean_between") / 3600
        days = self._days(figure, hours)
        made = self._run(figure.id, lambda: reliability_scenarios.of_job(figure, self._parts, days))
        return made.job_ettr["job"]

    def _restart(self, figure: Figure) -> float:
        """Mean seconds from the end of a gang to the first step of the next."""
        seen = _Restarts()
        scenario = reliability_scenarios.of_restarts(figure, self._parts, _RESTARTS_A_DAY)
        self._run(figure.id, lambda: scenario, [seen.follow])
        return seen.mean_s

    def _lemons(self, figure: Figure) -> float:
        """Share of jobs that hardware stopped, in the second half of a run with lemons kept out, or not."""
        # what is kept out is found in the first half; with all lemons there nothing changes with time
        days = 60 if figure.cured else 30
        span = (days * 3 // 4 if self._quick else days) * DAY
        seen = reliability_lemons.Stopped("large", span // 2)
        scenario = reliability_lemons.scenario(self._parts, figure.cured, span)
        self._run(figure.id, lambda: scenario, [seen.follow])
        return seen.share

    # ---- runs ------------------------------------------------------------------------------------

    def _days(self, figure: Figure, hours_between: float) -> float:
        wanted = _WANTED_OF_GIANTS if figure.chips >= _GIANT else _WANTED
        wanted = _QUICK_WANTED if self._quick else wanted
        return min(wanted * hours_between / 24, _MOST_DAYS)

    def _shipped(self, figure: Figure) -> Outcome:
        name = _FILES[figure.part]
        return self._run(name, lambda: reliability_scenarios.of_file(name, self._parts))

    def _run(self, name: str, make: Callable[[], Scenario], followers: Sequence[Follower] = ()) -> Outcome:
        if name not in self.outcomes:

            def told(now: Instant, span: Instant) -> None:
                if self._watch is not None:
                    self._watch(name, now / span)

            self.outcomes[name] = run.simulate(make(), self._seed, followers=followers, on_progress=told)
        return self.outcomes[name]


class _Restarts:
    """How long gangs take from the end of one to the first step of the next on the same nodes."""

    def __init__(self) -> None:
        self._ended: Instant = -1
        self._took: list[float] = []

    def follow(self, happened: Sequence[Fact]) -> None:
        """Count what these facts say."""
        for fact in happened:
            if isinstance(fact, facts.GangStopped):
                self._ended = fact.at
            elif isinstance(fact, facts.GangRunning) and self._ended >= 0:
                self._took.append(seconds(fact.at - self._ended))
                self._ended = -1

    @property
    def mean_s(self) -> float:
        """Of all that were seen."""
        return sum(self._took) / len(self._took)
