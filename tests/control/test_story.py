"""The behaviours an operator relies on, each in a simulated world with every invariant checked."""

import pytest

from myriad.control import views
from myriad.control.records import GangPhase
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import AttemptId, JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import SECOND
from myriad.protocol import facts, inputs, orders
from tests import build
from tests.control.world import Rig


def test_a_job_runs_to_its_end_on_one_rack() -> None:
    rig = Rig()
    job = rig.submit(nodes=2)
    rig.pass_s(1)
    racks = {rig.core.state.columns.rack[rig.core.state.columns.index[NodeId(n)]] for n in rig.nodes_of(job)}
    assert len(racks) == 1
    rig.pass_s(60)
    assert rig.core.state.jobs[job].outcome == "succeeded"
    assert not rig.core.state.gangs and rig.core.state.usage["acme"] == 0


def test_a_killed_node_is_replaced_by_the_spare_and_the_rest_keep_their_places() -> None:
    rig = Rig()
    job = rig.submit(nodes=4, config={"steps": 60})
    rig.pass_s(6)
    before = rig.nodes_of(job)
    spare = next(v.node for v in views.nodes(rig.core.state) if v.spare)
    rig.world.kill_node(NodeId(before[1]))
    rig.pass_s(2)
    after = rig.nodes_of(job)
    assert after == (before[0], spare, before[2], before[3])
    placed = rig.facts(facts.GangPlaced)[-1]
    assert isinstance(placed, facts.GangPlaced) and placed.replaced == (before[1],)
    rig.pass_s(120)
    ended = rig.core.state.jobs[job]
    assert ended.outcome == "succeeded" and ended.faults == 0
    assert [one.cause for one in ended.history] == ["node", "done"]
    first = ended.history[0]
    assert first.kept_step % 5 == 0 and ended.history[1].resumed_step == first.kept_step


def test_two_of_four_nodes_are_replaced_in_one_decision() -> None:
    rig = Rig(build.site(racks=2, nodes_per_rack=4, spares=2))
    job = rig.submit(nodes=4, config={"steps": 60})
    rig.pass_s(6)
    before = rig.nodes_of(job)
    for node in before[1:3]:
        rig.world.kill_node(NodeId(node))
    rig.pass_s(3)
    after = rig.nodes_of(job)
    assert (after[0], after[3]) == (before[0], before[3])
    assert not set(after[1:3]) & set(before)
    assert rig.core.state.jobs[job].attempts == 2


def test_a_frozen_node_is_suspect_first_and_lost_only_if_it_stays_so() -> None:
    rig = Rig()
    rig.world.pause_node(NodeId("n3"))
    rig.pass_s(5)
    assert rig.core.state.node_state(NodeId("n3")) is NodeState.SUSPECT
    rig.world.resume_node(NodeId("n3"))
    rig.pass_s(1)
    assert rig.core.state.node_state(NodeId("n3")) is NodeState.SUSPECT, "trusted again too soon"
    rig.pass_s(10)
    assert rig.core.state.node_state(NodeId("n3")) is NodeState.READY
    rig.world.pause_node(NodeId("n3"))
    rig.pass_s(16)
    assert any(f.node == "n3" for f in rig.facts(facts.NodeLost))  # type: ignore[attr-defined]


def test_a_transient_signal_does_not_kill_a_running_job() -> None:
    rig = Rig()
    job = rig.submit(nodes=4, config={"steps": 100})
    rig.pass_s(6)
    node = NodeId(rig.nodes_of(job)[0])
    rig.world.pause_node(node)
    rig.pass_s(5)
    rig.world.resume_node(node)
    rig.pass_s(100)
    assert rig.core.state.jobs[job].outcome == "succeeded"
    assert rig.core.state.jobs[job].attempts == 1


def test_a_job_that_fails_by_itself_backs_off_and_gives_up() -> None:
    rig = Rig()
    job = rig.submit(
        nodes=1, config={"fail_at_step": 3, "exit_code": 7, "checkpoint_every_steps": 0}, retries=3
    )
    rig.pass_s(120)
    ended = rig.core.state.jobs[job]
    assert ended.outcome == "failed" and ended.attempts == 4
    assert "exit code 7" in ended.text
    pauses = [fact.until - fact.at for fact in rig.facts(facts.JobHeld)]  # type: ignore[attr-defined]
    assert pauses == [SECOND, 2 * SECOND]


