"""Each bucket's definition, on histories small enough to count by hand."""

import pytest

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import JobId, NodeId, ServiceId
from myriad.kernel.units import SECOND
from myriad.ledger import views
from myriad.ledger.buckets import BUCKETS
from myriad.protocol import facts
from tests.ledger.story import ACME, Story, prices, site


def test_the_buckets_are_those_of_the_design() -> None:
    assert BUCKETS == (
        "productive",
        "serving_busy",
        "checkpoint",
        "lost",
        "detect",
        "restart",
        "straggling",
        "exposed",
        "throttled",
        "serving_headroom",
        "idle_no_demand",
        "idle_fragmentation",
        "idle_quota",
        "idle_held_back",
        "spare",
        "occupied",
        "drained",
        "down",
        "burn_in",
    )


def test_chips_without_a_gang_are_where_their_node_is() -> None:
    story = Story(nodes=1, chips=4, ready=False)
    for second, state in (
        (1, NodeState.BURN_IN),
        (3, NodeState.READY),
        (6, NodeState.SUSPECT),
        (10, NodeState.REPAIRING),
        (15, NodeState.BURN_IN),
        (16, NodeState.READY),
        (18, NodeState.DRAINING),
        (20, NodeState.DRAINED),
        (23, NodeState.RETIRED),
    ):
        story.node(second, "n0", state)
    assert story.buckets(99) == {
        "burn_in": 4 * (3 + 1),
        "idle_no_demand": 4 * (3 + 2),
        "down": 4 * 9,
        "drained": 4 * 5,
    }


def test_what_others_use_is_theirs_and_nobody_s_of_ours() -> None:
    story = Story(nodes=2, chips=4)
    story.admit(0, nodes=1, chips=2)
    story.place(0, "j.1", "n1", mask=3)
    story.run(0, "j.1")
    for node in ("n0", "n1"):
        story.tell(facts.NodeTaken, 1, node=NodeId(node), by="ann", until=99)
    story.node(1, "n0", NodeState.OCCUPIED)
    # a gang of ours keeps its chips of a node that others came to; the rest of it is theirs
    assert story.buckets(4) == {"occupied": 4 * 3 + 2 * 3, "productive": 2 * 4, "idle_no_demand": 4 + 2}
    story.stopped(4, "j.1", "done")
    story.node(4, "n1", NodeState.OCCUPIED)
    assert story.buckets(6) == {"occupied": 18 + 8 * 2, "productive": 8, "idle_no_demand": 6}
    found = views.site(story.ledger)
    assert found.chips_now == {"occupied": 8} and found.availability == (8 * 6 - 34) / (8 * 6)
    assert views.tenant(story.ledger, ACME).buckets["occupied"] == 0
    # who uses a node is forgotten when it is lost, and what it was before counts no more
    story.lost(7, "n0")
    story.node(8, "n0", NodeState.BURN_IN)
    story.node(9, "n0", NodeState.READY)
    story.tell(facts.NodeTaken, 9, node=NodeId("n1"))
    story.node(9, "n1", NodeState.READY)
    assert story.buckets(10) == {
        "occupied": 34 + 4 + 4 * 3,
        "productive": 8,
        "down": 4,
        "burn_in": 4,
        "idle_no_demand": 6 + 8,
    }


def test_idle_time_follows_the_reason_that_held() -> None:
    story = Story(nodes=3)
    story.tell(facts.NodeSpared, 0, node=NodeId("n2"), spare=True)
    story.idle(2, "fragmentation")
    story.idle(5, "quota")
    story.node(6, "n1", NodeState.DRAINING)
    story.idle(7, "held_back")
    assert story.buckets(10) == {
        "idle_no_demand": 2 * 2,
        "idle_fragmentation": 2 * 3,
        "idle_quota": 2 + 1,
        "idle_held_back": 3,
        "drained": 4,
        "spare": 10,
    }
    (first, second, third) = views.nodes(story.ledger)
    assert first.buckets["idle_quota"] == 2 * SECOND
    assert second.buckets["idle_quota"] == 1 * SECOND
    assert third.buckets["spare"] == 10 * SECOND


def test_an_undisturbed_job_is_productive_but_for_its_start_and_checkpoints() -> None:
    story = Story(nodes=2)
    story.admit(0)
    story.place(1, "j.1", "n0", "n1")
    story.run(4, "j.1")
    for step in range(1, 11):
        story.steps(4 + step, "j.1", step)
        if step == 5:
            story.checkpoint(9.5, "j.1", 5, stall_s=0.25)
    story.stopped(14, "j.1", "done", kept=10)
    assert story.buckets(14) == {
        "idle_no_demand": 2,
        "restart": 2 * 3,
        "productive": 2 * 9.75,
        "checkpoint": 2 * 0.25,
    }


