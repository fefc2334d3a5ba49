"""Random intents and observations, late, duplicated and contradictory, straight into `Core.step`.

After every step: all invariants (Core(check=True)), the fold of the facts equals the live state, and every
gang that should move on has an order or a deadline. Nothing an engine can say may break the brain.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from myriad.control.apply import fold
from myriad.control.core import Core
from myriad.control.records import GangPhase
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import AttemptId, JobId, NodeId, RequestId, ServiceId, TenantId
from myriad.kernel.units import SECOND
from myriad.protocol import facts, inputs, orders, wire
from myriad.protocol.inputs import Input
from tests import build

NODES = [NodeId(f"n{k}") for k in range(6)] + [NodeId("n99")]
JOBS = [JobId(f"train-{k}") for k in range(5)]
SERVICES = [ServiceId("chat"), ServiceId("code")]
SIGNALS = ["channel", "process", "heartbeat", "peer"]

nodes = st.sampled_from(NODES)
instances = st.integers(0, 3).map(lambda k: f"i{k}")
codes = st.sampled_from([0, 0, 1, -9, 139])
small = st.integers(-1, 30)


class Brain(RuleBasedStateMachine):
    """One core, told anything."""

    def __init__(self) -> None:
        super().__init__()
        self.core = Core(check=True)
        self.at = 0
        self.journal: list[bytes] = []
        self.said: list[Input] = []
        self.attempts: list[AttemptId] = [AttemptId("train-0.1"), AttemptId("ghost-1.1")]
        self.held: dict[tuple[str, int], str] = {}

    def give(self, given: Input) -> None:
        self.said.append(given)
        step = self.core.step(given)
        for fact in step.facts:
            assert fact.at >= self.core.state.now or fact.at == self.core.state.now
            if isinstance(fact, facts.GangPlaced):
                self.attempts.append(fact.attempt)
                taken = [one.node for one in fact.members if self.core.state.nodes[one.node].taken_by]
                assert not taken, f"{fact.attempt} goes to {taken}, which others use"
        for order in step.orders:
            if isinstance(order, orders.StartGang):
                gang = self.core.state.gangs[order.attempt]
                assert gang.phase is GangPhase.PLACED, "an order to start what is not placed"
        if step.facts:
            self.journal.append(wire.encode(type(given).__name__, step.facts))

    def attempt(self, pick: int) -> AttemptId:
        """A recent attempt, sometimes a dead one."""
        return self.attempts[-1 - pick % min(len(self.attempts), 5)]

    @initialize(spares=st.integers(0, 2), quota=st.integers(1, 8))
    def begin(self, spares: int, quota: int) -> None:
        self.give(inputs.OpenSite(at=0, site=build.site(spares=spares)))
        self.give(inputs.ApplyTenant(at=0, tenant=build.tenant(chips=quota)))
        self.give(inputs.ApplyTenant(at=0, tenant=build.tenant("other", chips=3, borrow=2)))

    @rule(seconds=st.sampled_from([0, 0, 1, 5, 60, 200]))
    def pass_time(self, seconds: int) -> None:
        self.at += seconds * SECOND
        if seconds:
            self.ring()

    def ring(self) -> None:
        """Every deadline that came due rings, as a driver's timers would."""
        for order in self.core.outstanding():
            if isinstance(order, orders.WakeAt) and order.wake_at <= self.at:
                self.give(inputs.Woke(at=self.at, about=order.about))

    @rule(data=st.data())
    def join_all(self, data: st.DataObject) -> None:
        for node in NODES:
            record = self.core.state.nodes.get(node)
            if record and self.core.state.node_state(node) in (NodeState.JOINING, NodeState.REPAIRING):
                number = int(record.instance[1:]) + 1 if record.instance else 0
                instance = f"i{number}"
                self.give(inputs.NodeFenced(at=self.at, node=node, instance=record.instance))
                self.give(inputs.NodeJoined(at=self.at, node=node, instance=instance, chips=1))
                ok = data.draw(st.sampled_from([True, True, True, False]))
                self.give(inputs.NodeQualified(at=self.at, node=node, instance=instance, ok=ok))

    @rule(node=nodes, instance=instances, ok=st.booleans(), kind=st.integers(0, 2))
    def node_says(self, node: NodeId, instance: str, ok: bool, kind: int) -> None:
        said: list[Input] = [
            inputs.NodeJoined(at=self.at, node=node, instance=instance, chips=1),
            inputs.NodeQualified(at=self.at, node=node, instance=instance, ok=ok),
            inputs.NodeFenced(at=self.at, node=node, instance=instance if ok else ""),
        ]
        self.give(said[kind])

    @rule(node=nodes, source=st.sampled_from(SIGNALS), healthy=st.booleans(), known=st.booleans())
    def signal(self, node: NodeId, source: str, healthy: bool, known: bool) -> None:
        record = self.core.state.nodes.get(node)
        instance = record.instance if record and known else "i0"
        self.give(
            inputs.NodeSignalled(
                at=self.at,
                node=node,
                instance=instance,
                source=source,  # type: ignore[arg-type]
                healthy=healthy,
            )
        )

    @rule(
        job=st.sampled_from(JOBS),
        size=st.integers(1, 7),
        tenant=st.sampled_from(["acme", "other", "ghost"]),
        priority=st.sampled_from(["low", "normal", "high"]),
        retries=st.integers(0, 2),
        command=st.booleans(),
    )
    def submit(self, job: JobId, size: int, tenant: str, priority: str, retries: int, command: bool) -> None:
        more = {"command": ("x",)} if command else {}
        spec = build.job(size, tenant=tenant, priority=priority, retries=retries, **more)
        self.give(inputs.SubmitJob(at=self.at, job=job, spec=spec))

    @rule(job=st.sampled_from([*JOBS, JobId("ghost-1")]))
    def cancel(self, job: JobId) -> None:
        self.give(inputs.CancelJob(at=self.at, job=job, by="ann"))

    @rule(
        name=st.sampled_from(SERVICES),
        least=st.integers(0, 2),
        more=st.integers(0, 2),
        path=st.integers(0, 1),
    )
    def serve(self, name: ServiceId, least: int, more: int, path: int) -> None:
        spec = build.service(name, tenant="other", least=least, most=max(1, least + more))
        self.give(inputs.ApplyService(at=self.at, service=name, spec=spec, model_path=f"/m{path}"))

    @rule(name=st.sampled_from(SERVICES), in_flight=st.integers(0, 40), queued=st.integers(0, 9))
    def load(self, name: ServiceId, in_flight: int, queued: int) -> None:
        self.give(inputs.LoadObserved(at=self.at, service=name, in_flight=in_flight, queued=queued))

    @rule(name=st.sampled_from(SERVICES))
    def unserve(self, name: ServiceId) -> None:
        self.give(inputs.RemoveService(at=self.at, service=name))

    @rule(request=st.integers(0, 3), prompt=small, completion=small, final=st.booleans())
    def tokens(self, request: int, prompt: int, completion: int, final: bool) -> None:
        self.give(
            inputs.TokensMetered(
                at=self.at,
                request=RequestId(f"r{request}"),
                tenant=TenantId("acme"),
                service=SERVICES[0],
                prompt_tokens=max(0, prompt),
                completion_tokens=max(0, completion),
                final=final,
            )
        )

    @rule(node=nodes, back=st.booleans())
    def drain(self, node: NodeId, back: bool) -> None:
        kind = inputs.UndrainNode if back else inputs.DrainNode
        self.give(kind(at=self.at, node=node))

    @rule(node=nodes, by=st.sampled_from(["", "ann", "bob"]), until_s=st.sampled_from([-1, 0, 50, 5000]))
    def others_use(self, node: NodeId, by: str, until_s: int) -> None:
        self.give(inputs.NodeOccupied(at=self.at, node=node, by=by, until=until_s * SECOND))

    @rule(pick=st.integers(0, 4), node=nodes, code=codes, kind=st.integers(0, 3))
    def member_says(self, pick: int, node: NodeId, code: int, kind: int) -> None:
        attempt = self.attempt(pick)
        said: list[Input] = [
            inputs.MemberStarted(at=self.at, attempt=attempt, node=node),
            inputs.MemberExited(at=self.at, attempt=attempt, node=node, code=code),
            inputs.MemberGone(at=self.at, attempt=attempt, node=node),
            inputs.WorkerSpoke(at=self.at, attempt=attempt, node=node, text="x", fatal=code != 0),
        ]
        self.give(said[kind])

    @rule(pick=st.integers(0, 4), what=st.sampled_from(["start", "exit", "gone"]))
    def every_member_says(self, pick: int, what: str) -> None:
        gang = self.core.state.gangs.get(self.attempt(pick))
        for node in gang.nodes if gang else ():
            self.member_says(pick, node, 0, ["start", "exit", "gone"].index(what))

    @rule(pick=st.integers(0, 4), step=small, asked=st.booleans(), kind=st.integers(0, 4))
    def gang_says(self, pick: int, step: int, asked: bool, kind: int) -> None:
        attempt = self.attempt(pick)
        gang = self.core.state.gangs.get(attempt)
        request = gang.leave_request if gang and asked else "r"
        said: list[Input] = [
            inputs.TrainingResumed(at=self.at, attempt=attempt, step=step),
            inputs.StepsReported(at=self.at, attempt=attempt, step=step, tokens=10, step_ns=SECOND),
            inputs.CheckpointReported(at=self.at, attempt=attempt, step=step, path="p", request=request),
            inputs.ReplicaReady(at=self.at, attempt=attempt, url="http://x"),
            inputs.ReplicaUnready(at=self.at, attempt=attempt),
        ]
        self.give(said[kind])

    @rule(back=st.integers(0, 30))
    def again(self, back: int) -> None:
        """Anything said before may be said again, late."""
        if self.said:
            self.give(self.said[-1 - back % len(self.said)])

    @rule(spares=st.integers(0, 2), fewer=st.booleans())
    def open(self, spares: int, fewer: bool) -> None:
        self.give(inputs.OpenSite(at=self.at, site=build.site(2, 2 if fewer else 3, spares=spares)))

    @rule()
    def close(self) -> None:
        self.give(inputs.CloseSite(at=self.at, grace_ns=5 * SECOND))

    @rule()
    def restart(self) -> None:
        """The control plane dies and comes back: folded state, orders issued again."""
        folded = fold(wire.decode(body) for body in self.journal)
        assert folded.digest() == self.core.state.digest(), "fold differs from the live state"
        self.core = Core(self.core.policy, folded, check=True)
        self.core.outstanding()

    @invariant()
    def nobody_holds_more_than_the_limit(self) -> None:
        state = self.core.state
        for tenant, used in state.usage.items():
            assert used <= state.tenants[tenant].quota.limit, f"{tenant} holds {used}"

    @invariant()
    def what_must_move_has_a_deadline(self) -> None:
        for gang in self.core.state.gangs.values():
            if gang.phase in (GangPhase.PLACED, GangPhase.STALLED, GangPhase.STOPPING) or gang.leave_request:
                assert gang.until, f"{gang.attempt} could stay {gang.phase.name} for ever"

    @precondition(lambda self: self.journal)
    @rule()
    def ends_when_the_world_behaves(self) -> None:
        """Liveness: stop lying, answer every order, and whatever was going on comes to rest."""
        self.at += 1000 * SECOND
        self.ring()
        for _ in range(12):
            self.at += 200 * SECOND
            self.ring()
            for order in self.core.outstanding():
                self.answer(order)
        stopping = [g for g in self.core.state.gangs.values() if g.phase is GangPhase.STOPPING]
        assert not stopping, stopping

    def answer(self, order: orders.Order) -> None:
        if isinstance(order, orders.StopGang):
            for member in order.members:
                self.give(inputs.MemberGone(at=self.at, attempt=order.attempt, node=member.node))
        elif isinstance(order, orders.RepairNode):
            self.give(inputs.NodeFenced(at=self.at, node=order.node, instance=order.instance))
        elif isinstance(order, orders.StartGang) and order.attempt in self.core.state.gangs:
            for member in order.members:
                self.give(inputs.MemberStarted(at=self.at, attempt=order.attempt, node=member.node))


TestBrain = Brain.TestCase
TestBrain.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
