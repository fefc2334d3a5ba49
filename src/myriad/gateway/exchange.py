"""One request from its admission to its last byte: attempts until one brings a token, then its stream.

Before the client has seen anything a failed attempt is repeated elsewhere; after that the stream can only
be ended with an error that its client raises. In either case the tokens that were streamed are metered.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine

import aiohttp
from aiohttp import web

from myriad.gateway.asks import Ask
from myriad.gateway.attempts import Attempt, Failed
from myriad.gateway.faults import Refusal
from myriad.gateway.meter import Guess, Meter
from myriad.gateway.pool import Pool, Replica
from myriad.gateway.replies import Stream, Tally, Whole
from myriad.gateway.settings import Settings
from myriad.gateway.traffic import Traffic
from myriad.kernel.ids import AttemptId, RequestId
from myriad.kernel.units import Span
from myriad.route.policy import Policy


class Exchange:
    """What belongs to one request while it is here."""

    def __init__(
        self,
        *,
        name: RequestId,
        request: web.Request,
        ask: Ask,
        pool: Pool,
        meter: Meter,
        guess: Guess,
        session: aiohttp.ClientSession,
        settings: Settings,
        policy: Policy,
        traffic: Traffic,
        later: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        """`later` finishes what must be finished although the client has gone."""
        self._name, self._request, self._ask, self._pool = name, request, ask, pool
        self._meter, self._guess, self._later = meter, guess, later
        self._session, self._settings, self._policy = session, settings, policy
        self._traffic, self._began = traffic, time.monotonic()

    async def run(self, patience_ns: Span) -> web.StreamResponse:
        """Serve it. `patience_ns` is how long it may wait for replicas in all. Raises Refusal."""
        tried: frozenset[AttemptId] = frozenset()
        failures = attempts = 0
        while True:
            asked = time.monotonic_ns()
            replica = await self._pool.lease(self._ask.prefix, tried, patience_ns, first=attempts > 0)
            patience_ns -= time.monotonic_ns() - asked
            attempts += 1
            try:
                return await self._attempt(replica, attempts)
            except Failed as failed:
                self._judge(replica, failed)
                tried |= {replica.view.attempt}
                failures += failed.how != "unreached"
                if failures >= self._policy.attempts_max:
                    raise self._exhausted(failures, failed) from None
            finally:
                self._pool.release(replica)

    async def _attempt(self, replica: Replica, number: int) -> web.StreamResponse:
        # engines name their requests by this header, so each attempt needs a name of its own
        name = f"{self._name}.{number}"
        view, settings = self._pool.view, self._settings
        attempt = Attempt(
            session=self._session,
            settings=settings,
            service=view,
            replica=replica.view,
            ask=self._ask,
            name=name,
        )
        async with attempt:
            if not self._ask.stream:
                whole = await attempt.whole(self._ask.model)
                self._pool.succeeded(replica)
                return await self._answer(whole)
            stream = Stream(self._ask.model)
            held = await attempt.begin(stream)
            self._traffic.began(view.id, time.monotonic() - self._began)
            self._pool.succeeded(replica)
            return await self._relay(replica, attempt, stream, held)

    def _judge(self, replica: Replica, failed: Failed) -> None:
        match failed.how:
            case "unreached" | "dead":
                self._pool.failed(replica, failed.detail)
            case "error":
                self._pool.erred(replica, failed.detail)
            case "busy":
                pass  # alive and well; the next attempt goes elsewhere

    def _exhausted(self, failures: int, failed: Failed) -> Refusal:
        name, retry_ns = self._pool.view.name, self._policy.ns("retry_after")
        if failed.how == "busy":
            message = f"The replicas of {name} are all busy: {failed.detail}. Try again later."
            return Refusal(503, message, code="overloaded", retry_ns=retry_ns)
        message = f"{failures} attempts at replicas of {name} failed, the last one with: {failed.detail}."
        return Refusal(502, message, code="replica_failed")

    # ---- answers

    async def _answer(self, whole: Whole) -> web.Response:
        self._learn(whole.tally)
        guessed = 0 if whole.tally.usage else self._guess.tokens(whole.choices_bytes())
        await self._settle(whole.tally, guessed)
        return web.Response(
            body=whole.body(), content_type="application/json", headers={"X-Request-Id": self._name}
        )

    async def _relay(
        self, replica: Replica, attempt: Attempt, stream: Stream, held: bytes
    ) -> web.StreamResponse:
        client = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
                "X-Request-Id": self._name,
            }
        )
        settled = False
        try:
            await client.prepare(self._request)
            last = await self._copy(replica, attempt, stream, client, held)
            await self._settle(stream.tally)
            settled = True
            async with asyncio.timeout(self._settings.stall_s):
                await client.write_eof(last)
        except (ConnectionResetError, TimeoutError):
            # the client went away, or has stopped reading: leaving the attempt ends it upstream too
            if self._request.transport is not None:
                self._request.transport.abort()
        finally:
            if not settled:
                self._later(self._settle(stream.tally))
        return client

    async def _copy(
        self, replica: Replica, attempt: Attempt, stream: Stream, client: web.StreamResponse, block: bytes
    ) -> bytes:
        """Send on what comes; return what is to be sent when the tokens are durable."""
        try:
            piece: bytes | None = block
            while piece is not None:
                if piece:
                    await self._write(client, piece)
                tally = stream.tally
                tokens = self._prompt_tokens(tally), tally.completion_tokens
                self._meter.note(time.monotonic(), *tokens, estimated=tally.usage is None)
                piece = await attempt.go_on(stream)
            self._learn(stream.tally)
            return stream.end(self._ask.wants_usage)
        except Failed as failed:
            self._judge(replica, failed)
            self._traffic.broke(self._pool.view.id)
            message = f"A replica of {self._pool.view.name} broke off in the middle of this answer: "
            message += f"{failed.detail}. What came before is good; ask again for the rest."
            return Refusal(502, message, code="replica_failed").event()

    async def _write(self, client: web.StreamResponse, block: bytes) -> None:
        async with asyncio.timeout(self._settings.stall_s):
            await client.write(block)

    # ---- tokens

    def _prompt_tokens(self, tally: Tally) -> int:
        return tally.usage.prompt_tokens if tally.usage else self._guess.tokens(self._ask.prompt_chars)

    def _learn(self, tally: Tally) -> None:
        if tally.usage:
            self._guess.learn(self._ask.prompt_chars, tally.usage.prompt_tokens)

    async def _settle(self, tally: Tally, guessed: int = 0) -> None:
        """The last word on this request's tokens; durable when it returns. Without the engine's own count,
        as of a stream that was cut, they are an estimate."""
        tokens = self._prompt_tokens(tally), tally.completion_tokens or guessed
        await self._meter.close(*tokens, estimated=tally.usage is None)
