"""Turns the wheel with every checker on; messages come twice and late, and the control plane dies."""

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
from myriad.protocol.orders import Order
from myriad.twin.checkers.base import BrokenLaw, Checker
from myriad.twin.checkers.capacity import Capacity
from myriad.twin.checkers.double import NoDouble
from myriad.twin.checkers.folding import Folding
from myriad.twin.checkers.ledger_law import LedgerLaw
from myriad.twin.checkers.marks import Marks
from myriad.twin.checkers.patience import Patience
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
    Patience,
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
    #: How long nobody leads after one, in seconds: mean.
    away_s: float = 0.0


class Watched(Driver):
    """A driver whose every step is checked."""

    def __init__(
        self,
        make: Callable[[State | None], Core],
        world: World,
        opening: inputs.OpenSite,
        noise: Noise,
        stream: Stream,
        followers: Sequence[Follower] = (),
    ) -> None:
        """`make` builds a control plane over a folded state (None: a new one)."""
        self.ledger, self.reading, self.marks = Ledger(), Reading(), Marks()
        super().__init__(make(None), world, [self._book, *followers, world.clear, self.marks.follow])
        self._make, self._opening, self._noise, self._chance = make, opening, noise, stream
        self.checkers = [law(self) for law in CHECKERS]
        self.progress = Progress(self)
        self._folding = next(one for one in self.checkers if isinstance(one, Folding))
        self._crashes = 0
        self._stories: dict[str, deque[Fact]] = {}
        self._last: deque[Fact] = deque(maxlen=_LAST)
        self._given: Input = opening
        self._last_facts: Sequence[Fact] = ()
        self._dies = self._dies_first = False
        #: Since when somebody has led; what people asked and bodies keep while nobody does.
        self.led_since: Instant = 0
        self._away, self._unheard = False, list[Input]()

    # ---- the wheel -------------------------------------------------------------------------------

    def open(self) -> None:
        """The site opens, and its nodes report."""
        self.give(self._opening)
        self.world.census()

    def calm(self) -> None:
        """No message comes late from now on, and nothing crashes."""
        self._noise = Noise()
        if self._away:
            self._lead()
            self.listen()

    def give(self, given: Input) -> Step:
        """Feed one input. The control plane may die before its orders are given, or after."""
        if self._away:
            self._keep_for_later(given)
            return Step((), ())
        self._begin(given)
        step = super().give(given)
        self._end(step.facts)
        return step

    def give_all(self, batch: Sequence[Input]) -> None:
        """Feed what came together, but for what comes late."""
        heard = [given for given in batch if not self._is_late(given)]
        if len(heard) < 2 or self._away:
            for given in heard:
                self.give(given)
            return
        self._begin(heard[0])
        before = self.fact_count
        super().give_all(heard)
        self._end(self._last_facts if self.fact_count > before else ())

    def pass_on(self, orders: Sequence[Order]) -> None:
        """Give orders to the world, if nothing happens to the control plane first."""
        if not self._dies_first:
            super().pass_on(orders)

    def _begin(self, given: Input) -> None:
        self._given = given
        self._dies = self._crashes < self._noise.crashes_most and self._chance.happens(self._noise.crashes)
        self._dies_first = self._dies and self._chance.happens(0.5)

    def _end(self, happened: Sequence[Fact]) -> None:
        for checker in self.checkers:
            checker.follow(happened)
        if self._dies:
            self.marks.hit("crash before orders" if self._dies_first else "crash")
            self._dies = self._dies_first = False
            self.restart()

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

    def _record(self, cause: str, happened: Sequence[Fact]) -> None:
        """Keep what became true; whoever checks hears each fact before it is counted."""
        reading, checkers = self.reading, self.checkers
        for fact in happened:
            self._remember(fact)
            for checker in checkers:
                checker.hear(fact)
            reading.count(fact)
        self._last_facts = happened
        super()._record(cause, happened)

    # ---- when the control plane dies ---------------------------------------------------------------

    def restart(self) -> None:
        """The control plane dies; after a while another one leads."""
        self._crashes += 1
        self.world.drop_wakes()
        away_ns = int(self._chance.exponential(self._noise.away_s) * SECOND) if self._noise.away_s else 0
        if away_ns:
            self.marks.hit("nobody led")
            self._away = True
            self.world.at(self.world.now + away_ns, lambda: self._lead() if self._away else None)
        else:
            self._lead()

    def _keep_for_later(self, given: Input) -> None:
        """People ask again, and bodies keep what they have to say; but what is seen of nodes is not kept."""
        if not isinstance(given, inputs.Woke | inputs.NodeSignalled):
            self._unheard.append(given)

    def _lead(self) -> None:
        """Another one folds the journal, opens the site and asks what is so.

        As `server.plane` does: what is outstanding is ordered again, and bodies ignore what they did.
        """
        self._away, self.led_since = False, self.world.now
        self.core = self._make(self._folding.folded())
        if self.reading.open:
            opening = msgspec.structs.replace(self._opening, at=self.world.now)
            self._given = opening
            step = self.core.step(opening)
            self._record("OpenSite", step.facts)
            self._end(step.facts)
            # its orders are among those that are outstanding
            step = self.core.step(inputs.Listening(at=self.world.now))
            self._record("Listening", step.facts)
            self._end(step.facts)
        self.world.census()
        for order in self.core.outstanding():
            self.world.obey(order)
        unheard, self._unheard = self._unheard, []
        for given in unheard:
            self.world.say(given)

    def finish(self) -> None:
        """Nothing more will happen: everything is checked once more."""
        self.ledger.advance(self.reading.now)
        for checker in self.checkers:
            checker.at_end()

    # ---- followers -------------------------------------------------------------------------------

    def _book(self, happened: Sequence[Fact]) -> None:
        for fact in happened:
            self.ledger.fold(fact)

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
