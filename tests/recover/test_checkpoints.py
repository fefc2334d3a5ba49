"""How often to save to which tier, what memory copies survive, and that a wrong belief is put right."""

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myriad.control import launch
from myriad.control.apply import fold
from myriad.control.policy import Policy as Site
from myriad.kernel.ids import JobId, NodeId
from myriad.kernel.units import DAY, SECOND
from myriad.ledger.ledger import Ledger
from myriad.protocol import facts, inputs, orders
from myriad.protocol.values import Profile
from myriad.protocol.wire import decode
from myriad.recover import cadence, tiers
from myriad.recover.policy import Policy
from tests import build
from tests.control.world import Rig

POLICY = Policy()


# ---- rates and intervals -----------------------------------------------------------------------


def test_the_prior_gives_way_to_what_is_seen() -> None:
    prior = cadence.node_losses_per_ns(0, 0, POLICY) * DAY
    assert prior == pytest.approx(1 / 150)
    seen = cadence.node_losses_per_ns(200, 10_000 * DAY, POLICY) * DAY
    assert seen == pytest.approx(201 / 10_150)
    assert cadence.job_faults_per_ns(3, 2 * DAY, POLICY) * DAY == pytest.approx(1.0)
    assert cadence.memory_share(0, 0, POLICY) == pytest.approx(0.9)
    assert cadence.memory_share(0, 90, POLICY) == pytest.approx(0.09)


def test_two_tiers_against_the_formula() -> None:
    """1,024 nodes at one loss in 150 node-days fail every 3.5 h; 90 % of it goes back to memory."""
    rate = 1024 / (150 * DAY)
    both = cadence.intervals(storage_ns=10 * SECOND, memory_ns=SECOND, share=0.9, failures_per_ns=rate)
    mean_s = 150 * 86400 / 1024
    assert both.memory_s == pytest.approx(math.sqrt(2 * 1 * mean_s / 0.9) - 1)
    assert both.storage_s == pytest.approx(math.sqrt(2 * 10 * mean_s / 0.1) - 10)


@given(st.floats(0.01, 1000), st.floats(0.001, 1000), st.floats(0.01, 0.99), st.floats(1e-9, 1e-2))
def test_memory_is_used_only_where_it_is_more_often_than_storage(
    storage_s: float, memory_s: float, share: float, rate_s: float
) -> None:
    cost_ns, copy_ns, rate = int(storage_s * SECOND), int(memory_s * SECOND), rate_s / SECOND
    alone = cadence.intervals(storage_ns=cost_ns, memory_ns=0, share=share, failures_per_ns=rate)
    both = cadence.intervals(storage_ns=cost_ns, memory_ns=copy_ns, share=share, failures_per_ns=rate)
    assert alone.memory_s == 0
    if both.memory_s:
        assert both.memory_s < alone.storage_s <= both.storage_s
    else:
        assert both == alone


def test_time_out_of_service_does_not_count() -> None:
    rig = Rig(build.site(racks=2, nodes_per_rack=3, spares=0))
    state = rig.core.state
    before = state.service_ns
    rig.pass_s(1000)
    rig.give(inputs.DrainNode(at=rig.world.now, node=NodeId("n0")))
    assert state.service_ns - before == pytest.approx(6 * 1000 * SECOND, rel=1e-2)
    rig.world.kill_node(NodeId("n5"))
    rig.pass_s(1)
    before, since = state.service_ns, state.now
    rig.give(inputs.UndrainNode(at=rig.world.now + SECOND, node=NodeId("n0")))
    assert state.service_ns - before == 5 * (state.now - since)


# ---- memory copies -----------------------------------------------------------------------------


@given(st.integers(2, 24), st.data())
def test_copies_survive_exactly_when_no_rank_and_its_partner_are_both_gone(
    nodes: int, data: st.DataObject
) -> None:
    holds = data.draw(st.lists(st.booleans(), min_size=nodes, max_size=nodes))
    shift = data.draw(st.integers(0, nodes - 1))
    kept = {r for r in range(nodes) if holds[r]} | {(r - shift) % nodes for r in range(nodes) if holds[r]}
    assert tiers.recoverable(holds, shift) == (kept == set(range(nodes)))


