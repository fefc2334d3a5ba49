"""Live facts for whoever listens: a bounded buffer for each, so that none can hold the wheel up."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from myriad.protocol.facts import Fact

#: Facts a subscriber may lag behind before it is dropped.
_LAG = 4096
_PULSE_S = 15.0


class Subscriber:
    """One listener's buffer, in the text form of server-sent events."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_LAG)
        self._end = b""

    def push(self, event: bytes) -> bool:
        """False when it lags too far: it gets what it has, and a last word."""
        if self._waiting.full():
            self._end = b'event: dropped\ndata: {"why":"this subscriber was too slow: connect again"}\n\n'
            return False
        self._waiting.put_nowait(event)
        return True

    def close(self) -> None:
        """The server stops."""
        self._end = b'event: closed\ndata: {"why":"the control plane stops"}\n\n'
        if not self._waiting.full():
            self._waiting.put_nowait(b"")

    async def read(self) -> AsyncIterator[bytes]:
        """Pieces of the stream until the end; a comment now and then shows that the line is alive."""
        while not (self._end and self._waiting.empty()):
            try:
                async with asyncio.timeout(_PULSE_S):
                    yield await self._waiting.get()
            except TimeoutError:
                yield b": still here\n\n"
        yield self._end


class Events:
    """Everybody who listens. An observer of the wheel."""

    def __init__(self) -> None:
        self._subscribers: dict[Subscriber, None] = {}

    def __len__(self) -> int:
        return len(self._subscribers)

    def observe(self, seq: int, _cause: str, happened: Sequence[Fact]) -> None:
        """Pass new facts on."""
        if not self._subscribers:
            return
        lines = [
            f"id: {seq}\nevent: {type(fact).__name__}\ndata: {msgspec.json.encode(fact).decode()}\n\n"
            for fact in happened
        ]
        event = "".join(lines).encode()
        for subscriber in [one for one in self._subscribers if not one.push(event)]:
            self.leave(subscriber)

    def join(self) -> Subscriber:
        """A new subscriber; hears facts from now on."""
        subscriber = Subscriber()
        self._subscribers[subscriber] = None
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """It has gone."""
        self._subscribers.pop(subscriber, None)

    def close(self) -> None:
        """End every stream."""
        for subscriber in list(self._subscribers):
            subscriber.close()
            self.leave(subscriber)
