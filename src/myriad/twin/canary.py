"""Broken laws on purpose: each canary breaks one, so that a test can show that its checker sees it.

Some lie about what the core decided, as a core with a mistake would; others take something away from the
world or from the books. None touches a checker.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from myriad.control.core import Core, Step
from myriad.control.records import GangPhase
from myriad.control.sitefile import Setup
from myriad.control.state import State
from myriad.kernel.errors import UserError, near
from myriad.kernel.units import MINUTE, SECOND, Instant
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.protocol.inputs import Input
from myriad.twin.checkers.capacity import Capacity
from myriad.twin.checkers.double import NoDouble
from myriad.twin.checkers.folding import Folding
from myriad.twin.checkers.ledger_law import LedgerLaw
from myriad.twin.checkers.patience import Patience
from myriad.twin.checkers.progress import Progress
from myriad.twin.checkers.quota import Quotas
from myriad.twin.checkers.reasons import Reasons
from myriad.twin.checkers.watched import Watched
from myriad.twin.checkers.whole import WholeGangs
from myriad.workload.tenants import Quota

#: From then on the law is broken, where it can be; and tried again so often.
_FROM: Final[Instant] = 10 * MINUTE
_EVERY: Final = 30 * SECOND


class Canary:
    """One way to break a law, and which."""

    def __init__(self, name: str, law: str) -> None:
        self.name, self.law = name, law

    def core(self, setup: Setup, state: State | None) -> Core:
        """The control plane: as it is, or one that lies."""
        return Core(setup.policy, state, own=setup.own)

    def begin(self, driver: Watched) -> None:
        """Before anything happens: what will be done to the world."""


class _Liar(Core):
    """Its facts are not what it decided."""

    lie: Callable[[Core, Fact], Fact]

    def step(self, given: Input) -> Step:
        step = super().step(given)
        return step._replace(facts=tuple(self.lie(self, fact) for fact in step.facts))


class Lies(Canary):
    """A core that says something else than it did."""

    def __init__(self, name: str, law: str, lie: Callable[[Core, Any], Fact | None], of: type[Fact]) -> None:
        super().__init__(name, law)
        self._lie, self._of = lie, of

    def core(self, setup: Setup, state: State | None) -> Core:
        """One that lies about facts of one kind, wherever it can."""
        core = _Liar(setup.policy, state, own=setup.own)
        core.lie = self._told
        return core

    def _told(self, core: Core, fact: Fact) -> Fact:
        told = self._lie(core, fact) if type(fact) is self._of else None
        return told or fact


class Harms(Canary):
    """Something is taken away from the world, the books or the core's memory, as soon as it can be."""

    def __init__(self, name: str, law: str, harm: Callable[[Watched], bool], again: bool = False) -> None:
        super().__init__(name, law)
        self._harm, self._again = harm, again

    def begin(self, driver: Watched) -> None:
        """Try, and try again."""

        def attempt() -> None:
            if not self._harm(driver) or self._again:
                driver.world.at(driver.world.now + _EVERY, attempt)

        driver.world.at(_FROM, attempt)


# ---- lies ------------------------------------------------------------------------------------------


def _placed_twice(core: Core, fact: facts.GangPlaced) -> Fact | None:
    """The gang goes where another one is."""
    for gang in core.state.gangs.values():
        if gang.attempt != fact.attempt and len(gang.members) == len(fact.members):
            return msgspec.structs.replace(fact, members=gang.members)
    return None


def _half_placed(core: Core, fact: facts.GangPlaced) -> Fact | None:
    """A member is left out of a gang that cannot do with fewer."""
    fixed = bool(fact.job) and core.state.jobs[fact.job].spec.min_nodes == len(fact.members) > 1
    return msgspec.structs.replace(fact, members=fact.members[:-1]) if fixed else None


def _without_quota(core: Core, fact: facts.TenantSet) -> Fact | None:
    """The core believes in larger quotas than were set."""
    del core
    return msgspec.structs.replace(fact, tenant=msgspec.structs.replace(fact.tenant, quota=Quota(chips=0)))