def test_a_recipe_that_refuses_its_configuration_is_not_tried_again() -> None:
    rig = Rig()
    job = rig.submit(nodes=2, config={"fail_at_step": 1, "exit_code": 2})
    rig.pass_s(20)
    assert rig.core.state.jobs[job].outcome == "failed" and rig.core.state.jobs[job].attempts == 1


def test_progress_between_faults_resets_the_retries() -> None:
    rig = Rig()
    job = rig.submit(nodes=2, config={"steps": 40}, retries=0)
    rig.pass_s(5)
    attempt = rig.core.state.jobs[job].attempt
    assert attempt and rig.core.state.jobs[job].kept_step > 0
    node = rig.core.state.gangs[attempt].nodes[0]
    rig.give(inputs.MemberExited(at=rig.world.now, attempt=attempt, node=node, code=1))
    rig.pass_s(1)
    assert rig.core.state.jobs[job].faults == 1
    assert rig.core.state.jobs[job].outcome == "failed", "retries: 0 means none"


def test_the_node_that_fails_first_twice_is_blamed_not_the_job() -> None:
    rig = Rig()
    job = rig.submit(nodes=2, config={"steps": 500})
    for _ in range(2):
        rig.pass_s(8)
        attempt = rig.core.state.jobs[job].attempt
        assert attempt
        culprit = rig.core.state.gangs[attempt].nodes[1]
        rig.give(inputs.MemberExited(at=rig.world.now, attempt=attempt, node=culprit, code=139))
    rig.pass_s(1)
    record = rig.core.state.jobs[job]
    assert [one.cause for one in record.history] == ["job", "node"]
    assert any(
        fact.node == culprit and fact.state is NodeState.BURN_IN  # type: ignore[attr-defined]
        for fact in rig.facts(facts.NodeMoved)[-6:]
    )


def test_drain_checkpoints_first_then_moves_and_loses_nothing() -> None:
    rig = Rig()
    job = rig.submit(nodes=2, config={"steps": 60, "checkpoint_every_steps": 1000})
    rig.pass_s(6)
    node = NodeId(rig.nodes_of(job)[0])
    rig.give(inputs.DrainNode(at=rig.world.now, node=node, by="sre", reason="new firmware"))
    rig.pass_s(5)
    assert rig.core.state.node_state(node) is NodeState.DRAINED
    first = rig.core.state.jobs[job].history[0]
    assert first.cause == "moved" and first.kept_step == first.last_step > 0
    assert node not in rig.nodes_of(job)
    rig.give(inputs.UndrainNode(at=rig.world.now, node=node))
    rig.pass_s(5)
    assert rig.core.state.node_state(node) is NodeState.READY


def test_a_drained_replica_leaves_only_when_its_substitute_serves() -> None:
    rig = Rig()
    rig.serve(least=1, most=1)
    rig.pass_s(5)
    old = next(iter(rig.core.state.gangs.values()))
    rig.give(inputs.DrainNode(at=rig.world.now, node=old.nodes[0]))
    while old.phase is not GangPhase.STOPPING:
        ready = [g for g in rig.core.state.gangs.values() if g.phase is GangPhase.RUNNING]
        assert ready, "no replica was serving"
        rig.pass_s(0.05)
    rig.pass_s(5)
    assert rig.core.state.node_state(old.nodes[0]) is NodeState.DRAINED


@pytest.mark.parametrize("when_s", [0.0, 0.05, 0.5, 2.0, 30.0])
def test_cancel_in_every_state(when_s: float) -> None:
    rig = Rig()
    job = rig.submit(nodes=2, config={"steps": 20})
    rig.pass_s(when_s)
    rig.give(inputs.CancelJob(at=rig.world.now, job=job, by="ann"))
    rig.pass_s(10)
    outcome = rig.core.state.jobs[job].outcome
    assert outcome == ("succeeded" if when_s == 30.0 else "cancelled")
    assert not rig.core.state.gangs


def test_cancel_while_waiting_and_while_interrupted() -> None:
    rig = Rig(build.site(spares=0))
    first = rig.submit("train-1", nodes=6, config={"steps": 100})
    waiting = rig.submit("train-2", nodes=6)
    rig.give(inputs.CancelJob(at=rig.world.now, job=waiting))
    assert rig.core.state.jobs[waiting].outcome == "cancelled"
    rig.pass_s(6)
    rig.world.kill_node(NodeId("n0"))
    rig.pass_s(0.5)
    assert first in rig.core.state.waiting, "nothing can replace the node"
    rig.give(inputs.CancelJob(at=rig.world.now, job=first))
    assert rig.core.state.jobs[first].outcome == "cancelled"


