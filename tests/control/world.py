"""A core in a simulated world, ready to be asked: what most tests of the brain start from."""

from myriad.control.core import Core
from myriad.control.policy import Policy
from myriad.fleet.site import Site
from myriad.kernel.ids import JobId, ServiceId
from myriad.kernel.units import SECOND, span_ns
from myriad.protocol import inputs
from myriad.protocol.facts import Fact
from myriad.protocol.values import Profile
from myriad.protocol.wire import decode
from myriad.twin.drive import Driver
from myriad.twin.physics import Physics
from myriad.twin.world import World
from tests import build


class Rig(Driver):
    """A driver with an open site, its nodes in service, and a tenant."""

    def __init__(self, site: Site | None = None, seed: int = 0, physics: Physics | None = None) -> None:
        site = site or build.site()
        super().__init__(Core(Policy(), check=True), World(site, seed, physics))
        self.give(inputs.OpenSite(at=0, site=site))
        self.world.census()
        self.give(inputs.ApplyTenant(at=0, tenant=build.tenant()))
        self.pass_s(10)

    def pass_s(self, seconds: float) -> None:
        """Let virtual time pass."""
        end = self.world.now + int(seconds * SECOND)
        self.world.at(end, lambda: None)
        self.run(end)

    def submit(self, job: str = "train-1", **spec: object) -> JobId:
        """Submit a job built by tests.build."""
        made = build.job(**spec)  # type: ignore[arg-type]
        profile = Profile(
            steps=int(made.config.get("steps", 0)),
            tokens_per_step=1000,
            expected_ns=span_ns(made.expected) if made.expected else 0,
        )
        given = inputs.SubmitJob(at=self.world.now, job=JobId(job), spec=made, profile=profile)
        self.give(given)
        return JobId(job)

    def serve(self, name: str = "chat", **spec: object) -> ServiceId:
        """Apply a service built by tests.build."""
        made = build.service(name, **spec)  # type: ignore[arg-type]
        given = inputs.ApplyService(
            at=self.world.now, service=ServiceId(name), spec=made, model_path="/models/x"
        )
        self.give(given)
        return ServiceId(name)

    def facts(self, kind: type[Fact] | None = None) -> list[Fact]:
        """Every fact so far, or those of one kind."""
        every = [fact for body in self.journal for fact in decode(body).facts]
        return [fact for fact in every if kind is None or isinstance(fact, kind)]

    def nodes_of(self, job: str) -> tuple[str, ...]:
        """Nodes of the job's present attempt."""
        attempt = self.core.state.jobs[JobId(job)].attempt
        assert attempt, f"{job} has no attempt"
        return self.core.state.gangs[attempt].nodes
