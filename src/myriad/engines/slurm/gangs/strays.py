"""Jobs of ours in Slurm that no gang needs: another was first, somebody forbade it, or nobody knows it."""

import asyncio
import time
from collections.abc import Callable, Container, Mapping

from myriad.engines.slurm.asking.view import View
from myriad.engines.slurm.gangs.gang import Gang
from myriad.engines.slurm.where import Where
from myriad.kernel.ids import AttemptId

#: One that nobody ordered, as it seems, is left alone for so long.
_ORDERED_S = 60.0
#: One whose gang is over ends by itself; one that a restarted slurmctld brought back to life does not.
_ENDS_S = 10.0


class Strays:
    """Finds them at each look at Slurm and has them cancelled: they may not start, and only take up room."""

    def __init__(
        self,
        where: Where,
        gangs: Mapping[AttemptId, Gang],
        past: Container[AttemptId],
        cancel: Callable[[AttemptId, str], object],
    ) -> None:
        self._at, self._gangs, self._past, self._cancel = where, gangs, past, cancel
        self._seen_at: dict[str, float] = {}
        self._judging: asyncio.Task[None] | None = None

    def on_view(self, view: View) -> None:
        """Compare with Slurm's list of jobs."""
        now, found = time.monotonic(), []
        for attempt, jobs in view.own.items():
            if attempt.startswith("burn-in/"):
                continue
            one = self._gangs.get(AttemptId(attempt))
            found += [(AttemptId(attempt), job.id) for job in jobs if not one or one.job not in ("", job.id)]
        left = [(AttemptId(attempt), job.id) for attempt, jobs in view.left.items() for job in jobs]
        found += left
        self._seen_at = {job: self._seen_at.get(job, now) for _, job in found}
        if found and (self._judging is None or self._judging.done()):
            self._judging = self._at.tasks.start(self._judge(found, {job for _, job in left}))

    async def _judge(self, found: list[tuple[AttemptId, str]], left: Container[str]) -> None:
        standing = await self._at.tasks.insist(self._at.files.standing, {attempt for attempt, _ in found})
        now = time.monotonic()
        for attempt, job in found:
            claim, planned = standing[attempt]
            # whose claim went with its gang may be one that ends by itself
            patience_s = {"": _ORDERED_S, job: _ENDS_S}.get(claim, _ENDS_S if job in left else 0.0)
            if claim == job and (one := self._gangs.get(attempt)):
                one.job, one.left = job, False  # it was first, though we knew another one
            elif claim == job and planned and attempt not in self._past:
                continue  # who planned it looks after it
            elif now - self._seen_at.get(job, now) >= patience_s:
                self._cancel(attempt, job)