# ---- harms -----------------------------------------------------------------------------------------


def _lose_chip(driver: Watched) -> bool:
    """The core forgets that a chip is free."""
    columns = driver.core.state.columns
    for row, free in enumerate(columns.free.tolist()):
        if free:
            columns.hold([row], [free & -free])
            return True
    return False


def _start_again(driver: Watched) -> bool:
    """The world forgets that it has started a gang, and hears the order again."""
    for attempt, run in list(driver.world.running.runs.items()):
        if run.started and not run.broken:
            del driver.world.running.runs[attempt]
            driver.world.obey(run.order)
            return True
    return False


def _leave_behind(driver: Watched) -> bool:
    """Nodes say that they stopped a gang and go on running it."""
    driver.world.nodes.clear = lambda node, attempt: None  # type: ignore[method-assign]  # noqa: ARG005
    return True


def _lose_time(driver: Watched) -> bool:
    """A chip drops out of the books."""
    for page in driver.ledger.pages:
        for slot, chips in enumerate(page.chips):
            if chips:
                page.chips[slot] -= 1
                return True
    return False


def _forget_job(driver: Watched) -> bool:
    """A job drops out of the queue."""
    state = driver.core.state
    for job in list(state.waiting):
        if state.jobs[job].held_until <= state.now and driver.core.board.queue.get(job):
            driver.core.board.queue.drop(job)
            return True
    return False


def _remember_wrong(driver: Watched) -> bool:
    """The live state has something that no fact said."""
    driver.core.state.losses += 1
    return True


def _hurry(driver: Watched) -> bool:
    """A gang is given up as soon as somebody leads again."""
    for attempt, gang in driver.core.state.gangs.items():
        if gang.phase is GangPhase.STOPPING:
            driver.led_since = gang.until = driver.world.now
            driver.give(inputs.Woke(at=driver.world.now, about=f"gang:{attempt}"))
            return True
    return False


def _hang(driver: Watched) -> bool:
    """Gangs do nothing for ever, and nobody is told."""
    for run in driver.world.running.runs.values():
        run.broken = run.broken or run.progress is not None
    return True


def _by_hash(driver: Watched) -> bool:
    """A word depends on the hash of a string, which is another in every process."""
    world = driver.world
    reason = f"number {hash('canary') % 1000}"
    world.say(inputs.DrainNode(at=world.now, node=next(iter(world.nodes)), by="canary", reason=reason))
    return True


CANARIES: Final[Mapping[str, Callable[[str], Canary]]] = {
    "double-placement": lambda name: Lies(name, NoDouble.law, _placed_twice, facts.GangPlaced),
    "started-twice": lambda name: Harms(name, NoDouble.law, _start_again),
    "half-a-gang": lambda name: Lies(name, WholeGangs.law, _half_placed, facts.GangPlaced),
    "left-behind": lambda name: Harms(name, WholeGangs.law, _leave_behind),
    "no-quota": lambda name: Lies(name, Quotas.law, _without_quota, facts.TenantSet),
    "lost-chip": lambda name: Harms(name, Capacity.law, _lose_chip),
    "lost-time": lambda name: Harms(name, LedgerLaw.law, _lose_time),
    "unwritten": lambda name: Harms(name, Folding.law, _remember_wrong),
    "in-a-hurry": lambda name: Harms(name, Patience.law, _hurry),
    "forgotten-job": lambda name: Harms(name, Reasons.law, _forget_job, again=True),
    "hanging": lambda name: Harms(name, Progress.law, _hang, again=True),
    "by-hash": lambda name: Harms(name, "", _by_hash),
}


def named(name: str) -> Canary:
    """A new one. Raises UserError naming those there are."""
    if name not in CANARIES:
        raise UserError("is no canary", field="canary", value=name, remedy=near(name, CANARIES))
    return CANARIES[name](name)