def test_a_lost_node_costs_exactly_the_steps_after_the_checkpoint() -> None:
    story = Story(nodes=3)
    story.admit(0)
    story.place(0, "j.1", "n0", "n1")
    story.run(1, "j.1")
    story.steps(5, "j.1", 4, steps=4)
    story.checkpoint(5, "j.1", 4)
    story.steps(8, "j.1", 7, steps=3)
    story.lost(8.5, "n1")
    story.stopping(8.5, "j.1", "node")
    story.stopped(10, "j.1", "node", kept=4)
    story.place(10, "j.2", "n0", "n2")
    story.run(12, "j.2", 4)
    assert story.buckets(13) == {
        "restart": 2 + 1.5 + 2 * 2,
        "productive": 2 * 4 + 2 * 1,
        "lost": 2 * 3.5,
        "down": 4.5,
        "idle_no_demand": 10,
    }
    job = views.job(story.ledger, JobId("j"))
    assert job.lost_by_site_chip_ns == 7 * SECOND
    assert job.restart_by_site_chip_ns == 5.5 * SECOND
    assert job.recovery_s == 3.5
    assert job.ettr == (8 + 2) / (13 * 2)


def test_a_checkpoint_inside_a_report_splits_it_by_steps() -> None:
    story = Story(nodes=1)
    story.admit(0, nodes=1)
    story.place(0, "j.1", "n0")
    story.run(0, "j.1")
    story.steps(10, "j.1", 10, steps=10)
    story.stopped(10, "j.1", "job", kept=7)
    assert story.buckets(10) == {"productive": 7, "lost": 3}


def test_what_was_kept_is_finally_known_when_the_next_attempt_goes_on() -> None:
    for resumed, productive in ((4, 4), (2, 2), (6, 6)):
        story = Story(nodes=1)
        story.admit(0, nodes=1)
        story.place(0, "j.1", "n0")
        story.run(0, "j.1")
        for step in range(1, 9):
            story.steps(step, "j.1", step)
            if step in (2, 4):
                story.checkpoint(step, "j.1", step)
        story.stopped(8, "j.1", "job", kept=4)
        assert story.buckets(8) == {"productive": 4, "lost": 4}
        story.place(8, "j.2", "n0")
        story.run(8, "j.2", resumed)
        assert story.buckets(8) == {"productive": productive, "lost": 8 - productive}


def test_an_unreadable_checkpoint_is_the_sites_cause() -> None:
    story = Story(nodes=1)
    story.admit(0, nodes=1)
    story.place(0, "j.1", "n0")
    story.run(0, "j.1")
    story.steps(8, "j.1", 8, steps=8)
    story.stopped(8, "j.1", "job", kept=6)
    story.place(8, "j.2", "n0")
    story.run(8, "j.2", 2)
    job = views.job(story.ledger, JobId("j"))
    assert (job.buckets["lost"], job.lost_by_site_chip_ns) == (6 * SECOND, 4 * SECOND)


def test_a_command_that_says_later_where_it_goes_on_is_believed_then() -> None:
    story = Story(nodes=1)
    story.admit(0, nodes=1)
    story.place(0, "j.1", "n0")
    story.run(0, "j.1")
    story.steps(4, "j.1", 4, steps=4)
    story.stopped(4, "j.1", "job", kept=0)
    story.place(4, "j.2", "n0")
    story.run(5, "j.2", 0)
    story.run(6, "j.2", 3)
    story.steps(7, "j.2", 4)
    assert story.buckets(7) == {"productive": 3 + 2, "lost": 1, "restart": 1}


@pytest.mark.parametrize("cause", ["job", "cancelled"])
def test_a_jobs_own_fault_is_its_own_lost_and_restart(cause: str) -> None:
    story = Story(nodes=1)
    story.admit(0, nodes=1)
    story.place(0, "j.1", "n0")
    story.run(1, "j.1")
    story.steps(3, "j.1", 1)
    story.stopping(3, "j.1", cause)  # type: ignore[arg-type]
    story.stopped(4, "j.1", cause)  # type: ignore[arg-type]
    job = views.job(story.ledger, JobId("j"))
    lost = 2 * SECOND if cause == "job" else 0  # nobody does again what was cancelled
    assert (job.buckets["lost"], job.buckets["restart"]) == (lost, 2 * SECOND)
    assert (job.lost_by_site_chip_ns, job.restart_by_site_chip_ns) == (0, 0)


