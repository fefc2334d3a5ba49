"""One job of the simulated world: what the brain is told of it, and what it really is."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from myriad.fleet.site import Site
from myriad.kernel.ids import JobId
from myriad.kernel.rng import Stream
from myriad.kernel.units import Instant, Span
from myriad.protocol.values import Outcome, Profile
from myriad.workload.jobs import TrainingJob
from myriad.workload.tenants import Tenant


class Truth(NamedTuple):
    """What a job is, whatever anybody said: the brain never sees it."""

    #: Useful run time on the nodes it asks for at most, well placed, without faults. A multiple of `step_ns`.
    work_ns: Span
    #: Of one step then. A job without steps counts in pieces of a minute at most.
    step_ns: Span
    #: How it ends by itself after `work_ns`: exit 0, exit 1, or its user cancels it then.
    outcome: Outcome = "succeeded"
    #: Of one whole checkpoint; 0: it never saves, and starts from nothing after an interruption.
    checkpoint_bytes: float = 0.0
    #: Step time of a gang that spans several racks, pods, cores, relative to one rack.
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    #: Share of a step in communication that nothing hides.
    exposed: float = 0.0
    #: Of one step of the whole gang; 0: it counts none.
    tokens: float = 0.0
    #: Model FLOPs of one step of the whole gang; 0: unknown.
    flops: float = 0.0


class Work(NamedTuple):
    """A job that arrives. Alike jobs share one `spec`."""

    at: Instant
    job: JobId
    spec: TrainingJob
    profile: Profile
    truth: Truth


class Refill(Protocol):
    """A closed loop: whoever submits waits until there is room in the queue."""

    def refill(self, now: Instant, waiting_jobs: int) -> list[Work]:
        """The jobs to submit now, so that as many wait as should."""
        ...


class Source(Protocol):
    """Where work comes from: a generator (`Workload`) or a trace (`Trace`)."""

    def tenants(self, site: Site) -> tuple[Tenant, ...]:
        """Whom to create first, parents before their parts."""
        ...

    def arrivals(self, site: Site, stream: Stream, span_ns: Span, start: Instant = 0) -> Iterator[Work]:
        """The jobs of [start, start + span) in order of `at`, made as they are asked for.

        Raises UserError at once, before the first job, if the site cannot hold what would come.
        """
        ...

    def backlog(self, site: Site, stream: Stream) -> Refill | None:
        """The closed loop, if it has one."""
        ...