def test_priority_goes_first_and_a_short_job_backfills() -> None:
    rig = Rig(build.site(spares=0))
    rig.submit("long-1", nodes=4, config={"steps": 120}, name="long")
    rig.pass_s(5)
    rig.submit("big-1", nodes=6, name="big", priority="high")
    rig.submit("small-1", nodes=1, name="small", config={"steps": 5}, expected="3s")
    rig.submit("endless-1", nodes=1, name="endless", command=("sleep", "1"))
    rig.pass_s(1)
    state = rig.core.state
    assert state.jobs[JobId("small-1")].attempt, "a short job may use the hole"
    assert JobId("big-1") in state.waiting and JobId("endless-1") in state.waiting
    told = views.explain(rig.core.moment(rig.world.now), state.jobs[JobId("endless-1")])
    assert told.reasons[0].code == "priority" and "big-1" in told.text
    told = views.explain(rig.core.moment(rig.world.now), state.jobs[JobId("big-1")])
    assert told.reasons[0].code == "capacity" and told.starts_at > rig.world.now
    rig.pass_s(60)
    assert [f.job for f in rig.facts(facts.GangPlaced)][2] == "big-1"  # type: ignore[attr-defined]


def test_quota_refuses_for_ever_and_holds_back_for_now() -> None:
    rig = Rig()
    rig.give(inputs.ApplyTenant(at=rig.world.now, tenant=build.tenant("tiny", chips=2)))
    rig.submit("never-1", nodes=3, tenant="tiny")
    refused = rig.facts(facts.Refused)[-1]
    assert isinstance(refused, facts.Refused) and refused.reason.code == "quota"
    assert "2 chips" in refused.reason.text and refused.reason.remedy
    rig.submit("now-1", nodes=2, tenant="tiny")
    rig.submit("later-1", nodes=1, tenant="tiny")
    state = rig.core.state
    told = views.explain(rig.core.moment(rig.world.now), state.jobs[JobId("later-1")])
    assert told.reasons[0].code == "quota" and "holds 2" in told.text
    rig.pass_s(30)
    assert state.jobs[JobId("later-1")].first_placed_at > 0


def test_a_lemon_is_kept_out_until_an_operator_gives_it_back() -> None:
    rig = Rig()
    for _ in range(3):
        rig.world.kill_node(NodeId("n4"))
        rig.pass_s(20)
    assert rig.core.state.node_state(NodeId("n4")) is NodeState.DRAINED
    assert rig.core.state.nodes[NodeId("n4")].cordoned_by == "myriad"
    rig.give(inputs.UndrainNode(at=rig.world.now, node=NodeId("n4")))
    rig.pass_s(5)
    assert rig.core.state.node_state(NodeId("n4")) is NodeState.READY


def test_closing_the_site_keeps_the_work_and_opening_it_resumes() -> None:
    rig = Rig()
    job = rig.submit(nodes=4, config={"steps": 60, "checkpoint_every_steps": 1000})
    service = rig.serve(least=1, most=1)
    rig.pass_s(6)
    rig.give(inputs.CloseSite(at=rig.world.now, grace_ns=30 * SECOND))
    rig.pass_s(10)
    assert not rig.core.state.gangs
    done = rig.core.state.jobs[job].kept_step
    assert done > 0
    site = rig.core.state.site
    assert site
    rig.give(inputs.OpenSite(at=rig.world.now, site=site))
    rig.world.census()
    rig.pass_s(60)
    assert rig.core.state.jobs[job].outcome == "succeeded"
    assert rig.core.state.jobs[job].history[1].resumed_step == done
    assert len(rig.core.state.services[ServiceId(service)].gangs) == 1


