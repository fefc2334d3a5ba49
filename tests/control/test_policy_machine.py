"""The whole policy set at once, told anything: tenants in a tree, two chip types, windows, elastic gangs.

After every step all invariants hold, nobody was given more than its limit on any level of the tree, and
every gang stands where it may: on one chip type, inside its domain, on aligned blocks, on no row kept from
it. The indexes that the core keeps are those it would build after a restart. When the world behaves, all
comes to rest.
"""

from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from myriad.control import asks, views
from myriad.control.apply import fold
from myriad.control.core import Core
from myriad.control.policy import Policy
from myriad.control.records import GangPhase
from myriad.fleet.columns import NodeState
from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import MINUTE, SECOND
from myriad.protocol import facts, inputs, orders, wire
from myriad.protocol.inputs import Input
from myriad.protocol.values import Profile
from myriad.schedule import plan
from myriad.schedule.policy import Backfill, Order, Placement, Preemption
from myriad.workload.jobs import NodeRange
from myriad.workload.prices import PriceBook
from myriad.workload.tenants import Budget, Quota, Tenant
from myriad.workload.windows import Window
from tests import build
from tests.control.boards import check_same

#: Two pods of the site's own chip, in two cores, and one of another type with larger nodes.
PODS = (
    Pod(name="p0", racks=2, nodes_per_rack=3),
    Pod(name="p1", racks=2, nodes_per_rack=2, core="far"),
    Pod(name="p2", racks=1, nodes_per_rack=3, chip="h20", chips_per_node=8),
)
NODES = [NodeId(f"n{k}") for k in range(13)]
PRICES = PriceBook(chip_hour={"local-cpu": Decimal("1.00"), "h20": Decimal("3.00")})
#: name -> parent, chips, what it may borrow. Three levels.
TREE = {
    "org": ("", 40, 8),
    "team": ("org", 24, 12),
    "crew": ("org", 12, 24),
    "ann": ("team", 8, 24),
    "bob": ("team", 12, 0),
    "eve": ("crew", 6, 20),
    "lab": ("", 16, 30),
}
USERS = ["ann", "bob", "eve", "lab", "crew"]
JOBS = [JobId(f"train-{k}") for k in range(9)]

node = st.sampled_from(NODES)
node_sets = st.lists(node, min_size=1, max_size=4, unique=True)
sizes = st.one_of(
    st.integers(1, 4),
    st.tuples(st.integers(1, 3), st.integers(0, 4)).map(lambda s: NodeRange(min=s[0], max=s[0] + s[1])),
)
policies = st.builds(
    lambda order, place, fill, preempt, reclaim: Policy(
        order=Order(policy=order, starvation="3h", period="10m"),
        placement=Placement(policy=place),
        backfill=Backfill(policy=fill, reservations=4),
        preemption=Preemption(policy=preempt, reclaim=reclaim, min_run="5m", patience="5m"),
    ),
    st.sampled_from(["fair", "fifo"]),
    st.sampled_from(["packed", "first-fit"]),
    st.sampled_from(["easy", "conservative", "none"]),
    st.sampled_from(["cheapest", "cheapest", "none"]),
    st.booleans(),
)


