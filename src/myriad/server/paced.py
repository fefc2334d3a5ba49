"""The simulated world at the pace of the wall clock: an engine to try a control plane without processes."""

import asyncio
import time
from collections.abc import Sequence

from myriad.protocol.inputs import Input
from myriad.protocol.orders import AnyOrder
from myriad.twin.world import World

_TICK_S = 0.01


class PacedEngine:
    """Implements `kernel.ports.Engine`. The world's clock follows ours, `speed` times as fast."""

    def __init__(self, world: World, speed: float = 1.0) -> None:
        self._world, self._speed = world, speed
        self._began_ns = time.monotonic_ns()
        self._open = False

    async def open(self) -> None:
        """Boot the nodes that are down, report those that are up."""
        self._open = True
        self._began_ns = time.monotonic_ns() - int(self._world.now / self._speed)
        self._world.census()

    def obey(self, order: AnyOrder) -> None:
        """Begin to carry out an order, as of now."""
        self._world.obey(order)

    async def observe(self) -> Sequence[Input]:
        """What happened since, as soon as something did."""
        while self._open:
            if said := self._catch_up():
                return said
            await asyncio.sleep(_TICK_S)
        return ()

    def _catch_up(self) -> Sequence[Input]:
        """Let everything happen that is due by now."""
        said = list(self._world.hear())
        due: list[bool] = []
        now = int((time.monotonic_ns() - self._began_ns) * self._speed)
        self._world.at(now, lambda: due.append(True))
        while not due:
            said += self._world.advance()
        return said

    async def close(self) -> None:
        """Let go; the world stands still."""
        self._open = False

    async def shutdown(self) -> None:
        """Nothing outlives this process."""
        await self.close()
