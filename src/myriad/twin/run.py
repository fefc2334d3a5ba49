"""One simulation: a scenario's site under the brain, with its work, its faults and its seed, to the end.

The core is the one that runs a real site, unchanged; it is told what a body would tell. What the ledger and
the statistics say at the end is an `Outcome`.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from myriad.control.core import Core
from myriad.kernel.ids import ServiceId, TenantId
from myriad.kernel.rng import Stream
from myriad.kernel.units import HOUR, MINUTE, Instant, Span
from myriad.ledger import views
from myriad.ledger.ledger import Ledger
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.twin import outcome
from myriad.twin.almanac import Almanac
from myriad.twin.drive import Driver, Follower
from myriad.twin.energy import Energy
from myriad.twin.faults.inject import Injector
from myriad.twin.outcome import Outcome, Samples
from myriad.twin.scenario import Scenario
from myriad.twin.serving import Serving
from myriad.twin.statistics import Statistics
from myriad.twin.workload import listed
from myriad.twin.workload.work import Refill, Source, Work
from myriad.twin.world import World
from myriad.workload.tenants import Tenant

#: How often a closed loop looks whether it should submit more.
_REFILL: Span = 5 * MINUTE
#: Jobs that ended and stay in the books one by one; older ones are their tenants' past.
_KEPT = 1000
#: How often power is read and the time series goes on; oftener in short runs.
_LOOK: Span = HOUR
#: By then the nodes of a site that is in service when the scenario begins are ready.
_FIRST_LOOK: Span = MINUTE
#: Parts in which a run reports its progress.
PARTS = 480

#: What a gateway hears of replicas.
_REPLICAS = (facts.GangRunning, facts.GangStopping, facts.GangStopped, facts.ReplicaStalled)

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
        self.ledger, self.statistics = Ledger(keep_ended=_KEPT), Statistics(self.core.state)
        chance = Stream(seed, "simulation")
        self.faults: Injector | None = None
        own: list[Follower] = [self._book, self.statistics.follow, self.world.clear]
        if scenario.faults is not None:
            self.faults = Injector(self.world, scenario.faults, scenario.repair, chance.split("faults"))
            own.append(self.faults.follow)
        almanac = Almanac(scenario.start)
        self.serving: Serving | None = None
        if scenario.services.loads:
            stream = chance.split("services")
            self.serving = Serving(
                scenario.services, self.world, self.core.state, stream, almanac, scenario.folder
            )
            own.append(self._count_replicas)
        self.energy: Energy | None = None
        if scenario.power is not None:
            self.energy = Energy(scenario.power, scenario.costs, self.world, almanac)
        self.samples = Samples()
        self.driver = Driver(self.core, self.world, [*own, *followers], keep=False)
        self._source = source or scenario.workload
        self._chance = chance.split("workload")
        self._refill: Refill | None = None

    # ---- followers -------------------------------------------------------------------------------

    def _book(self, happened: Sequence[Fact]) -> None:
        for fact in happened:
            self.ledger.fold(fact)

    def _count_replicas(self, happened: Sequence[Fact]) -> None:
        """A gateway hears of replicas that come and go."""
        for fact in happened:
            if isinstance(fact, _REPLICAS) and (name := fact.attempt.rpartition(".")[0]) and self.serving:
                self.serving.changed(ServiceId(name))

    # ---- the run ---------------------------------------------------------------------------------

    def open(self, span_ns: Span) -> None:
        """The site opens, its tenants and services are there, work and faults begin."""
        setup, world = self.scenario.setup, self.world
        arrivals = self._arrivals(span_ns)
        world.light_up()
        self.driver.give(inputs.OpenSite(at=world.now, site=setup.site, prices=setup.prices))
        world.census()
        for tenant in self._tenants():
            self.driver.give(inputs.ApplyTenant(at=world.now, tenant=tenant))
        if self.serving is not None:
            for given in self.serving.begin():
                self.driver.give(given)
        if self.faults is not None:
            self.faults.begin()
        for works in arrivals:
            self._expect(works)
        if self._refill is not None:
            self._top_up(self._refill)
        self.driver.listen()

    def _tenants(self) -> Iterator[Tenant]:
        """Whom work and services belong to, each once."""
        site = self.scenario.setup.site
        found = [*self._source.tenants(site)] if self._source else []
        found += listed.tenants(self.scenario.jobs, site)
        found += self.serving.tenants() if self.serving else ()
        known: dict[TenantId, None] = {}
        for tenant in found:
            if tenant.name not in known:
                known[tenant.name] = None
                yield tenant

    def _arrivals(self, span_ns: Span) -> list[Iterator[Work]]:
        """Checked before anything happens: those named one by one, and those of the source."""
        site, now = self.scenario.setup.site, self.world.now
        found = [iter(listed.works(self.scenario.jobs, site, now))]
        if self._source is not None:
            self._refill = self._source.backlog(site, self._chance.split("backlog"))
            found.append(self._source.arrivals(site, self._chance.split("arrivals"), span_ns, now))
        return found

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

    def _look(self, every: Span) -> None:
        """Read the meter and the counts, soon after the opening and again after so long."""

        def look() -> None:
            again = self.world.now + every
            if self.energy is not None:
                self.energy.read(self.ledger, self.serving)
                again = self.energy.next_look(self.world.now, every)
            self.samples.add(self.world.now, self, views.site(self.ledger).chips_now)
            self.world.at(again, look)

        self.world.at(self.world.now + min(every, _FIRST_LOOK), look)

    def run(self, span_ns: Span, on_progress: Progress | None = None) -> None:
        """From the opening to the end of the span."""
        begin, end = self.world.now, self.world.now + span_ns
        self.open(span_ns)
        self._look(max(1, min(_LOOK, span_ns // 240)))
        for part in range(1, PARTS + 1):
            self.driver.pass_until(begin + span_ns * part // PARTS)
            if on_progress is not None:
                on_progress(self.world.now - begin, span_ns)
        self.ledger.advance(end)
        if self.energy is not None:
            self.energy.meter.advance(end)


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


def simulate(
    scenario: Scenario,
    seed: int | None = None,
    span_ns: Span = 0,
    *,
    source: Source | None = None,
    check: bool = False,
    followers: Sequence[Follower] = (),
    on_progress: Progress | None = None,
) -> Outcome:
    """Run a scenario to its end; seed and span are its own unless they are given.

    Raises UserError before the first event if work cannot fit the site.
    """
    began = time.perf_counter()
    simulation = Simulation(
        scenario,
        scenario.seed if seed is None else seed,
        source=source,
        check=check,
        followers=followers,
    )
    span_ns = span_ns or scenario.span_ns
    with without_collector():
        simulation.run(span_ns, on_progress)
    return outcome.of(simulation, span_ns, time.perf_counter() - began)
