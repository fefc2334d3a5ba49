"""The engine's line to one node: orders out, events in, and three independent watches over its agent."""

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Protocol

from myriad.engines.common import health
from myriad.engines.local import nursery, wire
from myriad.kernel.ids import NodeId
from myriad.protocol.values import Signal

_RECONNECT_S = 0.1


class Ear(Protocol):
    """Who listens to nodes: the engine."""

    def on_hello(self, link: "Link", hello: wire.Hello, *, first: bool) -> None:
        """The agent answers; `first` time for this incarnation."""
        ...

    def on_event(self, link: "Link", event: wire.Event) -> None:
        """Something happened on the node."""
        ...

    def on_paces(self, link: "Link", paces: dict[str, int]) -> None:
        """How long a step of each attempt takes on the node."""
        ...

    def on_evidence(self, link: "Link", source: Signal, healthy: bool, detail: str) -> None:
        """A source changed its mind about the node."""
        ...


class Link:
    """One node, through all its incarnations."""

    def __init__(
        self,
        node: NodeId,
        chips: int,
        ear: Ear,
        may_act: Callable[[], bool] = lambda: True,
        *,
        ping_every_s: float,
        silence_s: float,
    ) -> None:
        """`may_act`: whether it is certain that orders are still ours to give."""
        self.node, self.chips = node, chips
        self.record: wire.Record | None = None
        #: Heard from this incarnation.
        self.joined = False
        #: Fences an incarnation and brings up the next one.
        self.repair: asyncio.Task[None] | None = None
        self.fencing = ""
        #: Replicas that run here.
        self.replicas: set[str] = set()
        #: Orders without an answer: given again on every connection, until `settle`.
        self.pending: dict[str, wire.Message] = {}
        #: What runs here and is not on record: nothing else is ordered before it is gone.
        self.strangers: dict[str, wire.Message] = {}
        #: What its agent ran when we first heard it; None: not heard, or compared with the record already.
        self.found: tuple[wire.Running, ...] | None = None
        self._ear, self._may_act = ear, may_act
        self._held_back = False
        self._ping_every_s, self._silence_s = ping_every_s, silence_s
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._pidfd = -1
        self._last_seq = 0
        self._evidence = health.Evidence(lambda *_: None)
        self._heart = health.Heart(silence_s, 0.0)

    @property
    def instance(self) -> str:
        """The incarnation we talk to; empty while there is none."""
        return self.record.instance if self.record else ""

    def watch(self, record: wire.Record) -> None:
        """Talk to this incarnation from now on."""
        loop = asyncio.get_running_loop()
        self.record, self.joined, self._last_seq = record, False, 0

        def tell(source: Signal, healthy: bool, detail: str) -> None:
            self._ear.on_evidence(self, source, healthy, detail)

        self._evidence = health.Evidence(tell)
        self._heart = health.Heart(self._silence_s, loop.time())
        self._watch_process(record, loop)
        self._tasks = [loop.create_task(self._converse(record)), loop.create_task(self._beat())]

    def let_go(self) -> list[asyncio.Task[None]]:
        """Leave the incarnation alone; the tasks to wait for."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        self._unwatch_process()
        self._hang_up()
        self.record, self.joined = None, False
        self.strangers.clear()  # what is let go is fenced, or ours no longer
        return tasks

    def give(self, key: str, message: wire.Message) -> None:
        """An order; kept under `key` until it is settled."""
        self.pending[key] = message
        if self.joined and not self.strangers:
            self._order(message)

    def rid(self, strangers: Iterable[str]) -> None:
        """End these before anything else is done here."""
        self.strangers |= {attempt: wire.Stop(attempt=attempt) for attempt in strangers}
        if self.joined:
            self._order(*self.strangers.values())

    def is_rid(self, stranger: str) -> None:
        """Nothing of it is left."""
        if self.strangers.pop(stranger, None) and not self.strangers:
            self._order_all()

    def settle(self, *keys: str) -> None:
        """These orders have their answers."""
        for key in keys:
            self.pending.pop(key, None)

    def acknowledge(self, instance: str, seq: int) -> None:
        """Events of that incarnation are on record."""
        if instance == self.instance:
            self._send(wire.Acknowledge(seq=seq))

    # ---- channel ---------------------------------------------------------------------------------

    async def _converse(self, record: wire.Record) -> None:
        while True:
            problem = "the agent hung up"
            try:
                reader, self._writer = await asyncio.open_unix_connection(record.address)
                while True:
                    self._receive(await nursery.receive(reader))
            except (EOFError, ConnectionError):
                pass
            except (OSError, wire.Broken) as error:
                problem = f"the agent cannot be talked to: {error}"
            self._hang_up()
            self._evidence.say("channel", False, problem)
            await asyncio.sleep(_RECONNECT_S)

    def _receive(self, message: wire.AnyMessage) -> None:
        self._sign_of_life()
        match message:
            case wire.Hello():
                self._evidence.say("channel", True)
                first, self.joined = not self.joined, True
                self._ear.on_hello(self, message, first=first)
                self._order_all()
            case wire.Event() if message.seq > self._last_seq:
                self._last_seq = message.seq
                self._ear.on_event(self, message)
            case wire.Pong(paces=paces) if paces:
                self._ear.on_paces(self, paces)
            case _:
                pass

    def _order_all(self) -> None:
        self._order(*(self.strangers or self.pending).values())

    def _order(self, *messages: wire.Message) -> None:
        """Orders wait while another control plane may lead."""
        self._held_back = not self._may_act()
        if not self._held_back:
            for message in messages:
                self._send(message)

    def _send(self, message: wire.Message) -> None:
        if self._writer and not self._writer.is_closing():
            self._writer.write(wire.encode(message))

    def _hang_up(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None

    # ---- process ---------------------------------------------------------------------------------

    def _watch_process(self, record: wire.Record, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._pidfd = os.pidfd_open(record.pid)
        except ProcessLookupError:
            self._process_gone()
            return
        if nursery.is_alive(record):
            loop.add_reader(self._pidfd, self._process_gone)
        else:
            self._process_gone()

    def _process_gone(self) -> None:
        self._unwatch_process()
        self._evidence.say("process", False, "the agent's process is gone")

    def _unwatch_process(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    # ---- heartbeat -------------------------------------------------------------------------------

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        number = 0
        while True:
            number += 1
            self._send(wire.Ping(number=number))
            if self._held_back and self.joined:
                self._order_all()
            await asyncio.sleep(self._ping_every_s)
            if silence_s := self._heart.silent_s(loop.time(), self._ping_every_s):
                self._evidence.say("heartbeat", False, f"no answer for {silence_s:.1f} s")

    def _sign_of_life(self) -> None:
        self._heart.answered(asyncio.get_running_loop().time())
        self._evidence.say("heartbeat", True)
