"""The replicas of one service as the gateway uses them: who has room, who is out, and the queue for a place.

A request holds a lease on its replica while it is there. A replica that failed is out of rotation for a
cool-down and comes back on trial, with one request. Whoever finds no place waits in arrival order until a
lease ends, a replica appears, or a cool-down is over.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

from myriad.gateway.faults import Refusal
from myriad.gateway.ports import ReplicaView, ServiceView
from myriad.kernel.ids import AttemptId
from myriad.kernel.units import SECOND, Instant, Span, show_span
from myriad.route import balance
from myriad.route.policy import Policy


class Replica:
    """What the gateway knows of one replica beyond the directory's view."""

    def __init__(self, view: ReplicaView) -> None:
        self.view = view
        self.in_flight = 0
        #: Server errors since the last good answer.
        self.errors = 0
        #: Trials failed in a row; above 0 the replica is on trial.
        self.failures = 0
        self.out_until: Instant = 0

    def has_room(self, now: Instant, most: int) -> bool:
        """Whether one more request may go there."""
        return now >= self.out_until and self.in_flight < (1 if self.failures else most)


class Gauge:
    """Requests in flight, and their mean over time since it was last asked."""

    def __init__(self, now: Instant) -> None:
        self.count = 0
        self._since = self._at = now
        self._area = 0

    def add(self, now: Instant, number: int) -> None:
        """Some more, or fewer, from now on."""
        self._area += self.count * (now - self._at)
        self._at = now
        self.count += number

    def mean(self, now: Instant) -> float:
        """The mean since the last call."""
        self.add(now, 0)
        span, area = now - self._since, self._area
        self._since, self._area = now, 0
        return area / span if span else float(self.count)


class _Waiter:
    """A place in the queue."""

    def __init__(self, prefix: str, tried: frozenset[AttemptId]) -> None:
        self.prefix, self.tried = prefix, tried
        self.turn: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()