def test_a_restart_that_turns_out_to_be_the_sites_was_so_from_its_beginning() -> None:
    story = Story(nodes=2)
    story.admit(0)
    story.place(0, "j.1", "n0", "n1")
    story.run(1, "j.1")
    story.stopping(5, "j.1", "job")  # the peers fail before the node's loss is known
    story.lost(6, "n1")
    story.stopped(7, "j.1", "node")
    job = views.job(story.ledger, JobId("j"))
    assert job.buckets["restart"] == (2 + 2 + 1) * SECOND
    assert job.restart_by_site_chip_ns == 3 * SECOND
    assert job.lost_by_site_chip_ns == 8 * SECOND


def test_a_start_that_the_site_spoils_is_the_sites() -> None:
    story = Story(nodes=1)
    story.admit(0, nodes=1)
    story.place(0, "j.1", "n0")
    story.lost(3, "n0")
    story.stopped(4, "j.1", "node")
    job = views.job(story.ledger, JobId("j"))
    assert job.buckets["restart"] == job.restart_by_site_chip_ns == 3 * SECOND
    assert story.buckets(4) == {"restart": 3, "down": 1}


def test_a_slow_step_is_straggling_beyond_the_median() -> None:
    story = Story(nodes=1)
    story.admit(0, nodes=1)
    story.place(0, "j.1", "n0")
    story.run(0, "j.1")
    for step in range(1, 10):
        story.steps(step, "j.1", step)
    story.steps(10.5, "j.1", 10, step_s=1.5)  # 1.5 x the median is not above it
    story.steps(14.5, "j.1", 11, step_s=4)
    assert story.buckets(14.5) == {"productive": 11.5, "straggling": 3}
    story.checkpoint(14.5, "j.1", 10, stall_s=2)  # it was the checkpoint that made the step slow
    assert story.buckets(14.5) == {"productive": 11.5, "straggling": 1, "checkpoint": 2}
    story.stopped(14.5, "j.1", "job", kept=10)
    assert story.buckets(14.5) == {"productive": 10.5, "lost": 2, "checkpoint": 2}


def test_a_replica_serves_until_it_stalls_and_again_when_it_answers() -> None:
    story = Story(nodes=1)
    story.serve(0)
    story.place(1, "chat.1", "n0", service="chat")
    story.run(3, "chat.1")
    story.tell(facts.ReplicaStalled, 7, attempt="chat.1", until=0)
    story.run(8, "chat.1")
    story.stopping(10, "chat.1", "scaled")
    story.stopped(10.5, "chat.1", "scaled")
    assert story.buckets(11) == {"idle_no_demand": 1.5, "restart": 2 + 1 + 0.5, "serving_headroom": 6}
    assert views.service(story.ledger, ServiceId("chat")).restart_by_site_chip_ns == 0


def test_gangs_share_a_node_chip_by_chip() -> None:
    story = Story(nodes=1, chips=4)
    story.admit(0, "a", nodes=1)
    story.admit(0, "b", nodes=1, chips=2)
    story.place(0, "a.1", "n0", mask=0b0001)
    story.place(0, "b.1", "n0", mask=0b0110)
    story.run(0, "a.1")
    story.run(2, "b.1")
    assert story.buckets(5) == {"productive": 5 + 2 * 3, "restart": 2 * 2, "idle_no_demand": 5}


def test_capacity_follows_the_site_file() -> None:
    story = Story(nodes=2)
    story.tell(facts.SiteOpened, 4, site=site(3), prices=prices())
    story.tell(facts.SiteOpened, 6, site=site(1), prices=prices())
    story.tell(facts.SiteOpened, 9, site=site(2), prices=prices())
    story.buckets(10)
    assert story.ledger.capacity_ns == (8 + 6 + 3 + 2) * SECOND


def test_time_never_runs_backwards_in_the_books() -> None:
    story = Story(nodes=1)
    story.idle(5, "quota")
    story.idle(3, "held_back")
    assert story.buckets(7) == {"idle_no_demand": 5, "idle_held_back": 2}


def test_failures_and_repairs_are_timed() -> None:
    story = Story(nodes=2)
    story.lost(10, "n0")
    story.node(14, "n0", NodeState.BURN_IN)
    story.node(15, "n0", NodeState.READY)
    story.buckets(20)
    found = views.site(story.ledger)
    assert (found.node_losses, found.mttf_s, found.mttr_s) == (1, 35.0, 5.0)


def test_goodput_and_energy() -> None:
    story = Story(nodes=2)
    story.admit(0, nodes=1)
    story.place(0, "j.1", "n0")
    story.run(0, "j.1")
    story.buckets(3600)
    found = views.site(story.ledger)
    assert found.goodput == 0.5
    assert found.energy.kwh == pytest.approx(0.008)  # one chip of 8 W for an hour
    assert found.energy.status == "estimated"
    tenant = views.tenant(story.ledger, ACME)
    assert tenant.held_chip_ns == {"local-cpu": 3600 * SECOND}
