"""What a checker is: it hears each fact before it is counted, looks after each step, and at the end."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from myriad.control.core import Core
from myriad.kernel.units import Instant
from myriad.ledger.ledger import Ledger
from myriad.protocol.facts import Fact
from myriad.twin.checkers.marks import Marks
from myriad.twin.checkers.reading import Reading
from myriad.twin.world import World


class BrokenLaw(AssertionError):
    """A law does not hold: which, of whom, and what was expected."""

    def __init__(self, law: str, subject: str, expected: str) -> None:
        super().__init__(f"{law}: {expected}")
        self.law, self.subject, self.expected = law, subject, expected


class Scene(Protocol):
    """What checkers may look at. The core is another one after each crash."""

    core: Core
    world: World
    ledger: Ledger
    #: What the facts say, read apart from the core. When a fact is heard, it holds what was so before.
    reading: Reading
    marks: Marks
    #: The journal so far, one entry a step.
    journal: list[bytes]
    #: Inputs so far.
    input_count: int
    #: Since when a control plane has led without a break (0: from the beginning).
    led_since: Instant


class Checker:
    """One law. It never asks the code that keeps the law whether it does."""

    law: ClassVar[str]

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._due_at = 0

    @property
    def reading(self) -> Reading:
        """What the facts say."""
        return self.scene.reading

    def hear(self, fact: Fact) -> None:
        """A fact became true; what was so before is still to be read."""

    def follow(self, happened: Sequence[Fact]) -> None:
        """All facts of a step, or of a turn of many, are counted; there may be none."""

    def is_due(self, every: int) -> bool:
        """Whether so many inputs came since it was last so."""
        if self.scene.input_count < self._due_at:
            return False
        self._due_at = self.scene.input_count + every
        return True

    def at_end(self) -> None:
        """Nothing more will happen."""

    def broken(self, subject: str, expected: str) -> BrokenLaw:
        """To be raised: what was expected of the subject and is not so."""
        return BrokenLaw(self.law, subject, expected)
