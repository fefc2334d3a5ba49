"""The in-memory engine: a world in virtual time behind the same face as the engines of real clusters."""

from collections.abc import Sequence

from myriad.protocol.inputs import Input
from myriad.protocol.orders import AnyOrder
from myriad.twin.world import World


class MemoryEngine:
    """Implements `kernel.ports.Engine`. Waiting costs nothing: `observe` moves the virtual clock.

    The world outlives the engine, as nodes outlive a control plane: a new engine over the same world
    adopts what runs there.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._open = False

    async def open(self) -> None:
        """Report every node and what runs on it; boot those that are down."""
        self._open = True
        self._world.census()

    def obey(self, order: AnyOrder) -> None:
        """Begin to carry out an order."""
        self._world.obey(order)

    async def observe(self) -> Sequence[Input]:
        """What happens next. Empty when the engine is closed or nothing will ever happen."""
        said = self._world.hear()
        while self._open and not said and self._world.pending():
            said = self._world.advance()
        return said

    async def close(self) -> None:
        """Let go; what runs goes on when the next engine moves the clock."""
        self._open = False