class Pool:
    """All of one service."""

    def __init__(
        self,
        view: ServiceView,
        policy: Policy,
        failed: Callable[[AttemptId, str], None],
        told: Callable[[], None],
    ) -> None:
        """`failed` hears of replicas taken out of rotation, `told` when somebody waits and there is none."""
        self.view = view
        self.gauge = Gauge(time.monotonic_ns())
        self._policy, self._failed, self._told = policy, failed, told
        self._cool_down_ns, self._ceiling_ns = policy.ns("cool_down"), policy.ns("cool_down_ceiling")
        self._replicas: dict[AttemptId, Replica] = {}
        self._waiting: deque[_Waiter] = deque()
        self.update(view)

    @property
    def queued(self) -> int:
        """Requests waiting for a replica."""
        return len(self._waiting)

    @property
    def out_of_rotation(self) -> int:
        """Replicas the directory calls ready, but that just failed here."""
        return sum(1 for replica in self._replicas.values() if replica.failures)

    def update(self, view: ServiceView | None) -> None:
        """The directory has changed. Without a view the service is gone, and so are those who wait."""
        if view is None:
            gone = Refusal(404, f"The model {self.view.name} was removed.", code="model_not_found")
            for waiter in self._waiting:
                if not waiter.turn.done():
                    waiter.turn.set_exception(gone)
            self._replicas.clear()
            return
        self.view = view
        self._replicas = {
            replica.attempt: self._replicas.get(replica.attempt) or Replica(replica)
            for replica in view.replicas
        }
        for fresh in view.replicas:
            self._replicas[fresh.attempt].view = fresh
        self._serve()

    # ---- leases

    async def lease(
        self, prefix: str, tried: frozenset[AttemptId], patience_ns: Span, *, first: bool
    ) -> Replica:
        """A replica with room, at once or when its turn comes; give it back with `release`.

        `tried` are avoided while another has room; `first` goes to the head of the queue (it waited
        before). Raises Refusal when the patience ends or the queue is full.
        """
        waiter = _Waiter(prefix, tried)
        if (first or not self._waiting) and (replica := self._pick(waiter)):
            return self._taken(replica)
        if len(self._waiting) >= self._policy.queue_max:
            raise self._refusal(f"{len(self._waiting)} requests wait already")
        (self._waiting.appendleft if first else self._waiting.append)(waiter)
        if not self._replicas and len(self._waiting) == 1:
            self._told()
        return await self._turn(waiter, patience_ns)

    async def _turn(self, waiter: _Waiter, patience_ns: Span) -> Replica:
        try:
            async with asyncio.timeout(max(0, patience_ns) / SECOND):
                return await waiter.turn
        except TimeoutError:
            self._gave_up(waiter)
            raise self._refusal(f"none came free in {show_span(patience_ns)}") from None
        except asyncio.CancelledError:
            self._gave_up(waiter)
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _gave_up(self, waiter: _Waiter) -> None:
        """Its turn may have come in the same instant: then the replica goes to the next."""
        if waiter.turn.done() and not waiter.turn.cancelled() and not waiter.turn.exception():
            self.release(waiter.turn.result())

    def release(self, replica: Replica) -> None:
        """The request has left the replica."""
        replica.in_flight -= 1
        self.gauge.add(time.monotonic_ns(), -1)
        self._serve()

    def _taken(self, replica: Replica) -> Replica:
        replica.in_flight += 1
        self.gauge.add(time.monotonic_ns(), 1)
        return replica

    def _pick(self, waiter: _Waiter) -> Replica | None:
        now = time.monotonic_ns()
        most = math.ceil(self.view.concurrency * self._policy.overcommit)
        free = {name: each for name, each in self._replicas.items() if each.has_room(now, most)}
        fresh = [name for name in free if name not in waiter.tried] or list(free)
        if not fresh:
            return None
        load: dict[str, int] = {name: free[name].in_flight for name in fresh}
        return free[AttemptId(balance.choose(fresh, load, waiter.prefix, self._policy.balance_factor))]

    def _serve(self) -> None:
        """Give what is free to those who wait, in order."""
        while self._waiting:
            waiter = self._waiting[0]
            if not waiter.turn.done():
                replica = self._pick(waiter)
                if replica is None:
                    return
                waiter.turn.set_result(self._taken(replica))
            self._waiting.popleft()

    # ---- health

    def succeeded(self, replica: Replica) -> None:
        """It answers: a trial is passed."""
        replica.errors = 0
        if replica.failures:
            replica.failures = 0
            self._serve()

    def failed(self, replica: Replica, detail: str) -> None:
        """It did not answer, or broke off: out of rotation now, and somebody should know."""
        now = time.monotonic_ns()
        if now < replica.out_until:
            return  # one of several requests that were there: known already
        pause_ns = min(self._cool_down_ns << min(replica.failures, 20), self._ceiling_ns)
        replica.failures += 1
        replica.errors = 0
        replica.out_until = now + pause_ns
        asyncio.get_running_loop().call_later(pause_ns / SECOND + 0.001, self._serve)
        if replica.view.attempt in self._replicas:
            self._failed(replica.view.attempt, detail)

    def erred(self, replica: Replica, detail: str) -> None:
        """It answered with a server error, which may be the request's fault: out only when they add up."""
        replica.errors += 1
        if replica.errors >= self._policy.errors_max:
            self.failed(replica, detail)

    def _refusal(self, why: str) -> Refusal:
        ready = len(self._replicas) - self.out_of_rotation
        state = f"{ready} of its replicas can take requests"
        if self.out_of_rotation:
            state += f", {self.out_of_rotation} just failed and will be tried again"
        note = f" ({self.view.note})" if self.view.note else ""
        message = f"The model {self.view.name} has no replica free: {why}; {state}{note}. Try again later."
        retry_ns = self._policy.ns("retry_after")
        return Refusal(503, message, code="overloaded" if ready else "model_not_ready", retry_ns=retry_ns)