class Brain(RuleBasedStateMachine):
    """One core and a body that answers some of its orders, sooner or later."""

    def __init__(self) -> None:
        super().__init__()
        self.core = Core(check=True)
        self.at = 0
        self.journal: list[bytes] = []
        self.timers: dict[str, int] = {}
        self.to_do: dict[str, orders.Order] = {}

    # ---- the wheel -------------------------------------------------------------------------------

    def give(self, given: Input) -> None:
        usage = dict(self.core.state.usage)
        step = self.core.step(given)
        for fact in step.facts:
            if isinstance(fact, facts.GangPlaced):
                self.is_well_placed(fact)
        if not isinstance(given, inputs.ApplyTenant):  # who moves takes along what it holds
            self.nobody_took_more_than_its_limit(usage)
        for order in step.orders:
            self.note(order)
        if step.facts:
            self.journal.append(wire.encode(type(given).__name__, step.facts))

    def note(self, order: orders.Order) -> None:
        if isinstance(order, orders.WakeAt):
            self.timers[order.about] = order.wake_at
        else:
            subject = getattr(order, "attempt", None) or getattr(order, "node", "")
            self.to_do[f"{type(order).__name__} {subject}"] = order

    def ring(self) -> None:
        """Every timer that was ordered rings when it is due, in order."""
        while due := min(((at, about) for about, at in self.timers.items() if at <= self.at), default=None):
            del self.timers[due[1]]
            self.give(inputs.Woke(at=self.at, about=due[1]))

    def answer(self, order: orders.Order) -> None:
        at = self.at
        match order:
            case orders.StartGang():
                self.give(inputs.GangStarted(at=at, attempt=order.attempt))
                self.give(inputs.TrainingResumed(at=at, attempt=order.attempt, step=0))
            case orders.StopGang():
                self.give(inputs.GangGone(at=at, attempt=order.attempt))
            case orders.AskCheckpoint():
                gang = self.core.state.gangs.get(order.attempt)
                step = gang.step if gang else 0
                said = inputs.CheckpointReported(
                    at=at, attempt=order.attempt, step=step, path="p", request=order.request
                )
                self.give(said)
            case orders.RepairNode() | orders.QualifyNode():
                self.revive(order.node)
            case orders.HoldNode():
                assert order.held == self.core.state.nodes[order.node].cordoned
            case orders.KeepGangs():
                pass  # nothing else runs here
            case _:
                raise AssertionError(order)

    def revive(self, name: NodeId) -> None:
        record = self.core.state.nodes[name]
        state = self.core.state.node_state(name)
        chips = int(self.core.state.columns.chips[self.core.state.columns.index[name]])
        if state in (NodeState.JOINING, NodeState.REPAIRING):
            self.give(inputs.NodeFenced(at=self.at, node=name, instance=record.instance))
            fresh = f"i{int(record.instance[1:] or 0) + 1}"
            self.give(inputs.NodeJoined(at=self.at, node=name, instance=fresh, chips=chips))
        self.give(inputs.NodeQualified(at=self.at, node=name, instance=record.instance, ok=True))

    # ---- what must hold ---------------------------------------------------------------------------

    def is_well_placed(self, fact: facts.GangPlaced) -> None:
        """On one chip type, inside its domain, in aligned blocks, on no row that is kept from it."""
        state, columns = self.core.state, self.core.state.columns
        rows = [columns.index[member.node] for member in fact.members]
        kinds = {columns.kinds.all[columns.pod_kind[columns.pod[row]]] for row in rows}
        spec = state.jobs[fact.job].spec if fact.job else None
        assert kinds == {(spec.chip if spec else "") or "local-cpu"}, f"{fact.attempt} on {kinds}"
        if spec and spec.within:
            of = {"rack": columns.rack, "pod": columns.pod, "core": columns.pod_core[columns.pod]}
            assert len({int(of[spec.within][row]) for row in rows}) == 1, (
                f"{fact.attempt} left its {spec.within}"
            )
        for member in fact.members:
            assert not state.nodes[member.node].taken_by, f"{fact.attempt} on a node that others use"
            first = (member.chips & -member.chips).bit_length() - 1
            block = 1 << (member.chip_count - 1).bit_length()
            assert member.chips == ((1 << member.chip_count) - 1) << first, "chips side by side"
            assert first % block == 0, f"{member.chips:b} lies across blocks of {block}"
        if spec:
            assert spec.chips_per_node == fact.members[0].chip_count
            # asked as it was asked then: it had no attempt, and held nothing
            ask = asks.of_job(state, state.jobs[fact.job])
            barred = state.barred(ask, fact.at)
            assert barred is None or not set(barred.tolist()) & set(rows), f"{fact.attempt} on a kept node"

    def nobody_took_more_than_its_limit(self, before: dict[TenantId, int]) -> None:
        state = self.core.state
        for name, used in state.usage.items():
            over = used > state.tenants[name].quota.limit
            assert not over or used <= before.get(name, 0), f"{name} was given {used}"

    @invariant()
    def the_board_is_what_a_restart_would_build(self) -> None:
        if self.core.state.site and not self.pauses_ring_late():
            check_same(self.core, self.core.state, self.at)

    def pauses_ring_late(self) -> bool:
        """A pause is over and nobody said so: only its timer brings the job back into a live queue."""
        late = [about for about, at in self.timers.items() if at <= self.at]
        return any(about.startswith(("job:", "pause:")) for about in late)

    @invariant()
    def everything_that_waits_can_be_explained(self) -> None:
        moment = self.core.moment(self.at)
        for name in self.core.state.waiting:
            views.explain(moment, self.core.state.jobs[name])

    # ---- what people ask --------------------------------------------------------------------------

    @initialize(policy=policies, spares=st.integers(0, 2))
    def begin(self, policy: Policy, spares: int) -> None:
        self.core = Core(policy, check=True)
        site = Site(name="test", chip="local-cpu", pods=PODS, chips_per_node=4, spares=spares)
        self.give(inputs.OpenSite(at=0, site=site, prices=PRICES))
        for name in NODES:
            self.revive(name)
        self.to_do.clear()
        for name, (parent, chips, borrow) in TREE.items():
            self.give(inputs.ApplyTenant(at=0, tenant=self.tenant(name, parent, chips, borrow)))

    @staticmethod
    def tenant(name: str, parent: str, chips: int, borrow: int, budget: str = "") -> Tenant:
        quota = Quota(chips=chips, borrow=borrow)
        money = Budget(amount=budget, every="1d") if budget else None
        return Tenant(name=TenantId(name), parent=TenantId(parent), quota=quota, budget=money)

    @rule(
        name=st.sampled_from(sorted(TREE)),
        chips=st.integers(-6, 6),
        borrow=st.integers(0, 30),
        poor=st.booleans(),
    )
    def change_tenant(self, name: str, chips: int, borrow: int, poor: bool) -> None:
        parent, had, _ = TREE[name]
        asked = self.tenant(name, parent, max(0, had + chips), borrow, "40.00" if poor else "")
        self.give(inputs.ApplyTenant(at=self.at, tenant=asked))

    @rule(name=st.sampled_from(["ann", "bob", "eve"]), parent=st.sampled_from(["team", "crew", "org"]))
    def move_tenant(self, name: str, parent: str) -> None:
        self.give(inputs.ApplyTenant(at=self.at, tenant=self.tenant(name, parent, 4, 20)))

    @rule(
        job=st.sampled_from(JOBS),
        nodes=sizes,
        tenant=st.sampled_from(USERS),
        chips=st.sampled_from([1, 2, 3, 4, 4, 8]),
        chip=st.sampled_from(["", "", "", "h20"]),
        more=st.fixed_dictionaries(
            {
                "priority": st.sampled_from(["low", "normal", "high"]),
                "within": st.sampled_from(["", "", "rack", "pod", "core"]),
                "deadline": st.sampled_from(["", "", "6h"]),
                "budget": st.sampled_from(["", "", "5.00"]),
                "reservation": st.sampled_from(["", "", "", "kept"]),
            }
        ),
        plain=st.booleans(),
        expected_s=st.sampled_from([0, 60, 600, 7200, 7200]),
    )
    def submit(
        self,
        plain: bool,
        job: JobId,
        nodes: Any,
        tenant: str,
        chips: int,
        chip: str,
        more: Any,
        expected_s: int,
    ) -> None:
        more = more | ({"command": ("x",)} if plain else {})
        spec = build.job(nodes, tenant=tenant, chips_per_node=chips, chip=chip, **more)
        profile = Profile(expected_ns=expected_s * SECOND)
        self.give(inputs.SubmitJob(at=self.at, job=job, spec=spec, profile=profile))

    @rule(job=st.sampled_from(JOBS))
    def cancel(self, job: JobId) -> None:
        self.give(inputs.CancelJob(at=self.at, job=job, by="ann"))

    @rule(least=st.integers(0, 1), most=st.integers(1, 3), tenant=st.sampled_from(["eve", "lab"]))
    def serve(self, least: int, most: int, tenant: str) -> None:
        spec = build.service("chat", tenant=tenant, least=least, most=most)
        self.give(inputs.ApplyService(at=self.at, service=ServiceId("chat"), spec=spec, model_path="/m"))

    @rule(in_flight=st.integers(0, 40))
    def load(self, in_flight: int) -> None:
        self.give(inputs.LoadObserved(at=self.at, service=ServiceId("chat"), in_flight=in_flight, queued=0))

    @rule()
    def unserve(self) -> None:
        self.give(inputs.RemoveService(at=self.at, service=ServiceId("chat")))

    @rule(
        reserved=st.booleans(),
        nodes=node_sets,
        begins_s=st.sampled_from([0, 60, 3600]),
        lasts_s=st.sampled_from([60, 1800, 7200]),
        tenant=st.sampled_from(["ann", "team", "lab"]),
    )
    def keep(self, reserved: bool, nodes: list[NodeId], begins_s: int, lasts_s: int, tenant: str) -> None:
        window = Window(
            name="kept" if reserved else "mend",
            kind="reservation" if reserved else "maintenance",
            nodes=tuple(nodes),
            start_at=self.at + begins_s * SECOND,
            end_at=self.at + (begins_s + lasts_s) * SECOND,
            tenant=TenantId(tenant if reserved else ""),
        )
        self.give(inputs.SetWindow(at=self.at, window=window))

    @rule(name=st.sampled_from(["kept", "mend"]))
    def end_window(self, name: str) -> None:
        self.give(inputs.EndWindow(at=self.at, name=name))

    @rule(name=node, back=st.booleans())
    def drain(self, name: NodeId, back: bool) -> None:
        self.give((inputs.UndrainNode if back else inputs.DrainNode)(at=self.at, node=name))

    # ---- what happens -----------------------------------------------------------------------------

    @rule(names=node_sets, by=st.sampled_from(["", "", "zoe", "max"]), for_s=st.sampled_from([0, 600, 7200]))
    def others_use(self, names: list[NodeId], by: str, for_s: int) -> None:
        """Said of some nodes at once, by a scheduler that is not ours."""
        until = self.at + for_s * SECOND if for_s else 0
        for name in names:
            self.give(inputs.NodeOccupied(at=self.at, node=name, by=by, until=until))

    @rule(name=node)
    def lose(self, name: NodeId) -> None:
        self.give(inputs.NodeFenced(at=self.at, node=name))

    @rule(pick=st.integers(0, 5), code=st.sampled_from([0, 0, 0, 1, -9]))
    def ends(self, pick: int, code: int) -> None:
        if gangs := list(self.core.state.gangs):
            self.give(inputs.GangExited(at=self.at, attempt=gangs[pick % len(gangs)], code=code))

    @rule(pick=st.integers(0, 5))
    def vanishes(self, pick: int) -> None:
        if gangs := list(self.core.state.gangs):
            self.give(inputs.GangGone(at=self.at, attempt=gangs[pick % len(gangs)]))

    @rule(pick=st.integers(0, 5), steps=st.integers(1, 9), step_s=st.integers(0, 90))
    def progresses(self, pick: int, steps: int, step_s: int) -> None:
        if gangs := list(self.core.state.gangs.values()):
            gang = gangs[pick % len(gangs)]
            said = inputs.StepsReported(
                at=self.at, attempt=gang.attempt, step=gang.step + steps, tokens=1, step_ns=step_s * SECOND
            )
            self.give(said)

    @rule(count=st.integers(1, 9))
    def body_answers(self, count: int) -> None:
        for subject in list(self.to_do)[:count]:
            self.answer(self.to_do.pop(subject))

    @rule(seconds=st.sampled_from([1, 60, 400, 1200, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.at += seconds * SECOND
        self.ring()

    @rule()
    def time_passes_unnoticed(self) -> None:
        """A timer rings late: questions come before it."""
        self.at += 30 * SECOND

    @rule()
    def restart(self) -> None:
        """The control plane dies and comes back: what it knows is folded, its orders are issued again."""
        folded = fold(wire.decode(body) for body in self.journal)
        assert folded.digest() == self.core.state.digest(), "fold differs from the live state"
        assert folded.holders == self.core.state.holders and folded.paths == self.core.state.paths
        if not self.pauses_ring_late():
            check_same(self.core, folded, self.at)
        self.core = Core(self.core.policy, folded, check=True)
        self.to_do.clear()
        self.timers.clear()
        for order in self.core.outstanding():
            self.note(order)

    # ---- rest -------------------------------------------------------------------------------------

    @rule()
    def comes_to_rest(self) -> None:
        """The world behaves: every order is answered, every timer rings. Then nothing is half done."""
        for _ in range(14):
            self.at += 5 * MINUTE
            self.ring()
            for subject in list(self.to_do):
                self.answer(self.to_do.pop(subject))
        for _ in range(6):  # what was ordered in the last of these minutes is answered, too
            for subject in list(self.to_do):
                self.answer(self.to_do.pop(subject))
        for gang in self.core.state.gangs.values():
            assert gang.phase is not GangPhase.STOPPING, f"{gang.attempt} stays stopping: {gang}"
        for name, record in self.core.state.nodes.items():
            kind = self.core.state.node_state(name)
            ends = (NodeState.READY, NodeState.DRAINED, NodeState.OCCUPIED)
            assert kind in ends, f"{name} stays {kind.name}"
            assert (kind is NodeState.DRAINED) == record.cordoned
            if record.cordoned_by.startswith("window "):
                self.is_cordoned_by_a_window(name, record.cordoned_by.removeprefix("window "))
        self.nobody_waits_without_need()

    def is_cordoned_by_a_window(self, name: NodeId, window: str) -> None:
        known = self.core.state.windows.get(window)
        assert known and name in known.nodes, f"{name} is kept for {window}, which does not want it"

    def nobody_waits_without_need(self) -> None:
        """Asked again without any news, the scheduler places nothing; the front really has no room."""
        moment = self.core.moment(self.at)
        before = list(self.core.state.gangs)
        self.give(inputs.Woke(at=self.at, about="job:nobody"))
        fresh = [attempt for attempt in self.core.state.gangs if attempt not in before]
        assert not fresh, f"{fresh} could have started before"
        front = self.core.board.front
        if front is not None and (ask := self.core.board.queue.get(front.owner)):
            decided = plan.decide(self.core.state, self.core.board, moment.rules, self.at, ask)
            assert isinstance(decided, plan.Waits), f"{front.owner} is in front and could start"


Brain.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestPolicies = Brain.TestCase