def test_a_restart_asks_no_policy_and_starts_nothing_twice() -> None:
    rig = Rig()
    job = rig.submit(nodes=4, config={"steps": 40})
    rig.pass_s(4)
    from myriad.control.apply import fold
    from myriad.control.core import Core
    from myriad.protocol.wire import decode

    again = fold(decode(body) for body in rig.journal)
    assert again.digest() == rig.core.state.digest()
    rig.core = Core(state=again, check=True)
    rig.world.census()
    first, *_ = rig.core.outstanding()
    assert isinstance(first, orders.KeepGangs)
    assert [(one.attempt, one.begun) for one in first.gangs] == [(f"{job}.1", True)]
    for order in rig.core.outstanding():
        rig.world.obey(order)
    rig.pass_s(60)
    assert rig.core.state.jobs[job].outcome == "succeeded"
    assert rig.core.state.jobs[job].attempts == 1
    assert set(rig.world.starts.values()) == {1}


def test_after_a_restart_nobody_is_told_that_a_member_is_gone_which_was_done() -> None:
    rig = Rig()
    job = rig.submit(nodes=4, config={"steps": 40})
    rig.pass_s(4)
    done, *rest = rig.nodes_of(job)
    attempt = AttemptId(f"{job}.1")
    rig.give(inputs.MemberExited(at=rig.world.now, attempt=attempt, node=NodeId(done), code=0))
    first, *_ = rig.core.outstanding()
    assert isinstance(first, orders.KeepGangs)
    assert [member.node for member in first.gangs[0].members] == rest


def test_services_scale_with_load_up_at_once_and_down_with_patience() -> None:
    rig = Rig()
    service = rig.serve(least=1, most=3)
    rig.pass_s(5)
    rig.give(inputs.LoadObserved(at=rig.world.now, service=service, in_flight=20, queued=0))
    assert rig.core.state.services[service].wanted == 3
    rig.pass_s(5)
    rig.give(inputs.LoadObserved(at=rig.world.now, service=service, in_flight=0, queued=0))
    assert rig.core.state.services[service].wanted == 3
    rig.pass_s(70)
    assert rig.core.state.services[service].wanted == 2
    rig.pass_s(70)
    assert rig.core.state.services[service].wanted == 1


def test_orders_are_repeated_without_harm() -> None:
    rig = Rig()
    job = rig.submit(nodes=2, config={"steps": 20})
    for _ in range(20):
        for order in rig.core.outstanding():
            if not isinstance(order, orders.WakeAt):
                rig.world.obey(order)
        rig.pass_s(1)
    assert rig.core.state.jobs[job].outcome == "succeeded"
    assert set(rig.world.starts.values()) == {1}


def test_a_service_takes_lent_chips_back_from_a_job_that_has_just_begun() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=4, spares=0))
    rig.serve("chat", least=1, most=3)
    rig.submit("train-1", nodes=3, priority="low", config={"steps": 100_000})
    rig.pass_s(30)
    rig.give(inputs.LoadObserved(at=rig.world.now, service=ServiceId("chat"), in_flight=20, queued=5))
    rig.pass_s(120)
    ready = [g for g in rig.core.state.gangs.values() if g.service and g.phase is GangPhase.RUNNING]
    assert len(ready) >= 2, "load calls for more replicas than nodes were left"


def test_a_service_makes_room_inside_its_tenants_quota() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=6, spares=0))
    rig.give(inputs.ApplyTenant(at=rig.world.now, tenant=build.tenant(chips=4)))
    rig.serve("chat", least=1, most=3)
    rig.submit("train-1", nodes=3, priority="low", config={"steps": 100_000})
    rig.pass_s(30)
    rig.give(inputs.LoadObserved(at=rig.world.now, service=ServiceId("chat"), in_flight=20, queued=5))
    rig.pass_s(120)
    assert sum(bool(gang.service) for gang in rig.core.state.gangs.values()) >= 2
    assert rig.core.state.usage[TenantId("acme")] <= 4


def test_who_waits_for_its_quota_is_told_when_it_will_have_room() -> None:
    rig = Rig(build.site(spares=0))
    rig.give(inputs.ApplyTenant(at=rig.world.now, tenant=build.tenant(chips=4)))
    rig.submit("first-1", nodes=4, name="first", config={"steps": 200})
    rig.pass_s(10)
    rig.submit("second-1", nodes=2, name="second")
    told = views.explain(rig.core.moment(rig.world.now), rig.core.state.jobs[JobId("second-1")])
    assert told.reasons[0].code == "quota"
    gang = next(iter(rig.core.state.gangs.values()))
    assert told.starts_early_at < told.starts_at < told.starts_late_at
    assert abs(told.starts_at - rig.core.state.ends_at(gang)) < 0.3 * (told.starts_at - rig.world.now)
