"""The journal is the truth: its fold equals the live state, at every thousandth step and at every crash."""

from collections.abc import Sequence
from typing import ClassVar

from myriad.control import invariants
from myriad.control.apply import apply, fold
from myriad.control.state import State
from myriad.protocol import wire
from myriad.protocol.facts import Fact
from myriad.twin.checkers.base import Checker, Scene

_EVERY = 1000


class Folding(Checker):
    """Follows the journal's bytes with a state of its own, a stretch at a time, and compares digests."""

    law: ClassVar[str] = "journal fold equals live state"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._state = State()
        self._read = 0

    def follow(self, happened: Sequence[Fact]) -> None:
        """Compare, now and then."""
        del happened
        if self.is_due(_EVERY):
            self._compare()

    def at_end(self) -> None:
        """Compare once more."""
        self._compare()

    def _compare(self) -> None:
        journal = self.scene.journal
        for body in journal[self._read :]:
            for fact in wire.decode(body).facts:
                apply(self._state, fact)
        self._read = len(journal)
        self._same(self._state)
        try:
            invariants.check(self.scene.core.state)
        except AssertionError as error:
            raise self.broken("", f"the core's own invariants hold: {error}") from error

    def folded(self) -> State:
        """The whole journal, from its first byte: what a control plane that starts has."""
        state = fold(wire.decode(body) for body in self.scene.journal)
        self._same(state)
        return state

    def _same(self, folded: State) -> None:
        live = self.scene.core.state
        if folded.digest() != live.digest():
            names = [name for name in vars(live) if _differs(name, folded, live)]
            raise self.broken("", f"the fold has the same {', '.join(names) or 'columns'} as the live state")


def _differs(name: str, one: State, other: State) -> bool:
    if name == "columns":
        return False
    left, right = getattr(one, name), getattr(other, name)
    return bool(left != right)
