"""Who works through many independent tasks: the processes of this machine, or a Ray cluster (`ray_executor`).

A task is bytes in and bytes out through a function that a fresh process can import, so that what comes out
depends on what goes in and on nothing else, and a task whose worker died can simply be done again.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Final, NamedTuple, Protocol

from myriad.kernel.errors import UserError, near

#: A function at the top of a module.
Work = Callable[[bytes], bytes]
#: Names for `--on`.
PLACES: Final = ("local", "ray")
#: So often in a row may workers die, with no task done in between, before we give up. Estimated: one death is
#: an accident, three in the same place are the task.
_MOST_DEATHS: Final = 3


class Done(NamedTuple):
    """One finished task."""

    number: int  # which of the tasks, counted from 0
    body: bytes


class Executor(Protocol):
    """Does tasks in any order, as many at a time as it has places."""

    @property
    def places(self) -> int:
        """Tasks done at the same time."""
        ...

    def results(self, work: Work, tasks: Iterable[bytes]) -> Iterator[Done]:
        """Each task's result as it comes. Tasks are taken as places free up, so there may be no end of them.

        What the function raises ends it and is raised here; a worker that dies does not.
        """
        ...


def named(place: str, workers: int = 0) -> Executor:
    """The executor of that name; `workers` 0: as many as it has cores. Raises UserError."""
    if place == "local":
        return Local(workers)
    if place == "ray":
        from myriad.studies.ray_executor import Ray

        return Ray()
    raise UserError("is no place to run on", field="--on", value=place, remedy=near(place, PLACES))


class Local:
    """Processes of this machine, started fresh (spawn): no state is inherited."""

    def __init__(self, workers: int = 0) -> None:
        self._workers = workers or cores()
        #: How often a worker died and its tasks were done again.
        self.deaths = 0

    @property
    def places(self) -> int:
        """Worker processes."""
        return self._workers

    def results(self, work: Work, tasks: Iterable[bytes]) -> Iterator[Done]:
        """See Executor."""
        return _Round(self, work, tasks).results()

    def pool(self) -> ProcessPoolExecutor:
        """A fresh pool of workers."""
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._workers, mp_context=context, initializer=_quietly)


class _Round:
    """One call of `Local.results`: what waits, what is in flight, and the pool, replaced when it breaks."""

    def __init__(self, owner: Local, work: Work, tasks: Iterable[bytes]) -> None:
        self._owner, self._work = owner, work
        self._new = enumerate(tasks)
        self._again: deque[tuple[int, bytes]] = deque()
        self._flying: dict[Future[bytes], tuple[int, bytes]] = {}
        self._pool = owner.pool()
        self._deaths_in_a_row = 0

    def results(self) -> Iterator[Done]:
        try:
            while self._launch():
                landed, _ = wait(self._flying, return_when=FIRST_COMPLETED)
                # several may have landed: told in the order of the tasks
                for future in sorted(landed, key=self._index):
                    index, task = self._flying.pop(future)
                    try:
                        body = future.result()
                    except BrokenProcessPool:
                        self._again.append((index, task))
                        continue
                    self._deaths_in_a_row = 0
                    yield Done(index, body)
                if self._again:
                    self._replace()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _index(self, future: Future[bytes]) -> int:
        return self._flying[future][0]

    def _launch(self) -> bool:
        """Keep every worker busy, with one task more each so that none waits. False: nothing is left."""
        while len(self._flying) < 2 * self._owner.places:
            found = self._again.popleft() if self._again else next(self._new, None)
            if found is None:
                break
            try:
                self._flying[self._pool.submit(self._work, found[1])] = found
            except BrokenProcessPool:
                self._again.append(found)
                self._replace()
        return bool(self._flying)

    def _replace(self) -> None:
        """A worker died, and with it its pool: do again what was in flight, in another."""
        self._owner.deaths += 1
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row > _MOST_DEATHS:
            raise UserError(
                f"died {self._deaths_in_a_row} times in a row, and no task was done in between",
                field="worker processes",
                remedy="Look for what kills them: most often there is too little memory for so many. "
                "Use fewer with --jobs",
            )
        for future, task in self._flying.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                continue
            self._again.append(task)
        self._flying = {future: task for future, task in self._flying.items() if task not in self._again}
        self._again = deque(sorted(self._again))
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._owner.pool()


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quietly() -> None:
    """A worker that is interrupted from the keyboard goes without a word: its parent says it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
