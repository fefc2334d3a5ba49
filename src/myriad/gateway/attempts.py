"""One try at one replica. Whatever goes wrong on its side ends as `Failed`, which says whether it lives.

A stream is held back until its first token has come: up to there nobody has seen anything, and another
replica can take over.
"""

import asyncio
from typing import Literal

import aiohttp

from myriad.gateway.asks import Ask
from myriad.gateway.faults import Refusal
from myriad.gateway.ports import ReplicaView, ServiceView
from myriad.gateway.replies import Garbled, Stream, Whole, told
from myriad.gateway.settings import Settings

#: unreached: it never got the request · dead: it did and broke off · error: it said so itself
#: · busy: it asked to be spared.
How = Literal["unreached", "dead", "error", "busy"]


class Failed(Exception):
    """The attempt brought nothing, or broke off."""

    def __init__(self, how: How, detail: str) -> None:
        super().__init__(detail)
        self.how, self.detail = how, detail


class Attempt:
    """An exchange with a replica; use as a context manager: leaving it early cancels it upstream."""

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession,
        settings: Settings,
        service: ServiceView,
        replica: ReplicaView,
        ask: Ask,
        name: str,
    ) -> None:
        self._session, self._settings = session, settings
        self._service, self._replica, self._ask, self._name = service, replica, ask, name
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> "Attempt":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._response is not None:
            # at its end the connection is already back in the pool; before it, closing tells the engine
            self._response.close()

    async def whole(self, model: str) -> Whole:
        """The complete answer. Raises Failed, or Refusal for what the engine finds wrong with the request."""
        try:
            async with asyncio.timeout(self._settings.answer_s):
                response = await self._post()
                return Whole(await response.read(), model)
        except TimeoutError:
            raise Failed("dead", f"no answer in {self._settings.answer_s:g} s") from None
        except Garbled as error:
            raise Failed("error", str(error)) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Failed("dead", _words(error)) from None

    async def begin(self, stream: Stream) -> bytes:
        """What to send on up to the first token. Raises Failed, or Refusal as `whole`."""
        held = b""
        try:
            async with asyncio.timeout(self._settings.first_byte_s):
                await self._post()
                while not (stream.begun or stream.complete):
                    held += await self._next(stream)
        except TimeoutError:
            raise Failed("dead", f"no token in {self._settings.first_byte_s:g} s") from None
        return held

    async def go_on(self, stream: Stream) -> bytes | None:
        """What to send on next; None when the stream is complete. Raises Failed."""
        try:
            async with asyncio.timeout(self._settings.stall_s):
                return await self._next(stream)
        except TimeoutError:
            if stream.complete:
                return None
            raise Failed("dead", f"its stream stood still for {self._settings.stall_s:g} s") from None
        except _Ended:
            return None

    async def _next(self, stream: Stream) -> bytes:
        assert self._response is not None
        if stream.trouble:
            raise Failed("error", str(stream.trouble))
        try:
            block = await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise Failed("dead", _words(error)) from None
        if block:
            return stream.feed(block)
        if stream.complete:
            raise _Ended
        raise Failed("dead", "its stream ended without a finish reason")

    async def _post(self) -> aiohttp.ClientResponse:
        """The answer's head. Raises as `whole`."""
        try:
            self._response = await self._session.post(
                f"{self._replica.url}/v1/{self._ask.endpoint}",
                data=self._ask.body(self._replica.upstream_model, self._service.engine),
                headers={"Content-Type": "application/json", "X-Request-Id": self._name},
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Failed("unreached", _words(error)) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Failed("dead", _words(error)) from None
        if self._response.status != 200:
            await self._raise_for(self._response)
        return self._response

    async def _raise_for(self, response: aiohttp.ClientResponse) -> None:
        try:
            said = told(await response.read())
        except (aiohttp.ClientError, OSError) as error:
            raise Failed("dead", _words(error)) from None
        said = said.replace(self._replica.upstream_model, self._service.name)
        status = response.status
        if status == 429:
            raise Failed("busy", said)
        if status in (502, 503, 504):
            raise Failed("dead", f"HTTP {status}: {said}")
        if status == 404:
            remedy = f"The engine {self._service.engine} of {self._service.name} does not know"
            raise Refusal(404, f"{remedy} /v1/{self._ask.endpoint}: {said}", code="not_supported")
        if 400 <= status < 500 and status not in (401, 403, 407, 408):
            raise Refusal(status, said, code="refused_by_engine")
        raise Failed("error", f"HTTP {status}: {said}")


class _Ended(Exception):
    """The replica has closed a complete stream."""


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
