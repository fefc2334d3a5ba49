"""Jobs that a scenario names one by one: the run of months that everything else is arranged around."""

from collections.abc import Iterator, Sequence

import msgspec

from myriad.fleet.site import Site
from myriad.kernel import units
from myriad.kernel.errors import UserError
from myriad.kernel.ids import JobId, TenantId
from myriad.kernel.units import Instant
from myriad.performance.goodput import STATE_BYTES
from myriad.protocol.values import Profile
from myriad.twin.workload.work import Truth, Work
from myriad.workload.jobs import Checkpoint, NodeRange, Priority, TrainingJob, check_name
from myriad.workload.tenants import Quota, Tenant


class Listed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training job, or `count` alike."""

    name: str
    nodes: int | NodeRange
    chips_per_node: int
    #: Useful run time on all its nodes, and of one step.
    lasts: str
    step: str = "10s"
    tenant: str = "research"
    #: After the start of the scenario.
    after: str = "0s"
    count: int = 1
    priority: Priority = "normal"
    chip: str = ""
    #: Parameters of its model (`405B`): a checkpoint has 14 bytes for each. Empty: it never saves.
    parameters: str = ""
    checkpoint: Checkpoint = Checkpoint()
    #: Whether it keeps copies in its peers' memory when the brain says so.
    memory_copies: bool = False
    retries: int = 100
    exposed: float = 0.0
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tokens: float = 0.0
    flops: float = 0.0

    def __post_init__(self) -> None:
        check_name(self.name)
        check_name(self.tenant)
        for name in ("lasts", "step", "after"):
            units.check_span(name, getattr(self, name))
        if not units.span_ns(self.step) or not units.span_ns(self.lasts):
            raise ValueError("step and lasts must be more than 0")
        if self.count < 1 or self.chips_per_node < 1:
            raise ValueError("count and chips_per_node must be 1 or more")
        if self.parameters:
            units.count(self.parameters)

    @property
    def most(self) -> int:
        """Nodes at its largest."""
        return self.nodes if isinstance(self.nodes, int) else self.nodes.max

    def works(self) -> Iterator[Work]:
        """The jobs."""
        step_ns = units.span_ns(self.step)
        steps = max(1, units.span_ns(self.lasts) // step_ns)
        size = STATE_BYTES * units.count(self.parameters) if self.parameters else 0.0
        spec = TrainingJob(
            name=self.name,
            tenant=TenantId(self.tenant),
            nodes=self.nodes,
            chips_per_node=self.chips_per_node,
            priority=self.priority,
            chip=self.chip,
            recipe="pretrain",
            checkpoint=self.checkpoint,
            retries=self.retries,
        )
        profile = Profile(
            steps=steps,
            expected_ns=steps * step_ns,
            tokens_per_step=int(self.tokens),
            flops_per_step=self.flops,
            parameters=int(size / STATE_BYTES),
            memory_copies=self.memory_copies,
            stretch=self.stretch,
        )
        truth = Truth(
            steps * step_ns, step_ns, "succeeded", size, self.stretch, self.exposed, self.tokens, self.flops
        )
        for number in range(1, self.count + 1):
            yield Work(units.span_ns(self.after), JobId(f"{self.name}-{number}"), spec, profile, truth)


def works(listed: Sequence[Listed], site: Site, start: Instant = 0) -> list[Work]:
    """All of them in the order of their time. Raises UserError for one that the site cannot hold."""
    found: list[Work] = []
    for one in listed:
        kinds = site.kinds()
        nodes, chips = kinds.get(one.chip or site.chip, (0, 0))
        if one.most > nodes or one.chips_per_node > chips:
            raise UserError(
                f"is larger than the site, which has {nodes} nodes of {chips} such chips",
                field=f"jobs: {one.name}",
                value=f"{one.most} nodes of {one.chips_per_node}",
                remedy="Make it smaller, or the site larger",
            )
        found += [work._replace(at=start + work.at) for work in one.works()]
    return sorted(found, key=lambda work: work.at)


def tenants(listed: Sequence[Listed], site: Site) -> tuple[Tenant, ...]:
    """Their tenants, who may hold all of the site."""
    names = dict.fromkeys(one.tenant for one in listed)
    return tuple(Tenant(name=TenantId(name), quota=Quota(chips=site.chip_count)) for name in names)
