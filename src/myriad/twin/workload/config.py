"""The `workload` section of a scenario: what arrives, how much of it, from whom, and what users say of it."""

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from myriad.fleet.site import Site
from myriad.kernel import documents, units
from myriad.kernel.errors import UserError
from myriad.kernel.rng import Stream
from myriad.kernel.units import Instant, Span
from myriad.twin.workload import moments
from myriad.twin.workload.columns import Jobs
from myriad.twin.workload.crowds import crowd
from myriad.twin.workload.draws import Clock
from myriad.twin.workload.generator import Ask, Loop, Maker, arrivals, drawn, gang_of
from myriad.twin.workload.shapes import Estimates, JobClass, KeepWaiting, Rhythm, Shape, Share
from myriad.twin.workload.work import Refill, Work
from myriad.workload.tenants import Tenant

_DAY_S = 86400.0


class Workload(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What arrives at a site. Give one of `jobs_per_day`, `target_utilisation` and `backlog`."""

    about: str = ""
    classes: tuple[JobClass, ...]
    #: Jobs of all classes on an average day, on a site of `per_chips` chips; in proportion on other sites.
    jobs_per_day: float = 0.0
    #: 0: as many jobs on a site of any size.
    per_chips: int = 0
    #: So many jobs that their useful chip-time, without faults, is this share of the site's.
    target_utilisation: float = 0.0
    waiting: KeepWaiting | None = msgspec.field(default=None, name="backlog")
    rhythm: Rhythm = Rhythm()
    #: Parents before their parts; empty: one organisation of twenty users.
    shares: tuple[Share, ...] = msgspec.field(default=(), name="tenants")
    #: Larger gangs are cut down to so many chips; 0: none is, and one larger than the site is refused.
    largest: int = 0
    estimates: Estimates = Estimates()

    def __post_init__(self) -> None:
        self._not_negative("jobs_per_day", "per_chips", "target_utilisation", "largest")
        names = [kind.name for kind in self.classes]
        if not names or len(set(names)) != len(names):
            raise ValueError("classes must be one or more, each with a name of its own")
        if not sum(kind.share for kind in self.classes) > 0:
            raise ValueError("classes needs one with a share above 0")
        if (self.jobs_per_day > 0) + (self.target_utilisation > 0) + (self.waiting is not None) != 1:
            raise ValueError("give exactly one of jobs_per_day, target_utilisation and backlog")

    def tenants(self, site: Site) -> tuple[Tenant, ...]:
        """Whom to create first, parents before their parts."""
        return crowd(self.shares, self.classes, site).tenants

    def arrivals(self, site: Site, stream: Stream, span_ns: Span, start: Instant = 0) -> Iterator[Work]:
        """The jobs of [start, start + span) in order of time, made as they are asked for.

        `start` counts in the site's own time of day. Raises UserError before the first job if the site cannot
        hold what would come.
        """
        maker = Maker(self._ask, site, stream, "job-")
        clock = self._clock(maker, site, start)
        return arrivals(maker, clock, span_ns, start) if clock else iter(())

    def columns(self, site: Site, stream: Stream, span_ns: Span, start: Instant = 0) -> Iterator[Jobs]:
        """The same jobs as columns, for statistics: nothing is made of them."""
        maker = Maker(self._ask, site, stream, "job-")
        clock = self._clock(maker, site, start)
        return drawn(maker, clock, span_ns) if clock else iter(())

    def _clock(self, maker: Maker, site: Site, start: Instant) -> Clock | None:
        """When submissions come; None for a closed loop."""
        per_day = self.per_day(site)
        if per_day <= 0:
            return None
        submissions = per_day / maker.shapes.jobs_per_submission
        return Clock(submissions, self.rhythm.hours, self.rhythm.days, units.seconds(start))

    def backlog(self, site: Site, stream: Stream) -> Refill | None:
        """The closed loop, if it has one."""
        if self.waiting is None:
            return None
        return Loop(Maker(self._ask, site, stream.split("backlog"), "refill-"), self.waiting.jobs)

    @property
    def _ask(self) -> Ask:
        return Ask(self.classes, self.shares, self.estimates, self.largest)

    def per_day(self, site: Site) -> float:
        """Jobs on an average day; 0 for a closed loop."""
        if self.jobs_per_day:
            return self.jobs_per_day * (site.chip_count / self.per_chips if self.per_chips else 1.0)
        return self.target_utilisation * site.chip_count * _DAY_S / self.chip_s(site)

    def chip_s(self, site: Site) -> float:
        """Mean useful chip-seconds of a job on the site, whole chips and nodes counted."""
        largest = self.largest or math.inf
        return moments.chip_s(
            self.classes, lambda kind, size: gang_of(site, kind.chip, min(size, largest)).chips
        )

    def utilisation(self, site: Site) -> float:
        """Share of the site's chip-time that the jobs ask for, in the long run."""
        return self.per_day(site) * self.chip_s(site) / (site.chip_count * _DAY_S)


def parse(text: str, source: str) -> Workload:
    """The workload of a YAML text. Raises UserError naming the field."""
    tree = next(documents.documents(text, source))
    return documents.convert(tree, Workload, source)


def read(path: Path) -> Workload:
    """The workload of a file. Raises UserError naming file and field."""
    if path.is_dir():
        raise UserError("is a folder", field="file", value=str(path), remedy="Name a YAML file in it")
    return parse(documents.read(path), str(path))