@pytest.mark.parametrize("nodes", [2, 4, 8, 16])
def test_any_one_loss_is_survived_and_of_pairs_all_but_one_in_n_less_one(nodes: int) -> None:
    shift = tiers.shift(nodes)
    assert all(tiers.recoverable([k != lost for k in range(nodes)], shift) for lost in range(nodes))
    pairs = list(combinations(range(nodes), 2))
    fatal = [p for p in pairs if not tiers.recoverable([k not in p for k in range(nodes)], shift)]
    assert len(fatal) * (nodes - 1) == len(pairs)


def test_half_the_gang_away_is_another_rack_when_racks_are_full() -> None:
    racks = [rank // 8 for rank in range(32)]
    assert all(racks[rank] != racks[(rank + tiers.shift(32)) % 32] for rank in range(32))


def two_tiers(nodes: int = 4, **more: int) -> tuple[Rig, JobId]:
    rig = Rig(build.site(racks=4, nodes_per_rack=2, spares=2))
    config = {"steps": 200, "checkpoint_every_steps": 20, "memory_every_steps": 3, **more}
    return rig, rig.submit(nodes=nodes, config=config)


def balanced(rig: Rig) -> None:
    """The books of everything so far keep the law, and a fold gives the same state."""
    ledger = Ledger()
    for fact in rig.facts():
        ledger.fold(fact)
        ledger.check_deeply()
    assert fold(decode(body) for body in rig.journal).digest() == rig.core.state.digest()


def run_to(rig: Rig, job: JobId, step: int) -> None:
    while rig.core.state.jobs[job].step < step:
        rig.pass_s(0.1)


def test_one_lost_node_goes_back_to_memory_not_to_storage() -> None:
    rig, job = two_tiers()
    run_to(rig, job, 30)
    rig.world.kill_node(NodeId(rig.nodes_of(job)[1]))
    rig.pass_s(3)
    stopped = rig.facts(facts.GangStopped)[-1]
    assert isinstance(stopped, facts.GangStopped)
    assert stopped.tier == "memory" and stopped.kept_step in (30, 33)
    record = rig.core.state.jobs[job]
    assert record.stored_step == 20 and rig.core.state.memory_survived == 1
    running = rig.facts(facts.GangRunning)[-1]
    assert isinstance(running, facts.GangRunning) and running.step == stopped.kept_step
    assert record.kept_step == 20, "while it runs only storage is certain"
    rig.pass_s(200)
    assert record.outcome == "succeeded"
    balanced(rig)


def test_both_holders_lost_goes_back_to_storage() -> None:
    rig, job = two_tiers()
    run_to(rig, job, 30)
    nodes = rig.nodes_of(job)
    for rank in (1, 3):
        rig.world.kill_node(NodeId(nodes[rank]))
    rig.pass_s(3)
    stopped = rig.facts(facts.GangStopped)[-1]
    assert isinstance(stopped, facts.GangStopped)
    assert stopped.tier == "storage" and stopped.kept_step == 20
    assert rig.core.state.memory_died == 1
    rig.pass_s(200)
    assert rig.core.state.jobs[job].outcome == "succeeded"
    balanced(rig)


def test_a_second_loss_before_the_first_is_over_corrects_the_belief_downwards() -> None:
    rig, job = two_tiers()
    run_to(rig, job, 30)
    nodes = rig.nodes_of(job)
    rig.world.kill_node(NodeId(nodes[1]))
    rig.pass_s(0.4)
    record = rig.core.state.jobs[job]
    assert record.kept_step >= 30, "believed to be in memory"
    rig.world.kill_node(NodeId(nodes[3]))
    rig.pass_s(4)
    running = rig.facts(facts.GangRunning)[-1]
    assert isinstance(running, facts.GangRunning) and running.step == 20
    assert record.kept_step == 20 and record.memory_step <= record.step
    rig.pass_s(200)
    assert record.outcome == "succeeded"
    balanced(rig)


def test_the_launch_asks_for_memory_once_its_cost_is_known() -> None:
    rig, job = two_tiers()
    first = rig.core.outstanding()
    launches = [order.launch for order in first if isinstance(order, orders.StartGang)]
    assert all(launch.memory_every_s == 0 for launch in launches)
    run_to(rig, job, 10)
    rig.world.kill_node(NodeId(rig.nodes_of(job)[0]))
    while not (launches := [o.launch for o in rig.core.outstanding() if isinstance(o, orders.StartGang)]):
        rig.pass_s(0.05)
    (launch,) = launches
    assert 0 < launch.memory_every_s < 3600 and launch.memory_shift == 2 and launch.memory_step == 9


def test_copies_that_cost_next_to_nothing_are_not_rounded_away() -> None:
    rig = Rig(build.site(racks=4, nodes_per_rack=2, spares=2))
    state, job = rig.core.state, JobId("train-1")
    policy = Site(recover=Policy(memory_cost="1us", prior_losses=6_000_000.0))
    profile = Profile(steps=200, memory_copies=True)
    spec = build.job(4, config={"steps": 200})
    rig.give(inputs.SubmitJob(at=rig.world.now, job=job, spec=spec, profile=profile))
    found = launch.of_job(state, policy, state.jobs[job], [NodeId(node) for node in rig.nodes_of(job)])
    assert found.memory_every_s == 0.1


@pytest.mark.parametrize(
    ("can", "cost", "nodes", "asked"),
    [(True, "200ms", 4, True), (True, "0s", 4, False), (True, "200ms", 1, False), (False, "200ms", 4, False)],
)
def test_recipes_that_can_are_told_to_keep_copies_from_the_first_attempt_on(
    can: bool, cost: str, nodes: int, asked: bool
) -> None:
    rig = Rig(build.site(racks=4, nodes_per_rack=2, spares=2))
    state, policy = rig.core.state, Site(recover=Policy(memory_cost=cost))
    spec, job = build.job(nodes, config={"steps": 200}), JobId("train-1")
    profile = Profile(steps=200, memory_copies=can)
    rig.give(inputs.SubmitJob(at=rig.world.now, job=job, spec=spec, profile=profile))
    found = launch.of_job(state, policy, state.jobs[job], [NodeId(node) for node in rig.nodes_of(job)])
    assert bool(found.memory_every_s) == asked
    single = Site(recover=Policy(memory_cost="0s"))
    alone = launch.of_job(state, single, state.jobs[job], [NodeId(node) for node in rig.nodes_of(job)])
    assert (found.checkpoint_every_s > alone.checkpoint_every_s) == asked, "storage may be rarer then"


def test_only_who_never_comes_back_is_told_to_forget() -> None:
    rig, job = two_tiers()
    run_to(rig, job, 10)
    given: list[orders.StopGang] = []
    obey = rig.world.obey
    rig.world.obey = lambda order: (given.append(order), obey(order))[1]  # type: ignore
    rig.give(inputs.DrainNode(at=rig.world.now, node=NodeId(rig.nodes_of(job)[0])))
    rig.pass_s(5)
    rig.give(inputs.CancelJob(at=rig.world.now, job=job))
    rig.pass_s(5)
    stops = [order.forget for order in given if isinstance(order, orders.StopGang)]
    assert stops == [False, True]


def test_three_of_eight_lost_at_once_are_replaced_in_one_decision() -> None:
    rig = Rig(build.site(racks=3, nodes_per_rack=6, spares=3))
    job = rig.submit(nodes=8, config={"steps": 100})
    rig.pass_s(6)
    before = rig.nodes_of(job)
    placed = len(rig.facts(facts.GangPlaced))
    for rank in (1, 4, 6):
        rig.world.kill_node(NodeId(before[rank]))
    rig.pass_s(4)
    after = rig.nodes_of(job)
    (decision,) = rig.facts(facts.GangPlaced)[placed:]
    assert isinstance(decision, facts.GangPlaced)
    assert decision.replaced == (before[1], before[4], before[6])
    assert [rank for rank in range(8) if after[rank] != before[rank]] == [1, 4, 6]
