"""The control plane as one object: state, books, indexes, the wheel that turns them, and the body it drives.

Start: fold the journal, open the site (durably), let clients in, connect the body, give it everything
outstanding. A crash at any point leaves a journal from which the same is done again. A standby only folds,
again and again, until it leads; then it has little left to fold.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

import msgspec

from myriad.control.apply import apply
from myriad.control.core import Core, Step
from myriad.control.moment import Moment
from myriad.control.sitefile import Setup
from myriad.control.state import State
from myriad.gateway.app import Gateway
from myriad.kernel.ports import Engine, Journal, Record
from myriad.ledger.ledger import Ledger
from myriad.protocol import facts, wire
from myriad.protocol.facts import Fact
from myriad.protocol.inputs import Input, IssueKey, Listening, OpenSite
from myriad.protocol.orders import AnyOrder
from myriad.server import identity, problems, told
from myriad.server.causes import Asked
from myriad.server.changes import Changes
from myriad.server.events import Events
from myriad.server.home import Context, Home
from myriad.server.identity import Caller, Keys
from myriad.server.names import Names
from myriad.server.notify import Manager, Pulse
from myriad.server.tallies import Tallies
from myriad.server.wheel import Observer, Wheel

T = TypeVar("T")

#: Records folded at a time: others on the loop need not wait long for their turn.
_FOLD: Final = 4096


class Body(Engine[AnyOrder, Input], Protocol):
    """An engine that can also be ended for good."""

    async def shutdown(self) -> None:
        """Close, and end everything that runs."""
        ...


class Plane:
    """Everything that routes and gateway stand on. Lives on one event loop.

    `core` and `wheel` are there from `begin` on: who does not lead has no use for them.
    """

    core: Core
    wheel: Wheel

    def __init__(self, home: Home, setup: Setup, journal: Journal, pulse: Pulse | None = None) -> None:
        self.home, self.setup, self.journal = home, setup, journal
        self.ledger = Ledger()
        self.keys, self.names, self.events = Keys(), Names(), Events()
        self.tallies = Tallies()
        self.pulse = pulse or Pulse(Manager())
        self.changes = Changes()
        self.served = Changes(
            facts.TenantSet,
            facts.KeySet,
            facts.KeyRevoked,
            facts.GangPlaced,
            facts.GangRunning,
            facts.ReplicaStalled,
            facts.LeaveAsked,
            facts.GangStopping,
            facts.GangStopped,
            facts.ServiceSet,
            facts.ServiceHeld,
            facts.ServiceScaled,
            facts.ServiceRemoved,
        )
        #: Set when the site is closed and the process should end, bodies and all.
        self.closed = asyncio.Event()
        self.api_url = self.gateway_url = ""
        #: Set when it listens.
        self.gateway: Gateway | None = None
        self.started_at = 0
        self._begun = False
        self._body: Body | None = None
        self._pump: asyncio.Task[None] | None = None
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="journal-reader")
        #: What is true now. Reads are durable after `wheel.settled()`.
        self.state = State()
        #: Number of the last record that was folded, before `begin`.
        self.folded = 0
        #: In which term it leads, where several control planes share a journal; else 0.
        self.term = 0

    def moment(self) -> Moment:
        """What a question to the brain is asked in: the present state, now."""
        return self.core.moment(self.wheel.now())

    def _observers(self) -> Sequence[Observer]:
        parts = (self.keys, self.names, self.tallies, self.changes, self.served, self.events)
        return (self._book, *(part.observe for part in parts))

    def _book(self, _seq: int, _cause: str, happened: Sequence[Fact]) -> None:
        for fact in happened:
            self.ledger.fold(fact)

    # ---- life ------------------------------------------------------------------------------------

    async def fold(self) -> int:
        """Fold what came to the journal since; how many entries. Raises UserError at a damaged record."""
        before, observers = self.folded, self._observers()
        while records := await self.reading(self._next):
            for record in records:
                entry = wire.decode(record.body)
                for fact in entry.facts:
                    apply(self.state, fact)
                for observer in observers:
                    observer(record.seq, entry.cause, entry.facts)
                self.folded = record.seq
        return self.folded - before

    def _next(self) -> list[Record]:
        return list(islice(self.journal.read(self.folded), _FOLD))

    def begin(self, may_act: Callable[[], bool] = lambda: True) -> None:
        """Everything is folded, and nobody else writes: decide from now on."""
        self.core = Core(self.setup.policy, self.state, own=self.setup.own)
        self.wheel = Wheel(self.core, self.journal, self.folded, (*self._observers(), told.by_brain), may_act)
        self._begun = True

    async def open(self) -> None:
        """Turn the wheel and open the site. Raises UserError when the site does not fit the journal."""
        self.wheel.start()
        self.started_at = self.wheel.now()
        opening = OpenSite(at=0, site=self.setup.site, prices=self.setup.prices)
        problems.check(await self.wheel.ask(opening))

    async def tell_where(self, context: Context) -> None:
        """Write context.json; the operator key in it is minted when it has none that is good."""
        self.api_url, self.gateway_url = context.api_url, context.gateway_url
        known = self.home.context()
        caller = self.keys.find(known.key) if known else None
        if known and caller and caller.role == "operator":
            key = known.key
        else:
            minted = identity.mint("operator")
            await self.wheel.ask(IssueKey(at=0, key=minted.id, key_hash=minted.hash, role="operator"))
            key = minted.text
        self.home.write_context(msgspec.structs.replace(context, key=key))

    async def connect(self, body: Body) -> None:
        """Open the body, give it what is outstanding, and listen to it from now on."""
        self._body = body
        # before, so that after it nothing is heard of the body until it knows what is on record
        await self.wheel.settled()
        await body.open()
        await self.wheel.ask(Listening(at=0))
        await self.wheel.settled()
        self.wheel.release(body.obey)
        self._pump = asyncio.create_task(self._listen(body))

    async def _listen(self, body: Body) -> None:
        # until it knows what is on record, the namesake of something else may speak
        await self.wheel.all_given()
        # asking again tells the body that the last batch is on record
        while batch := await body.observe():
            for given in batch:
                told.by_body(given)
            await self.wheel.ask_all(batch)

    async def ended(self) -> None:
        """Wait until the plane cannot, or should not, go on. Raises what broke it."""
        closed = asyncio.create_task(self.closed.wait())
        parts: list[asyncio.Future[Any]] = [closed, self.wheel.failed]
        if self._pump:
            parts.append(self._pump)
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in parts:
                if part.done():
                    part.result()
        finally:
            closed.cancel()

    async def stop(self) -> None:
        """Finish what is being made durable, then let go of the body, or end it if the site was closed."""
        self.events.close()
        if self._pump:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        if self._begun:
            await self.wheel.stop()
        if self._body:
            await (self._body.shutdown() if self.closed.is_set() else self._body.close())
        self._reader.shutdown()
        self.journal.close()

    # ---- for routes ------------------------------------------------------------------------------

    async def ask(self, given: Input, caller: Caller, once: str = "") -> Step:
        """An intent, durable when this returns. Raises Refusal when the core says no."""
        return problems.check(await self.wheel.ask(given, Asked(caller.key, once)))

    async def reading(self, work: Callable[[], T]) -> T:
        """Run something that walks the journal in the one thread for that."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)
