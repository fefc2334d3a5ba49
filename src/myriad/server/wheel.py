"""The wheel: inputs in, facts durable, then everyone is told. The only place where `Core.step` is called.

One turn takes everything that is queued, steps the core for each input, and appends all their facts in
one commit; inputs that arrive meanwhile are the next turn (group commit). Only after the commit are
observers shown the facts, askers answered, and orders given: what a crash takes was never promised.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import msgspec

from myriad.control.core import Core, Step
from myriad.kernel.errors import UserError
from myriad.kernel.histogram import Histogram
from myriad.kernel.ports import Journal
from myriad.kernel.units import SECOND, Instant
from myriad.protocol import orders, wire
from myriad.protocol.facts import Fact
from myriad.protocol.inputs import Input, Listening, Woke
from myriad.protocol.orders import AnyOrder
from myriad.server import causes, log
from myriad.server.causes import NOBODY, Asked

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_ENTRIES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
#: A commit that takes longer is worth a line of the log.
_SLOW_S: Final = 1.0

#: Between two looks at what is held back, while nothing else can be done.
_GIVEN_S: Final = 0.05

#: A timer that rings so much too late tells of a time in which we stood still. Estimated: above pauses of the
#: garbage collector and of a slow disk, below any deadline.
_LATE_S: Final = 3.0

#: Inputs of one turn: bounds how long the first of them waits for the last.
_BATCH = 512

#: Called with an entry's number, cause and facts once they are durable, in order.
Observer = Callable[[int, str, Sequence[Fact]], None]
Obey = Callable[[AnyOrder], None]


class Costs:
    """What deciding and the journal cost, and how often which input came, since the start."""

    def __init__(self) -> None:
        #: Seconds of each turn's decisions, of each commit, and entries of each commit.
        self.decided = Histogram(_SECONDS)
        self.committed = Histogram(_SECONDS)
        self.batches = Histogram(_ENTRIES)
        #: Inputs by type.
        self.inputs: Counter[str] = Counter()


class _Queued(NamedTuple):
    given: Input
    asked: Asked
    answer: asyncio.Future[Step] | None


class BrokenLaw(Exception):
    """The core asserted: our mistake. The text holds the input and the story of its subject."""


class Wheel:
    """Turns on one event loop. `failed` is done when it must stop: the process cannot go on then."""

    def __init__(
        self,
        core: Core,
        journal: Journal,
        last_seq: int,
        observers: Sequence[Observer],
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self.core = core
        self.seq = last_seq
        self.costs = Costs()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._journal, self._observers = journal, tuple(observers)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._inbox: deque[_Queued] = deque()
        self._arrived = asyncio.Event()
        self._timers: dict[str, tuple[float, asyncio.TimerHandle]] = {}
        self._now: Instant = core.state.now
        self._obey: Obey | None = None
        self._may_act = may_act
        self._held_back: deque[AnyOrder] = deque()
        #: When we last found that we had stood still, by the loop's clock.
        self._stood_at = -_LATE_S
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._settled.set()

    # ---- what others call ------------------------------------------------------------------------

    def now(self) -> Instant:
        """Wall-clock nanoseconds that never run backwards."""
        self._now = max(self._now, time.time_ns())
        return self._now

    async def ask(self, given: Input, asked: Asked = NOBODY) -> Step:
        """Take an input; return its step once its facts are durable. Raises UserError (503) when broken."""
        answer: asyncio.Future[Step] = asyncio.get_running_loop().create_future()
        self._put(_Queued(given, asked, answer))
        return await answer

    async def ask_all(self, given: Sequence[Input]) -> None:
        """Take observations in their order; returns once all are on record."""
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[Step]] = [loop.create_future() for _ in given]
        for one, answer in zip(given, answers, strict=True):
            self._put(_Queued(one, NOBODY, answer))
        await asyncio.gather(*answers)

    def tell(self, given: Input) -> None:
        """Take an input nobody waits for."""
        if not self.failed.done():
            self._queue(_Queued(given, NOBODY, None))

    async def settled(self) -> None:
        """Wait until what the state says is durable. Until the caller next awaits, it stays so."""
        while not self._settled.is_set():
            await self._settled.wait()
        if self.failed.done():
            raise _unavailable(self.failed.exception())

    def start(self) -> None:
        """Begin to turn. Orders are held back until `release`: they are in the state and lose nothing."""
        self._task = asyncio.create_task(self._run())

    def release(self, obey: Obey) -> None:
        """The body is there: give it everything that should be under way, and every order from now on."""
        assert self._settled.is_set(), "what is given again is on disk"
        self._obey = obey
        again = self.core.outstanding()
        if again:
            log.info(
                "orders-again", f"{len(again)} outstanding orders are given to the body", orders=len(again)
            )
        self._give(again)

    def resume(self) -> None:
        """Give what was held back, as far as we may: to be called when the lease was renewed."""
        while self._held_back and self._obey and self._may_act():
            self._obey(self._held_back.popleft())

    async def all_given(self) -> None:
        """Wait until nothing is held back."""
        while self._held_back:
            await asyncio.sleep(_GIVEN_S)

    def fail(self, error: UserError) -> None:
        """Stop for good, for a reason from outside. What is queued is refused, what waits is forgotten."""
        if not self.failed.done():
            self._fail((), error)

    async def stop(self) -> None:
        """Finish the turn in progress and stop; what is still queued is refused. Idempotent."""
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        task, self._task = self._task, None
        if task:
            while not self._settled.is_set():
                # a commit in progress is never abandoned: its askers are to be answered
                await self._settled.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._refuse_queued(UserError("stops", field="control plane", remedy="Try again", status=503))
        self._writer.shutdown()

    # ---- turning ---------------------------------------------------------------------------------

    def _put(self, queued: _Queued) -> None:
        if self.failed.done() or self._task is None:
            raise _unavailable(self.failed.exception() if self.failed.done() else None)
        self._queue(queued)

    def _queue(self, queued: _Queued) -> None:
        self._inbox.append(queued)
        self._arrived.set()

    async def _run(self) -> None:
        while True:
            # whoever was told, or waits to read, goes on before the state runs ahead of the journal again
            await asyncio.sleep(0)
            while not self._inbox:
                self._arrived.clear()
                await self._arrived.wait()
            batch = [self._inbox.popleft() for _ in range(min(_BATCH, len(self._inbox)))]
            self._settled.clear()
            try:
                await self._turn(batch)
            except (UserError, BrokenLaw) as error:
                self._fail(batch, error)
                return
            except Exception as error:
                self._fail(batch, error)  # nobody foresaw it: it ends us, and not in silence
                raise
            finally:
                self._settled.set()

    async def _turn(self, batch: Sequence[_Queued]) -> None:
        started = time.monotonic()
        steps, cycle = self._decide(batch)
        self.costs.decided.observe(time.monotonic() - started)
        self.costs.inputs.update(type(queued.given).__name__ for queued in batch)
        turned = list(zip(batch, steps, strict=True))
        entries = [(causes.text(each.given, each.asked), step.facts) for each, step in turned if step.facts]
        if cycle.facts:
            entries.append((causes.SCHEDULING, cycle.facts))
        if entries:
            await self._commit([wire.encode(cause, facts) for cause, facts in entries])
        first = self.seq - len(entries) + 1
        for seq, (cause, facts) in enumerate(entries, first):
            for observer in self._observers:
                observer(seq, cause, facts)
        for queued, step in turned:
            if queued.answer and not queued.answer.done():
                queued.answer.set_result(step)
            if step.orders:
                self._give(step.orders)
        self._give(cycle.orders)

    def _decide(self, batch: Sequence[_Queued]) -> tuple[list[Step], Step]:
        stamped = [self._stamped(queued.given) for queued in batch]
        try:
            if len(stamped) == 1:
                return [self.core.step(stamped[0])], Step((), ())
            return self.core.turn(stamped)
        except AssertionError as error:
            raise BrokenLaw(self._story(stamped[-1], error)) from error

    def _stamped(self, given: Input) -> Input:
        # a timer never comes early, whatever the wall clock did meanwhile
        at = max(self.now(), given.at) if isinstance(given, Woke) else self.now()
        return msgspec.structs.replace(given, at=at)

    async def _commit(self, bodies: Sequence[bytes]) -> None:
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        self.seq = await loop.run_in_executor(self._writer, self._journal.append, bodies)
        spent_s = time.monotonic() - started
        self.costs.committed.observe(spent_s)
        self.costs.batches.observe(len(bodies))
        if spent_s > _SLOW_S:
            told = (
                f"a commit of {len(bodies)} entries took {spent_s:.1f} s: nothing is acknowledged meanwhile"
            )
            log.warning("slow-commit", told, seconds=round(spent_s, 3), entries=len(bodies), seq=self.seq)

    # ---- orders and timers -----------------------------------------------------------------------

    def _give(self, given: Sequence[orders.Order]) -> None:
        if self._obey is None:
            return
        for order in given:
            if isinstance(order, orders.WakeAt):
                self._wake(order)
            else:
                assert isinstance(order, AnyOrder)
                self._held_back.append(order)
        self.resume()

    def _wake(self, order: orders.WakeAt) -> None:
        if known := self._timers.pop(order.about, None):
            known[1].cancel()
        loop = asyncio.get_running_loop()
        due_s = loop.time() + max(0, order.wake_at - self.now()) / SECOND
        self._timers[order.about] = due_s, loop.call_at(due_s, self._ring, order)

    def _ring(self, order: orders.WakeAt) -> None:
        due_s, _ = self._timers.pop(order.about)
        now_s = asyncio.get_running_loop().time()
        if now_s - due_s > _LATE_S and now_s - self._stood_at > _LATE_S:
            # we stood still: what is due now may have been answered, and lies unread
            self._stood_at = now_s
            self.tell(Listening(at=0))
        self.tell(Woke(at=order.wake_at, about=order.about))

    # ---- the end ---------------------------------------------------------------------------------

    def _fail(self, batch: Sequence[_Queued], error: Exception) -> None:
        """Nothing of this batch is durable: nobody is told that it is, and no order of it is given."""
        self._obey = None
        self._held_back.clear()
        if not self.failed.done():
            self.failed.set_exception(error)
        refusal = _unavailable(error)
        for queued in batch:
            if queued.answer and not queued.answer.done():
                queued.answer.set_exception(refusal)
        self._refuse_queued(refusal)

    def _refuse_queued(self, refusal: UserError) -> None:
        while self._inbox:
            answer = self._inbox.popleft().answer
            if answer and not answer.done():
                answer.set_exception(refusal)

    def _story(self, given: Input, error: AssertionError) -> str:
        subject = causes.subject(given)
        lines = [f"a law of the core was broken: {error}", f"input: {given}", f"story of {subject or 'it'}:"]
        needle = subject.partition(".")[0].encode()
        for record in self._journal.read():
            if needle and needle in record.body:
                lines.append(f"  {record.seq} {record.body.decode()}")
        return "\n".join(lines[:3] + lines[3:][-200:])


def _unavailable(error: BaseException | None) -> UserError:
    if isinstance(error, UserError):
        kind = type(error)  # who was deposed says so to everyone
        return kind(error.problem, field=error.field, value=error.value, remedy=error.remedy, status=503)
    problem = "stops after a mistake of its own" if error else "is not running"
    return UserError(
        problem, field="control plane", remedy="Read server.log, then start it again", status=503
    )
