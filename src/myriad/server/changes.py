"""A number that grows with every durable change, and a way to wait for the next. An observer of the wheel."""

import asyncio
from collections.abc import Callable, Sequence

from myriad.protocol.facts import Fact


class Changes:
    """Counts facts of some kinds, or all."""

    def __init__(self, *kinds: type[Fact]) -> None:
        self._kinds = kinds or (Fact,)
        self._next = asyncio.Event()
        self.version = 0

    def observe(self, _seq: int, _cause: str, happened: Sequence[Fact]) -> None:
        """Follow the journal."""
        if any(isinstance(fact, self._kinds) for fact in happened):
            self.version += 1
            self._next.set()
            self._next = asyncio.Event()

    async def after(self, version: int) -> int:
        """Wait until the version is above this one, and return it."""
        while self.version <= version:
            await self._next.wait()
        return self.version

    async def until(self, holds: Callable[[], bool], patience_s: float) -> bool:
        """Wait until something holds; False when it did not in time."""
        try:
            async with asyncio.timeout(patience_s):
                while not holds():
                    await self.after(self.version)
        except TimeoutError:
            return False
        return True
