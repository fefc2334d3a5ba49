"""Makes tokens durable: now and then while a stream goes on, and before its end is told to the client.

Reports are cumulative and named by the request, so the last one counts and a repeated one costs nothing.
"""

import asyncio
from collections.abc import Callable

from myriad.gateway.ports import Sink
from myriad.kernel.ids import RequestId, ServiceId, TenantId
from myriad.kernel.units import Instant
from myriad.protocol.inputs import TokensMetered


class Guess:
    """Prompt tokens of a request whose engine never told: by the characters per token this service showed."""

    def __init__(self) -> None:
        # 4 characters a token is what English text shows; real counts soon outweigh it
        self._chars, self._tokens = 4, 1

    def learn(self, chars: int, tokens: int) -> None:
        """An engine counted a prompt."""
        self._chars += chars
        self._tokens += tokens

    def tokens(self, chars: int) -> int:
        """An estimate, at least 1."""
        return max(1, round(chars * self._tokens / self._chars))


class Meter:
    """The tokens of one request. Only one report is on its way at a time, so they arrive in order."""

    def __init__(
        self,
        *,
        request: RequestId,
        tenant: TenantId,
        service: ServiceId,
        sink: Sink,
        clock: Callable[[], Instant],
        charge: Callable[[int], None],
        every_s: float,
    ) -> None:
        self._request, self._tenant, self._service = request, tenant, service
        self._sink, self._clock, self._charge = sink, clock, charge
        self._every_s, self._due_s = every_s, 0.0
        self._charged = 0
        self._report: asyncio.Task[None] | None = None

    def note(
        self, now_s: float, prompt_tokens: int, completion_tokens: int, *, estimated: bool = False
    ) -> None:
        """A stream has come this far: report it when it is time, without holding the stream up."""
        if now_s < self._due_s or (self._report and not self._report.done()):
            return
        if self._due_s:  # the first second of a stream is not yet worth a report
            self._report = asyncio.create_task(
                self._send(prompt_tokens, completion_tokens, estimated, final=False)
            )
        self._due_s = now_s + self._every_s

    async def close(self, prompt_tokens: int, completion_tokens: int, *, estimated: bool = False) -> None:
        """The request is over; durable when this returns."""
        if self._report:
            await asyncio.wait({self._report})  # not cancelled with this caller, whose client may go
        await self._send(prompt_tokens, completion_tokens, estimated, final=True)

    async def _send(
        self, prompt_tokens: int, completion_tokens: int, estimated: bool, *, final: bool
    ) -> None:
        total = prompt_tokens + completion_tokens
        self._charge(max(0, total - self._charged))
        self._charged = max(total, self._charged)
        await self._sink.meter(
            TokensMetered(
                at=self._clock(),
                request=self._request,
                tenant=self._tenant,
                service=self._service,
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
                final=final,
                estimated=estimated,
            )
        )
