"""Is a replica ready for requests? Asked over HTTP, as a client would find it."""

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from myriad.kernel.ids import AttemptId
from myriad.protocol import inputs

_UNTIL_READY_S = 0.2
_WHILE_READY_S = 2.0
_AFTER_FAILURE_S = 0.5
_PATIENCE_S = 2.0
_FAILURES = 2


class Replicas:
    """Watches every replica that runs; tells what it finds first, then only changes."""

    def __init__(self, tell: Callable[[inputs.Input], None], clock: Callable[[], int]) -> None:
        self._tell, self._clock = tell, clock
        self._watches: dict[str, asyncio.Task[None]] = {}

    def watch(self, attempt: str, url: str) -> None:
        """Begin to ask, unless it is asked already."""
        if attempt not in self._watches:
            self._watches[attempt] = asyncio.create_task(self._watch(AttemptId(attempt), url))

    def forget(self, attempt: str) -> None:
        """It is over."""
        if task := self._watches.pop(attempt, None):
            task.cancel()

    def close(self) -> list[asyncio.Task[None]]:
        """Ask no more; the tasks to wait for."""
        tasks = list(self._watches.values())
        for attempt in list(self._watches):
            self.forget(attempt)
        return tasks

    async def _watch(self, attempt: AttemptId, url: str) -> None:
        # unknown at first: it may have been ready to a predecessor of ours, and have failed since
        ready: bool | None = None
        failures = 0
        while True:
            problem = await problem_of(url)
            failures = failures + 1 if problem else 0
            if not problem and not ready:
                ready = True
                self._tell(inputs.ReplicaReady(at=self._clock(), attempt=attempt, url=url))
            elif ready is not False and failures >= _FAILURES:
                ready = False
                self._tell(inputs.ReplicaUnready(at=self._clock(), attempt=attempt, detail=problem))
            pause_s = _WHILE_READY_S if ready else _UNTIL_READY_S
            await asyncio.sleep(_AFTER_FAILURE_S if ready and failures else pause_s)


async def problem_of(url: str) -> str:
    """What is wrong with the replica at that address; empty when GET /health answers 200."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            status = await _status(url)
    except TimeoutError:
        return f"no answer within {_PATIENCE_S:.0f} s"
    except OSError as error:
        return error.strerror or str(error)
    return "" if status == 200 else f"its health check answers {status or 'nonsense'}"


async def _status(url: str) -> int:
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(f"GET /health HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n".encode())
        words = (await reader.readline()).split()
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    except ValueError:  # a line without end
        return 0
    finally:
        writer.close()
