"""The law: every chip-nanosecond in exactly one bucket, after every fact of any history.

Three sources of histories: one written here that a core might emit (also in odd orders), the core itself
under random intents and contradictory observations, and the simulated world with nodes that die.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import AttemptId, JobId, NodeId
from myriad.kernel.rng import Stream
from myriad.kernel.units import SECOND
from myriad.ledger import costs, domains, invoices, predictions, views
from myriad.ledger.ledger import Ledger
from myriad.protocol import facts, wire
from myriad.protocol.facts import Fact
from myriad.protocol.inputs import Input
from tests import build
from tests.control.test_machine import Brain
from tests.control.world import Rig
from tests.ledger.story import ACME, Story, prices, site

PARTS = ("straggled", "exposed", "throttled")
CAUSES = ["done", "job", "node", "moved", "cancelled"]
BEFORE = st.sampled_from([0, 0, 0.3, 5, 1000])
SPAN = st.sampled_from([0, 0, 1, 333_333_333, SECOND, 7 * SECOND + 1])


class History(RuleBasedStateMachine):
    """Facts in any order that keeps one chip to one holder. Time may stand still, or seem to run back."""

    @initialize(nodes=st.integers(1, 5), chips=st.integers(1, 3))
    def begin(self, nodes: int, chips: int) -> None:
        self.story = Story(nodes=nodes, chips=chips, keep_ended=2)
        self.chips, self.at, self.number = chips, 0.0, 0
        self.live: dict[str, int] = {}  # attempt -> last step
        self.known = nodes

    def tell(self, kind: type[Fact], **fields: object) -> None:
        self.story.tell(kind, self.at, **fields)

    @rule(span=SPAN, back=st.booleans())
    def pass_time(self, span: int, back: bool) -> None:
        self.at += span / SECOND * (-0.1 if back and self.at > 10 else 1)

    def since(self, before: float) -> int:
        """An instant so many seconds ago, or none."""
        return max(0, int((self.at - before) * SECOND)) if before else 0

    @rule(k=st.integers(0, 4), state=st.sampled_from(list(NodeState)), lost=st.booleans(), before=BEFORE)
    def node(self, k: int, state: NodeState, lost: bool, before: float) -> None:
        node = NodeId(f"n{k % self.known}")
        if lost:
            since = self.since(before)
            self.tell(facts.NodeLost, node=node, evidence=("channel",), since=since)
        self.tell(facts.NodeMoved, node=node, state=state)

    @rule(k=st.integers(0, 4), spare=st.booleans())
    def spare(self, k: int, spare: bool) -> None:
        self.tell(facts.NodeSpared, node=NodeId(f"n{k % self.known}"), spare=spare)

    @rule(k=st.integers(0, 4), by=st.sampled_from(["", "others"]))
    def take(self, k: int, by: str) -> None:
        self.tell(facts.NodeTaken, node=NodeId(f"n{k % self.known}"), by=by)

    @rule(reason=st.sampled_from(["no_demand", "fragmentation", "quota", "held_back"]))
    def idle(self, reason: str) -> None:
        self.tell(facts.IdleExplained, reason=reason)

    @rule(nodes=st.integers(1, 5), price=st.sampled_from(["36.00", "1.23"]))
    def reopen(self, nodes: int, price: str) -> None:
        self.known = max(self.known, nodes)
        self.tell(facts.SiteOpened, site=site(nodes, self.chips), prices=prices(price))

    @rule(serve=st.booleans(), again=st.booleans())
    def place(self, serve: bool, again: bool) -> None:
        free = [
            node
            for node, record in self.story.ledger.nodes.items()
            if record.pool == self.chips and record.slot is not None and not record.gangs
        ][:2]
        if not free:
            return
        self.number += 0 if again and self.number else 1
        name = ("chat" if serve else "j") + str(self.number)
        if serve:
            self.story.serve(self.at, name)
        elif (known := self.story.ledger.jobs.get(JobId(name))) is not None and known.outcome is not None:
            return
        elif known is None:
            self.story.admit(self.at, name, nodes=len(free))
        if any(attempt.startswith(f"{name}.") for attempt in self.live):
            return
        attempt = f"{name}.{len(self.story.told)}"
        self.story.place(self.at, attempt, *free, mask=(1 << self.chips) - 1, service=name if serve else "")
        self.live[attempt] = 0

    @precondition(lambda self: self.live)
    @rule(k=st.integers(0, 9), step=st.integers(0, 30))
    def run(self, k: int, step: int) -> None:
        attempt = list(self.live)[k % len(self.live)]
        self.story.run(self.at, attempt, 0 if attempt.startswith("chat") else step)
        self.live[attempt] = step

    @precondition(lambda self: self.live)
    @rule(
        k=st.integers(0, 9),
        steps=st.integers(-1, 5),
        step_s=st.sampled_from([0, 0, 0.1, 3, 100]),
        stall=st.sampled_from([None, 0.0, 0.2, 50.0]),
        parts=st.none() | st.fixed_dictionaries(dict.fromkeys(PARTS, st.sampled_from([0, 0.1, 3, 100]))),
    )
    def work(
        self, k: int, steps: int, step_s: float, stall: float | None, parts: dict[str, float] | None
    ) -> None:
        attempt = list(self.live)[k % len(self.live)]
        if attempt.startswith("chat"):
            self.tell(facts.ReplicaStalled, attempt=AttemptId(attempt), until=0)
            return
        self.live[attempt] += steps
        self.story.steps(self.at, attempt, self.live[attempt], max(steps, 1), step_s, **(parts or {}))
        if stall is not None:
            self.story.checkpoint(self.at, attempt, self.live[attempt] - (steps > 3), stall)

    @precondition(lambda self: self.story.ledger.services)
    @rule(k=st.integers(0, 9), share=st.sampled_from([0.0, 1 / 3, 0.999_999_9, 1.0, 7.0]))
    def load(self, k: int, share: float) -> None:
        known = list(self.story.ledger.services)
        self.story.busy(self.at, share, known[k % len(known)])

    @precondition(lambda self: self.live)
    @rule(
        k=st.integers(0, 9),
        cause=st.sampled_from(CAUSES),
        stopped=st.booleans(),
        back=st.integers(0, 9),
        before=BEFORE,
    )
    def end(self, k: int, cause: str, stopped: bool, back: int, before: float) -> None:
        attempt = list(self.live)[k % len(self.live)]
        if not stopped:
            self.story.stopping(self.at, attempt, cause, self.since(before) / SECOND)  # type: ignore[arg-type]
            return
        kept = max(0, self.live.pop(attempt) - back)
        self.story.stopped(self.at, attempt, cause, kept)  # type: ignore[arg-type]
        if back % 2 and (job := JobId(attempt.split(".")[0])) in self.story.ledger.jobs:
            outcome = "succeeded" if cause == "done" else "cancelled"
            self.tell(facts.JobEnded, job=job, outcome=outcome)

    @invariant()
    def everything_can_be_read(self) -> None:
        if hasattr(self, "story"):
            ledger = self.story.ledger
            views.site(ledger), views.jobs(ledger), views.services(ledger), views.nodes(ledger)
            views.tenants(ledger), domains.sizes(ledger), costs.cost(ledger)
            pods = domains.domains(ledger)
            assert sum(pod.capacity_chip_ns for pod in pods) == ledger.capacity_ns
            assert invoices.invoice(invoices.usage(ledger, ACME)).total >= 0

    def teardown(self) -> None:
        if not hasattr(self, "story"):
            return
        again = Ledger(keep_ended=2)
        for fact in self.story.told:
            again.fold(fact)
        assert again.totals() == self.story.ledger.totals()
        split = Ledger()
        for fact in self.story.told:
            split.advance((split.now + fact.at) // 2)  # looking in between changes nothing
            split.fold(fact)
        assert split.totals() == again.totals()


class ToldByTheCore(Brain):
    """Whatever the core says when it is told anything."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()

    def give(self, given: Input) -> None:
        before = len(self.journal)
        super().give(given)
        for body in self.journal[before:]:
            for fact in wire.decode(body).facts:
                self.ledger.fold(fact)
                self.ledger.check_deeply()


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestToldByTheCore = ToldByTheCore.TestCase
TestToldByTheCore.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_the_simulated_world_with_dying_nodes_keeps_the_law_and_its_promises_are_scored() -> None:
    for seed in range(4):
        rig, chance = Rig(build.site(spares=1), seed), Stream(seed, "faults")
        rig.submit("a-1", nodes=3, config={"steps": 40})
        rig.submit("b-1", nodes=1, config={"steps": 30, "fail_at_step": 12, "exit_code": 3}, retries=1)
        rig.serve()
        for _ in range(6):
            rig.pass_s(chance.uniform(1, 12))
            rig.world.kill_node(NodeId(f"n{chance.integer(0, 5)}"))
        rig.pass_s(120)
        ledger = Ledger()
        for fact in rig.facts():
            ledger.fold(fact)
            ledger.check_deeply()
        state = rig.core.state
        assert ledger.losses == state.losses
        for name, job in state.jobs.items():
            found = views.job(ledger, name)
            assert found.outcome == job.outcome
            assert found.placements == job.attempts
            if job.outcome == "succeeded":
                assert found.buckets["productive"] >= job.profile.steps * found.step_ns_median // 2
        assert {score.job for score in predictions.scores(ledger)} <= set(state.jobs)
