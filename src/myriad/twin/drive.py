"""Turns the wheel in virtual time: inputs from the world into the core, its orders back into the world."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from myriad.control.core import Core, Step
from myriad.kernel.units import Instant
from myriad.protocol import wire
from myriad.protocol.inputs import Input
from myriad.twin.timeline import Event
from myriad.twin.world import World


class Script(NamedTuple):
    """Something people will ask, and when."""

    at: Instant
    given: Input


class Driver:
    """One core in one world. Keeps a digest of every fact: the same run gives the same digest."""

    def __init__(self, core: Core, world: World) -> None:
        self.core, self.world = core, world
        self.journal: list[bytes] = []
        self._digest = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """Of all facts so far, in order."""
        return self._digest.hexdigest()

    def give(self, given: Input) -> Step:
        """Feed one input; record its facts; pass its orders on."""
        step = self.core.step(given)
        if step.facts:
            body = wire.encode(type(given).__name__, step.facts)
            self.journal.append(body)
            self._digest.update(body)
        for order in step.orders:
            self.world.obey(order)
        return step

    def run(self, until: Instant, script: Iterable[Script] = ()) -> None:
        """Let the world go on until an instant, asking what the script says on the way."""
        for entry in script:
            self.world.at(entry.at, self._asker(entry.given))
        while self.world.pending() and self.world.now < until:
            for given in self.world.advance():
                self.give(given)

    def _asker(self, given: Input) -> Event:
        def ask() -> None:
            self.give(msgspec.structs.replace(given, at=self.world.now))

        return ask
