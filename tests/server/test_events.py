"""Subscribers never hold the wheel up: one that is too slow is dropped, and told so."""

import asyncio

from myriad.protocol import facts
from myriad.server.events import _LAG, Events

FACT = facts.IdleExplained(at=1, reason="quota")


async def _all(subscriber: object) -> list[bytes]:
    return [piece async for piece in subscriber.read()]  # type: ignore[attr-defined]


def test_a_slow_subscriber_gets_what_it_has_and_a_last_word() -> None:
    async def story() -> None:
        events = Events()
        slow = events.join()
        for seq in range(_LAG + 10):
            events.observe(seq, "", [FACT])
        assert len(events) == 0
        pieces = await _all(slow)
        assert len(pieces) == _LAG + 1 and b"too slow" in pieces[-1]
        assert pieces[0].startswith(b"id: 0\nevent: IdleExplained\ndata: {")

    asyncio.run(story())


def test_closing_ends_a_waiting_subscriber() -> None:
    async def story() -> None:
        events = Events()
        reader = asyncio.create_task(_all(events.join()))
        await asyncio.sleep(0)
        events.close()
        assert b"event: closed" in (await reader)[-1]

    asyncio.run(story())
