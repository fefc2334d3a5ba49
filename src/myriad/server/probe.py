"""Checks what the gateway says of a replica: one bad answer is not yet a replica that is down.

A replica that does not answer its health check either is unready, until it answers again; one that does
is left to the gateway, which gives it a rest by itself.
"""

import asyncio

import aiohttp

from myriad.control.records import GangPhase
from myriad.kernel.ids import AttemptId
from myriad.protocol.inputs import ReplicaReady, ReplicaUnready
from myriad.server.plane import Plane

_PATIENCE_S = 2.0
_LOOK_EVERY_S = 0.5


class Probe:
    """At most one look at each replica at a time."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._looks: dict[AttemptId, asyncio.Task[None]] = {}

    def suspect(self, attempt: AttemptId, detail: str) -> None:
        """Somebody got no good answer from it."""
        if attempt not in self._looks:
            look = asyncio.create_task(self._look(attempt, detail))
            self._looks[attempt] = look
            look.add_done_callback(lambda _: self._looks.pop(attempt, None))

    async def close(self) -> None:
        """Look no more."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    async def _look(self, attempt: AttemptId, detail: str) -> None:
        gangs, wheel = self._plane.state.gangs, self._plane.wheel
        if attempt not in gangs or await _answers(gangs[attempt].url):
            return
        wheel.tell(ReplicaUnready(at=0, attempt=attempt, detail=detail))
        while (gang := gangs.get(attempt)) and gang.phase is not GangPhase.STOPPING:
            if await _answers(gang.url):
                wheel.tell(ReplicaReady(at=0, attempt=attempt, url=gang.url))
                return
            await asyncio.sleep(_LOOK_EVERY_S)


async def _answers(url: str) -> bool:
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/health") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
