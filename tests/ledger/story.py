"""Site histories written by hand, second by second, in chips and seconds."""

from decimal import Decimal
from typing import Any

from myriad.fleet.columns import NodeState
from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import AttemptId, JobId, NodeId, RequestId, ServiceId, TenantId
from myriad.kernel.units import SECOND
from myriad.ledger import views
from myriad.ledger.ledger import Ledger
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.values import IdleReason, Member, StopCause
from myriad.workload.jobs import TrainingJob
from myriad.workload.prices import PriceBook, TokenPrice
from myriad.workload.services import InferenceService, ModelSource

ACME, OTHER = TenantId("acme"), TenantId("other")


def prices(hour: str = "36.00") -> PriceBook:
    """36.00 an hour: one cent a chip-second."""
    return PriceBook(
        chip_hour={"local-cpu": Decimal(hour)},
        tokens=TokenPrice(prompt=Decimal("2.00"), completion=Decimal("8.00")),
    )


def site(nodes: int, chips: int = 1) -> Site:
    return Site(
        name="s",
        chip="local-cpu",
        pods=(Pod(name="p", racks=1, nodes_per_rack=nodes),),
        chips_per_node=chips,
    )


class Story:
    """Tells facts at seconds, to a ledger that is checked to the last chip after each."""

    def __init__(self, nodes: int = 4, chips: int = 1, ready: bool = True, keep_ended: int = 100) -> None:
        self.ledger, self.told = Ledger(keep_ended), []
        self.tell(facts.SiteOpened, 0, site=site(nodes, chips), prices=prices())
        if ready:
            for k in range(nodes):
                self.node(0, f"n{k}", NodeState.READY)

    def tell(self, kind: type[Fact], second: float, **fields: Any) -> None:
        fact = kind(at=int(second * SECOND), **fields)
        self.told.append(fact)
        self.ledger.fold(fact)
        self.ledger.check_deeply()

    def node(self, second: float, node: str, state: NodeState) -> None:
        self.tell(facts.NodeMoved, second, node=NodeId(node), state=state)

    def idle(self, second: float, reason: IdleReason) -> None:
        self.tell(facts.IdleExplained, second, reason=reason)

    def admit(self, second: float, job: str = "j", nodes: int = 2, chips: int = 1) -> None:
        spec = TrainingJob(name=job, tenant=ACME, nodes=nodes, chips_per_node=chips, recipe="pretrain")
        self.tell(facts.JobAdmitted, second, job=JobId(job), spec=spec)

    def place(self, second: float, attempt: str, *nodes: str, mask: int = 1, service: str = "") -> None:
        owner = (
            {"service": ServiceId(service)} if service else {"job": JobId(attempt.split(".", maxsplit=1)[0])}
        )
        members = tuple(Member(node=NodeId(node), chips=mask) for node in nodes)
        self.tell(facts.GangPlaced, second, attempt=AttemptId(attempt), members=members, until=0, **owner)

    def run(self, second: float, attempt: str, step: int = 0) -> None:
        self.tell(facts.GangRunning, second, attempt=AttemptId(attempt), step=step)

    def steps(
        self, second: float, attempt: str, step: int, steps: int = 1, step_s: float = 1, **parts_s: float
    ) -> None:
        parts = {f"{name}_ns": int(seconds * SECOND) for name, seconds in parts_s.items()}
        self.tell(
            facts.StepsDone,
            second,
            attempt=AttemptId(attempt),
            step=step,
            steps=steps,
            step_ns=int(step_s * SECOND),
            **parts,
        )

    def checkpoint(self, second: float, attempt: str, step: int, stall_s: float = 0) -> None:
        self.tell(
            facts.CheckpointRecorded,
            second,
            job=JobId(attempt.split(".", maxsplit=1)[0]),
            attempt=AttemptId(attempt),
            step=step,
            path="x",
            stall_ns=int(stall_s * SECOND),
        )

    def stopping(self, second: float, attempt: str, cause: StopCause, since: float = 0) -> None:
        at = int(since * SECOND)
        self.tell(facts.GangStopping, second, attempt=AttemptId(attempt), cause=cause, since=at)

    def stopped(self, second: float, attempt: str, cause: StopCause, kept: int = 0) -> None:
        self.tell(facts.GangStopped, second, attempt=AttemptId(attempt), cause=cause, kept_step=kept)

    def lost(self, second: float, node: str, since: float = 0) -> None:
        signals, at = ("channel", "process"), int(since * SECOND)
        self.tell(facts.NodeLost, second, node=NodeId(node), evidence=signals, since=at)
        self.node(second, node, NodeState.REPAIRING)

    def serve(self, second: float, service: str = "chat", tenant: TenantId = ACME) -> None:
        spec = InferenceService(name=service, tenant=tenant, model=ModelSource(path="/m"), shared=True)
        self.tell(facts.ServiceSet, second, service=ServiceId(service), spec=spec, model_path="/m")

    def busy(self, second: float, share: float, service: str = "chat") -> None:
        self.tell(facts.ServiceLoaded, second, service=ServiceId(service), busy=share)

    def tokens(
        self,
        second: float,
        request: str,
        prompt: int,
        completion: int,
        final: bool = False,
        tenant: TenantId = OTHER,
        service: str = "chat",
        estimated: bool = False,
    ) -> None:
        self.tell(
            facts.TokensServed,
            second,
            request=RequestId(request),
            tenant=tenant,
            service=ServiceId(service),
            prompt_tokens=prompt,
            completion_tokens=completion,
            final=final,
            estimated=estimated,
        )

    def buckets(self, until: float) -> dict[str, float]:
        """Chip-seconds of the site by bucket, those without left out."""
        self.ledger.advance(int(until * SECOND))
        self.ledger.check_deeply()
        found = views.site(self.ledger).buckets
        return {name: amount / SECOND for name, amount in found.items() if amount}
