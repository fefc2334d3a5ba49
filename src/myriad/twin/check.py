"""One seed: a small site in trouble with every checker on; then calm, in which all must end well.

Safety: faults, crashes, late words; no law may break. Liveness: faults stop, nodes are given back, and
everything that can finish does within a bound. The same seed gives the same digest of all facts, always.
"""

import traceback
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from myriad.control.core import Core
from myriad.control.state import State
from myriad.kernel.ids import NodeId, ServiceId
from myriad.kernel.rng import Stream
from myriad.kernel.units import MINUTE, SECOND, Span
from myriad.protocol import inputs
from myriad.protocol.inputs import Input
from myriad.twin import canary as canaries
from myriad.twin.canary import Canary
from myriad.twin.checkers.base import BrokenLaw
from myriad.twin.checkers.watched import Watched
from myriad.twin.faults.inject import Injector
from myriad.twin.swarm.deeds import Deed
from myriad.twin.swarm.draw import Swarm, draw
from myriad.twin.world import World

#: While all is calm it is looked so often whether all is finished, and operators give nodes back.
_LOOK: Span = 20 * MINUTE
#: Inputs that the calm may take, beside those of clocks: more is a loop without end, however little virtual
#: time it took.
_INPUTS: Final = 25_000
#: So often something may ring only because time passes.
_TICK: Span = MINUTE


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the check of one seed found."""

    seed: int
    ok: bool
    #: Of all facts, in order.
    digest: str
    facts: int
    #: Inputs that the core took.
    steps: int
    #: Virtual time that passed, in seconds.
    virtual_s: float
    #: What the seed made of the world, in words.
    scenario: str
    #: The law that broke (or the exception), and the story of its subject; empty: all held.
    law: str = ""
    story: str = ""
    #: How often what is rare happened: `checkers.marks.MARKS`.
    marks: dict[str, int] = {}


def check(seed: int, canary: str = "") -> Verdict:
    """Run one seed. `canary`: break the law on purpose, by a name of `canary.CANARIES`; it must be found."""
    swarm = draw(seed)
    trial = Trial(swarm, canaries.named(canary) if canary else None)
    law = story = ""
    try:
        trial.run()
    except BrokenLaw as error:
        law, story = error.law, trial.story(error)
    except Exception as error:  # noqa: BLE001 - whatever our code raises here is a finding
        law, story = type(error).__name__, trial.story(error)
    driver = trial.driver
    return Verdict(
        seed=seed,
        ok=not law,
        digest=driver.digest,
        facts=driver.fact_count,
        steps=driver.input_count,
        virtual_s=trial.world.now / SECOND,
        scenario=swarm.words(),
        law=law,
        story=story,
        marks=dict(sorted(driver.marks.counts.items())),
    )


class Trial:
    """A swarm that is being run."""

    def __init__(self, swarm: Swarm, canary: Canary | None = None) -> None:
        self.swarm, self.canary = swarm, canary
        setup, chance = swarm.setup, Stream(swarm.seed, "trial")
        self.world = World(setup.site, swarm.seed, swarm.physics)
        self.injector = Injector(self.world, swarm.faults, swarm.repair, chance.split("faults"))
        opening = inputs.OpenSite(at=0, site=setup.site, prices=setup.prices)
        self.driver = Watched(
            self._core, self.world, opening, swarm.noise, chance.split("noise"), [self.injector.follow]
        )
        if canary is not None:
            canary.begin(self.driver)

    def _core(self, state: State | None) -> Core:
        setup = self.swarm.setup
        if self.canary is not None:
            return self.canary.core(setup, state)
        return Core(setup.policy, state, own=setup.own)

    def story(self, error: Exception) -> str:
        """For people: the seed and its options first."""
        swarm = self.swarm
        of = "" if self.canary is None else f" with canary {self.canary.name}"
        lines = [f"seed {swarm.seed}{of}: {swarm.words()}", self.driver.story(error)]
        if not isinstance(error, BrokenLaw):
            lines += traceback.format_tb(error.__traceback__)[-4:]
        return "\n".join(lines)

    # ---- safety ----------------------------------------------------------------------------------

    def run(self) -> None:
        """From the opening to the end of the calm. Raises BrokenLaw."""
        driver, swarm = self.driver, self.swarm
        driver.open()
        for tenant in swarm.tenants:
            driver.give(inputs.ApplyTenant(at=self.world.now, tenant=tenant))
        for work in swarm.works:
            self.world.expect(work)
            submit = inputs.SubmitJob(at=work.at, job=work.job, spec=work.spec, profile=work.profile)
            self.world.at(work.at, self._sayer(submit))
        for deed in sorted(swarm.deeds, key=lambda deed: deed.at):
            self.world.at(deed.at, self._doer(deed))
        self.injector.begin()
        driver.pass_until(swarm.span_ns)
        self._calm_down()
        self._end()
        driver.finish()

    def _sayer(self, given: Input) -> Callable[[], None]:
        return lambda: self.world.say(given)

    def _doer(self, deed: Deed) -> Callable[[], None]:
        def do() -> None:
            if deed.given is not None:
                self.world.say(msgspec.structs.replace(deed.given, at=self.world.now))
            if deed.act:
                _ACTS[deed.act](self, deed)

        return do

    def reopen(self) -> None:
        """The site opens again after it was closed: its body is opened, too."""
        site = self.swarm.setup
        if not self.driver.reading.open:
            self.world.say(inputs.OpenSite(at=self.world.now, site=site.site, prices=site.prices))
            self.world.at(self.world.now, self.world.census)

    def spoil(self, job: str) -> None:
        """The newest checkpoint of a job is bad, if it has one."""
        checkpoints = self.world.running.training.checkpoints
        if checkpoints.on_storage(job, -1):
            checkpoints.spoil(job)

    # ---- liveness --------------------------------------------------------------------------------

    def _calm_down(self) -> None:
        """Faults are over; operators give back what is kept out, and what is frozen thaws."""
        self.driver.calm()
        self.injector.end()
        self.reopen()
        for service in self.swarm.services:
            load = inputs.LoadObserved(
                at=self.world.now, service=ServiceId(service.name), in_flight=0, queued=0
            )
            self.world.say(load)
        for given in self.world.hear():
            self.driver.give(given)

    def _give_back(self) -> None:
        for node in self.world.nodes:
            self.world.resume_node(node)
        windows = [f"window {name}" for name in self.driver.reading.windows]
        for node, by in list(self.driver.reading.cordoned.items()):
            if by not in windows:
                self.driver.give(inputs.UndrainNode(at=self.world.now, node=node))

    def _end(self) -> None:
        """Everything that can finish does, within the bound."""
        progress, bound_ns = self.driver.progress, self.driver.progress.bound_ns()
        if self._pass(bound_ns):
            return
        if not self.driver.reading.jobs:
            progress.demand()
        # services hold chips for ever: whoever waits for these can only start without them
        for service in self.swarm.services:
            if service.name in self.driver.reading.wanted:
                self.driver.give(inputs.RemoveService(at=self.world.now, service=ServiceId(service.name)))
        if not self._pass(bound_ns):
            progress.demand()

    def _pass(self, bound_ns: Span) -> bool:
        """Let time pass until everything is finished; False: it is not within the bound."""
        begun, end, progress = self.world.now, self.world.now + bound_ns, self.driver.progress
        most = self.driver.input_count + _INPUTS
        while next(progress.unfinished(), None) is not None:
            ticks = (self.world.now - begun) // _TICK
            if self.world.now >= end or self.driver.input_count > most + ticks:
                return False
            self._give_back()
            look = self.world.now + _LOOK
            self.world.at(look, lambda: None)
            self.driver.pass_until(look)
        return True


_ACTS: Final[Mapping[str, Callable[[Trial, Deed], None]]] = {
    "kill": lambda trial, deed: trial.world.kill_node(NodeId(deed.subject)),
    "pause": lambda trial, deed: trial.world.pause_node(NodeId(deed.subject)),
    "unpause": lambda trial, deed: trial.world.resume_node(NodeId(deed.subject)),
    "flap": lambda trial, deed: trial.world.nodes.flap(NodeId(deed.subject), deed.factor),
    "slow": lambda trial, deed: trial.world.slow_node(NodeId(deed.subject), deed.factor),
    "unslow": lambda trial, deed: trial.world.slow_node(NodeId(deed.subject), 1.0),
    "spoil": lambda trial, deed: trial.spoil(deed.subject),
    "open": lambda trial, _: trial.reopen(),
}
