"""Turns the wheel in virtual time: inputs from the world into the core, its orders back into the world."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from myriad.control.core import Core, Step
from myriad.kernel.units import SECOND, Instant
from myriad.protocol import wire
from myriad.protocol.facts import Fact
from myriad.protocol.inputs import Input
from myriad.protocol.orders import Order
from myriad.twin.timeline import Event
from myriad.twin.world import World

#: Is given each step's facts once they are applied, before the orders that follow are obeyed.
Follower = Callable[[Sequence[Fact]], None]


class Script(NamedTuple):
    """Something people will ask, and when."""

    at: Instant
    given: Input


class Driver:
    """One core in one world. Keeps a digest of every fact: the same run gives the same digest."""

    def __init__(
        self, core: Core, world: World, followers: Sequence[Follower] = (), *, keep: bool = True
    ) -> None:
        """`keep`: hold the journal in memory; the digest is the same without."""
        self.core, self.world = core, world
        self.journal: list[bytes] = []
        self.input_count = self.fact_count = 0
        self._followers, self._keep = tuple(followers), keep
        self._digest = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """Of all facts so far, in order."""
        return self._digest.hexdigest()

    def give(self, given: Input) -> Step:
        """Feed one input; record its facts; pass its orders on."""
        step = self.core.step(given)
        self.input_count += 1
        if step.facts:
            self._record(type(given).__name__, step.facts)
        self.pass_on(step.orders)
        return step

    def give_all(self, batch: Sequence[Input]) -> None:
        """Feed inputs that came together, in one turn: the scheduler decides once, after all of them."""
        if len(batch) == 1:
            self.give(batch[0])
            return
        steps, cycle = self.core.turn(batch)
        self.input_count += len(batch)
        happened = [fact for step in steps for fact in step.facts] + list(cycle.facts)
        if happened:
            self._record("turn", happened)
        for step in (*steps, cycle):
            self.pass_on(step.orders)

    def pass_on(self, orders: Sequence[Order]) -> None:
        """Give orders to the world."""
        for order in orders:
            self.world.obey(order)

    def _record(self, cause: str, happened: Sequence[Fact]) -> None:
        self.fact_count += len(happened)
        body = wire.encode(cause, happened)
        self._digest.update(body)
        if self._keep:
            self.journal.append(body)
        for follow in self._followers:
            follow(happened)

    def run(self, until: Instant, script: Iterable[Script] = ()) -> None:
        """Let the world go on until an instant, asking what the script says on the way."""
        for entry in script:
            self.world.at(entry.at, self._asker(entry.given))
        while self.world.pending() and self.world.now < until:
            for given in self.world.advance():
                self.give(given)

    def listen(self) -> None:
        """Give what was said outside of any event, as when a site opens."""
        while said := self.world.hear():
            for given in said:
                self.give(given)

    def pass_until(self, until: Instant) -> None:
        """Let everything happen that happens up to an instant, and no more.

        What a body that polls sees (`physics.poll_s`) comes together.
        """
        world, poll_ns = self.world, int(self.world.physics.poll_s * SECOND)
        while world.pending() and world.next_at() <= until:
            said = list(world.advance())
            if poll_ns and said:
                heard_at = min(until, (world.now // poll_ns + 1) * poll_ns)
                while world.pending() and world.next_at() <= heard_at:
                    said += world.advance()
                world.now = heard_at
            if said:
                self.give_all(said)

    def _asker(self, given: Input) -> Event:
        def ask() -> None:
            self.give(msgspec.structs.replace(given, at=self.world.now))

        return ask
