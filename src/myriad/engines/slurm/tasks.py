"""Work that goes on beside the looks: none of it is forgotten, and no error in it is passed over.

A shared folder that is away comes back, so what fails there is tried again. Anything else that such work
raises is a mistake of ours, and ends the engine: a gang that nobody follows any more would be worse.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

_RETRY_S = 2.0


class Tasks:
    """All tasks of an engine; `broken` is what the first of them died of."""

    def __init__(self, broke: Callable[[], None], say: Callable[[str], None]) -> None:
        """`broke` is called when one died, `say` with what is wrong with the shared folder, or nothing."""
        self.broken: BaseException | None = None
        self._broke, self.say = broke, say
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Awaitable[T]) -> asyncio.Task[T]:
        """Let it go on by itself."""
        task: asyncio.Task[T] = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def insist(self, deed: Callable[..., T], *args: object) -> T:
        """Do something in the shared folder, in a thread, until it can be done."""
        failed = False
        while True:
            try:
                done = await asyncio.to_thread(deed, *args)
            except OSError as error:
                failed = True
                self.say(str(error))
                await asyncio.sleep(_RETRY_S)
            else:
                if failed:
                    self.say("")
                return done

    async def close(self) -> None:
        """End all of it."""
        while tasks := list(self._running):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.broken = self.broken or error
            self._broke()
