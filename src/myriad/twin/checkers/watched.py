"""Turns the wheel with every checker on; messages come twice and late, and the control plane dies now and then."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from myriad.control.core import Core, Step
from myriad.control.state import State
from myriad.kernel.rng import Stream
from myriad.kernel.units import SECOND, Instant, show_span
from myriad.ledger.ledger import Ledger
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.protocol.inputs import Input
from myriad.twin.checkers.base import BrokenLaw, Checker
from myriad.twin.checkers.capacity import Capacity
from myriad.twin.checkers.double import NoDouble
from myriad.twin.checkers.folding import Folding
from myriad.twin.checkers.ledger_law import LedgerLaw
from myriad.twin.checkers.marks import Marks
from myriad.twin.checkers.progress import Progress
from myriad.twin.checkers.quota import Quotas
from myriad.twin.checkers.reading import Reading
from myriad.twin.checkers.reasons import Reasons
from myriad.twin.checkers.whole import WholeGangs
from myriad.twin.drive import Driver, Follower
from myriad.twin.world import World

#: Every law, in the order in which a breach of several is reported.
CHECKERS: Final[tuple[type[Checker], ...]] = (
    NoDouble,
    WholeGangs,
    Quotas,
    Capacity,
    LedgerLaw,
    Folding,
    Reasons,
)
#: Last facts of a subject that a story tells; and of all.
_TOLD, _LAST = 12, 6


class Noise(NamedTuple):
    """What goes wrong between body and brain, each a chance for one message."""

    repeats: float = 0.0
    late: float = 0.0
    #: Mean, in seconds.
    late_s: float = 5.0
    crashes: float = 0.0
    #: No more crashes than this: each costs a fold of the whole journal.
    crashes_most: int = 3


class Watched(Driver):
    """A driver whose every step is checked. `make` builds a control plane over a folded state (None: a new one)."""

    def __init__(
        self,
        make: Callable[[State | None], Core],
        world: World,
        opening: inputs.OpenSite,
        noise: Noise,
        stream: Stream,
        followers: Sequence[Follower] = (),
    ) -> None:
        self.ledger, self.reading, self.marks = Ledger(), Reading(), Marks()
        super().__init__(make(None), world, [self._book, *followers, self._clear, self.marks.follow])
        self._make, self._opening, self._noise, self._chance = make, opening, noise, stream
        self.checkers = [law(self) for law in CHECKERS]
        self.progress = Progress(self)
        self._folding = next(one for one in self.checkers if isinstance(one, Folding))
        self._crashes = 0
        self._stories: dict[str, deque[Fact]] = {}
        self._last: deque[Fact] = deque(maxlen=_LAST)
        self._given: Input = opening

    # ---- the wheel -------------------------------------------------------------------------------

    def open(self) -> None:
        """The site opens, and its nodes report."""
        self.give(self._opening)
        self.world.census()

    def calm(self) -> None:
        """No message comes late from now on, and nothing crashes."""
        self._noise = Noise()

    def give(self, given: Input) -> Step:
        """Feed one input. The control plane may die before its orders are given, or after."""
        self._given = given
        dies = self._crashes < self._noise.crashes_most and self._chance.happens(self._noise.crashes)
        if not dies:
            return super().give(given)
        if self._chance.happens(0.5):
            step = super().give(given)
            self.marks.hit("crash")
        else:
            step = self.core.step(given)
            self.record(given, step)
            self.marks.hit("crash before orders")
        self.restart()
        return step

    def pass_until(self, until: Instant) -> None:
        """Let everything happen up to an instant; some messages come twice, some late."""
        world = self.world
        while world.pending() and world.next_at() <= until:
            for given in world.advance():
                if self._is_late(given):
                    continue
                self.give(given)

    def _is_late(self, given: Input) -> bool:
        """Whether it comes later instead; or again, later."""
        noise = self._noise
        if not (noise.late or noise.repeats):
            return False
        again, late = self._chance.happens(noise.repeats), self._chance.happens(noise.late)
        if again or late:
            self.marks.hit("late message" if late else "repeated message")
            delay_ns = int(self._chance.exponential(noise.late_s) * SECOND)
            self.world.at(self.world.now + delay_ns, lambda: self.world.say(given))
        return late

    def record(self, given: Input, step: Step) -> None:
        """Keep what became true, and check it."""
        reading, checkers = self.reading, self.checkers
        for fact in step.facts:
            self._remember(fact)
            for checker in checkers:
                checker.hear(fact)
            reading.count(fact)
        super().record(given, step)
        for checker in checkers:
            checker.follow(step, given)

    def restart(self) -> None:
        """The control plane dies; another one folds the journal, opens the site and asks what is so.

        As `server.plane` does: what is outstanding is ordered again, and bodies ignore what they did.
        """
        self._crashes += 1
        self.world.drop_wakes()
        self.core = self._make(self._folding.folded())
        if self.reading.open:
            given = msgspec.structs.replace(self._opening, at=self.world.now)
            self.record(given, self.core.step(given))
        self.world.census()
        for order in self.core.outstanding():
            self.world.obey(order)

    def finish(self) -> None:
        """Nothing more will happen: everything is checked once more."""
        self.ledger.advance(self.reading.now)
        for checker in self.checkers:
            checker.at_end()

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

    # ---- stories ---------------------------------------------------------------------------------

    def _remember(self, fact: Fact) -> None:
        self._last.append(fact)
        for subject in _subjects(fact):
            if subject not in self._stories:
                self._stories[subject] = deque(maxlen=_TOLD)
            self._stories[subject].append(fact)

    def story(self, error: BaseException) -> str:
        """What happened before it, and what was expected."""
        lines = [f"at {show_span(self.world.now)}, input {self.input_count}: {_line(self._given)}"]
        if isinstance(error, BrokenLaw):
            lines.append(f"expected ({error.law}): {error.expected}")
            lines += [f"of {error.subject}:" for _ in (0,) if error.subject]
            lines += [f"  {_line(fact)}" for fact in self._stories.get(error.subject, ())]
        else:
            lines.append(f"raised {type(error).__name__}: {error}")
        return "\n".join([*lines, "last of all:", *(f"  {_line(fact)}" for fact in self._last)])


def _subjects(fact: Fact) -> Iterator[str]:
    """Whom the fact is about."""
    for name in ("job", "service", "node", "incident"):
        if subject := getattr(fact, name, ""):
            yield subject
    if attempt := getattr(fact, "attempt", ""):
        yield attempt
        if not getattr(fact, "job", ""):
            yield attempt.rpartition(".")[0]
    if isinstance(fact, facts.GangPlaced):
        for member in fact.members:
            yield member.node
    elif isinstance(fact, facts.WindowSet):
        yield fact.window.name


def _line(said: Fact | Input) -> str:
    """One line for people."""
    plain = msgspec.to_builtins(said)
    rest = ", ".join(f"{name}={value}" for name, value in plain.items() if name not in ("at", "type"))
    return f"{show_span(said.at)} {type(said).__name__} {rest}"[:300]
