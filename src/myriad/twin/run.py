"""One simulation: a scenario's site under the brain, with its work, its faults and its seed, to the end.

The core is the one that runs a real site, unchanged; it is told what a body would tell. What the ledger and
the statistics say at the end is an `Outcome`.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from myriad.control.core import Core
from myriad.kernel.rng import Stream
from myriad.kernel.units import MINUTE, Instant, Span
from myriad.ledger.ledger import Ledger
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.twin.drive import Driver, Follower
from myriad.twin.faults.inject import Injector
from myriad.twin.scenario import Scenario
from myriad.twin.statistics import Statistics
from myriad.twin.workload.work import Refill, Source, Work
from myriad.twin.world import World

#: How often a closed loop looks whether it should submit more.
_REFILL: Span = 5 * MINUTE
#: Parts in which a run reports its progress, and points of its time series.
PARTS = 480

Progress = Callable[[Instant, Instant], None]


class Simulation:
    """A scenario that is being simulated. `world`, `core` and `ledger` may be looked at between two parts."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        *,
        source: Source | None = None,
        check: bool = False,
        followers: Sequence[Follower] = (),
    ) -> None:
        """`source`: what arrives instead of the scenario's workload; `check`: invariants after each step."""
        self.scenario, self.seed = scenario, seed
        setup = scenario.setup
        self.core = Core(setup.policy, check=check, own=setup.own)
        self.world = World(setup.site, seed, scenario.physics)
        self.ledger, self.statistics = Ledger(), Statistics(self.core.state)
        chance = Stream(seed, "simulation")
        self.faults: Injector | None = None
        own: list[Follower] = [self._book, self.statistics.follow, self._clear]
        if scenario.faults is not None:
            self.faults = Injector(self.world, scenario.faults, scenario.repair, chance.split("faults"))
            own.append(self.faults.follow)
        self.driver = Driver(self.core, self.world, [*own, *followers], keep=False)
        self._source = source or scenario.workload
        self._chance = chance.split("workload")
        self._refill: Refill | None = None

    # ---- followers -------------------------------------------------------------------------------

    def _book(self, happened: Sequence[Fact]) -> None:
        for fact in happened:
            self.ledger.fold(fact)

    def _clear(self, happened: Sequence[Fact]) -> None:
        """The world need not remember what is over for the core."""
        for fact in happened:
            if isinstance(fact, facts.GangStopped):
                self.world.release(fact.attempt)
            elif isinstance(fact, facts.JobEnded):
                self.world.forget(fact.job)

    # ---- the run ---------------------------------------------------------------------------------

    def open(self, span_ns: Span) -> None:
        """The site opens, its tenants and services are there, work and faults begin."""
        setup, world = self.scenario.setup, self.world
        arrivals = self._arrivals(span_ns)
        self.driver.give(inputs.OpenSite(at=world.now, site=setup.site, prices=setup.prices))
        world.census()
        if self._source is not None:
            for tenant in self._source.tenants(setup.site):
                self.driver.give(inputs.ApplyTenant(at=world.now, tenant=tenant))
        if self.faults is not None:
            self.faults.begin()
        if arrivals is not None:
            self._expect(arrivals)
        if self._refill is not None:
            self._top_up(self._refill)

    def _arrivals(self, span_ns: Span) -> Iterator[Work] | None:
        if self._source is None:
            return None
        site, now = self.scenario.setup.site, self.world.now
        self._refill = self._source.backlog(site, self._chance.split("backlog"))
        return self._source.arrivals(site, self._chance.split("arrivals"), span_ns, now)

    def _expect(self, arrivals: Iterator[Work]) -> None:
        """The next job arrives when its time comes."""
        work = next(arrivals, None)
        if work is None:
            return

        def arrive() -> None:
            self._submit(work)
            self._expect(arrivals)

        self.world.at(work.at, arrive)

    def _submit(self, work: Work) -> None:
        self.world.expect(work)
        self.world.say(
            inputs.SubmitJob(at=self.world.now, job=work.job, spec=work.spec, profile=work.profile)
        )

    def _top_up(self, refill: Refill) -> None:
        """A closed loop: whoever submits does so when there is room."""

        def look() -> None:
            for work in refill.refill(self.world.now, len(self.core.state.waiting)):
                self._submit(work)
            self.world.at(self.world.now + _REFILL, look)

        look()

    def run(self, span_ns: Span, on_progress: Progress | None = None) -> None:
        """From the opening to the end of the span."""
        begin, end = self.world.now, self.world.now + span_ns
        self.open(span_ns)
        for part in range(1, PARTS + 1):
            self.driver.pass_until(begin + span_ns * part // PARTS)
            if on_progress is not None:
                on_progress(self.world.now - begin, span_ns)
        self.ledger.advance(end)


@contextmanager
def without_collector() -> Iterator[None]:
    """The run makes no cycles worth collecting: reference counts free what is over."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def timed(simulation: Simulation, span_ns: Span, on_progress: Progress | None = None) -> float:
    """Run it; returns the wall-clock seconds that it took."""
    began = time.perf_counter()
    with without_collector():
        simulation.run(span_ns, on_progress)
    return time.perf_counter() - began
