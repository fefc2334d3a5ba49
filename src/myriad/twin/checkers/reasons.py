"""Every admitted job ends or has a stated reason to wait, which holds; nobody is stuck on the way."""

from collections.abc import Sequence
from typing import ClassVar

from myriad.control import views
from myriad.kernel.ids import JobId
from myriad.kernel.units import MINUTE, Instant, show_span
from myriad.protocol.facts import Fact
from myriad.protocol.values import Reason
from myriad.twin.checkers.base import Checker, Scene
from myriad.twin.checkers.reading import Job

#: Waiting jobs are asked about so often, so many of them in turn.
_EVERY, _ASKED = 400, 6
#: A deadline that has passed is acted on within this: messages may be late, fences take a repair's time-out.
_SLACK = 30 * MINUTE


class Reasons(Checker):
    """Asks about waiting jobs as their owners would, and compares the answer with the facts."""

    law: ClassVar[str] = "a stated reason to wait"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._next = 0
        #: Since when a job has been said to start in the next cycle.
        self._about: dict[JobId, Instant] = {}

    def follow(self, happened: Sequence[Fact]) -> None:
        """Now and then."""
        del happened
        if self.is_due(_EVERY):
            waiting = self._waiting()
            self._next += _ASKED
            turn = self._next % max(1, len(waiting))
            asked = (waiting[turn:] + waiting[:turn])[:_ASKED]
            again = [name for name in self._about if name not in asked]
            self._check(waiting, [*again, *asked])

    def at_end(self) -> None:
        """All that wait, once more."""
        self._check(self._waiting(), self._waiting())

    def _waiting(self) -> list[JobId]:
        return [name for name, job in self.reading.jobs.items() if job.attempt is None]

    def _check(self, waiting: list[JobId], asked: list[JobId]) -> None:
        state = self.scene.core.state
        if list(dict.fromkeys(waiting)) != waiting or len(waiting) != len(state.waiting):
            raise self.broken(
                waiting[0] if waiting else "", f"{len(waiting)} jobs wait, not {len(state.waiting)}"
            )
        for name in asked:
            if (job := self.reading.jobs.get(name)) is None or job.attempt is not None:
                self._about.pop(name, None)
                continue
            if name not in state.waiting:
                raise self.broken(name, f"{name} has neither a gang nor an end, so it waits")
            self._ask(name, job)
        for attempt, gang in self.reading.gangs.items():
            if gang.until and self.reading.now > gang.until + _SLACK:
                late = show_span(self.reading.now - gang.until)
                raise self.broken(attempt, f"{attempt} is not {gang.phase} {late} after it was to be over")

    def _ask(self, name: JobId, job: Job) -> None:
        now = max(self.reading.now, self.scene.world.now)
        core = self.scene.core
        told = views.explain(core.moment(now), core.state.jobs[name])
        if told.reasons:
            self._about.pop(name, None)
            for reason in told.reasons:
                self.scene.marks.hit(f"waits: {reason.code}")
                self._holds(name, job, reason, now)
            return
        since = self._about.setdefault(name, now)
        if now - max(since, job.waits_since) > _SLACK:
            raise self.broken(
                name, f"{name} starts in the next cycle, as is said for {show_span(now - since)}"
            )

    def _holds(self, name: JobId, job: Job, reason: Reason, now: Instant) -> None:
        """Whether what is said is so."""
        reading = self.reading
        chips = job.spec.min_nodes * job.spec.chips_per_node
        if reason.code == "backoff":
            true = job.held_until + _SLACK >= now
        elif reason.code == "site_closed":
            true = not reading.open
        elif reason.code == "quota":
            true = any(self._is_full(tenant, chips) for tenant in reading.path(job.spec.tenant))
        elif reason.code == "budget":
            true = any(reading.tenants[tenant].budget for tenant in reading.path(job.spec.tenant))
        elif reason.code == "reservation":
            true = bool(job.spec.reservation)
        else:
            true = bool(reason.text)
        if not true:
            raise self.broken(name, f"{name} waits for {reason.code} if that is so: {reason.text}")

    def _is_full(self, tenant: str, chips: int) -> bool:
        reading = self.reading
        held = sum(gang.chips for gang in reading.gangs.values() if tenant in reading.path(gang.tenant))
        quota = reading.tenants[tenant].quota  # type: ignore[index]
        return held + chips > quota.chips + quota.borrow
