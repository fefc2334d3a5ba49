"""Progress: once faults are over and nodes are given back, everything that can finish does within a bound."""

from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

from myriad.control import views
from myriad.fleet.columns import NodeState
from myriad.kernel import units
from myriad.kernel.ids import JobId
from myriad.kernel.units import DAY, HOUR, Span
from myriad.twin.checkers.base import Checker
from myriad.twin.checkers.reading import Job

#: The work that is left is done one job after the other, each so many times as long as on its fewest nodes.
#: Estimated: restarts and loading, in the worlds that are drawn here.
_TIMES = 4
#: Nodes come back and retries are paused meanwhile.
_AT_LEAST: Span = 24 * HOUR


class Progress(Checker):
    """Says what is not finished, by the facts alone."""

    law: ClassVar[str] = "progress"

    def bound_ns(self) -> Span:
        """Within this everything that can finish does."""
        total = _AT_LEAST
        for name, job in self.reading.jobs.items():
            work = self.scene.world.running.works.get(name)
            if work is not None:
                slower = job.spec.max_nodes / job.spec.min_nodes
                total += int(work.truth.work_ns * slower * max(work.truth.stretch) * _TIMES) + HOUR
            # a spent budget begins anew with its period
            for tenant in self.reading.path(job.spec.tenant):
                if budget := self.reading.tenants[tenant].budget:
                    total += units.span_ns(budget.every)
        return total

    def unfinished(self) -> Iterator[tuple[str, str]]:
        """What is still to come: the subject and what is expected of it."""
        reading = self.reading
        for name, job in reading.jobs.items():
            if self._can_finish(job):
                yield name, f"{name} ends"
        for node, state in reading.states.items():
            others = state is NodeState.OCCUPIED and node in reading.taken
            if state not in (NodeState.READY, NodeState.RETIRED) and not others:
                yield node, f"{node} is back in service, not {state.name}"
        for window in reading.windows.values():
            if window.end_at + HOUR < self.scene.world.now:
                yield window.name, f"window {window.name} is over"
        for service, wanted in reading.wanted.items():
            ready = sum(
                gang.service == service and gang.phase == "running" for gang in reading.gangs.values()
            )
            if ready != wanted and self._has_room(service, wanted - ready):
                yield service, f"{service} has the {wanted} replicas it wants, not {ready}"

    def _can_finish(self, job: Job) -> bool:
        """Not beside spares that are kept for others, nor when its reservation is over."""
        reading, site = self.reading, self.reading.site
        assert site is not None
        if job.spec.reservation and job.spec.reservation not in reading.windows:
            return False
        chip = job.spec.chip or site.chip
        usable = [
            place
            for node, place in reading.places.items()
            if place.chip == chip
            and place.chips >= job.spec.chips_per_node
            and node not in reading.spares
            and node not in reading.taken
        ]
        if job.spec.within:
            return (
                max(Counter(getattr(place, job.spec.within) for place in usable).values())
                >= job.spec.min_nodes
            )
        return len(usable) >= job.spec.min_nodes

    def _has_room(self, service: str, lacking: int) -> bool:
        """Whether its tenants may hold so many replicas more."""
        reading = self.reading
        spec = reading.services[service]  # type: ignore[index]
        for tenant in reading.path(spec.tenant):
            held = sum(gang.chips for gang in reading.gangs.values() if tenant in reading.path(gang.tenant))
            quota = reading.tenants[tenant].quota
            if held + lacking * spec.chips_per_replica > quota.chips + quota.borrow:
                return False
            if reading.tenants[tenant].budget:
                return False
        return True

    def demand(self) -> None:
        """The bound has passed. Raises BrokenLaw with the first that has not finished."""
        for subject, expected in self.unfinished():
            within = f"within {self.bound_ns() / DAY:.1f} d"
            raise self.broken(subject, f"{within} {expected}; it says: {self._told(subject)}")

    def _told(self, subject: str) -> str:
        """The core's own words about a job."""
        core = self.scene.core
        job = core.state.jobs.get(JobId(subject))
        return views.explain(core.moment(self.scene.world.now), job).text if job else "nothing"
