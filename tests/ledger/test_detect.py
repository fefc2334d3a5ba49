"""Time in which work stood still and nobody knew: from when it really stopped until control did."""

import pytest

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import JobId, ServiceId
from myriad.kernel.units import SECOND
from myriad.ledger import views
from myriad.protocol import facts
from tests.ledger.story import Story, prices, site


def training(nodes: int = 2) -> Story:
    story = Story(nodes=nodes)
    story.admit(0, nodes=nodes)
    story.place(0, "j.1", *(f"n{k}" for k in range(nodes)))
    story.run(0, "j.1")
    return story


def test_a_job_that_hung_by_its_own_fault_pays_for_it() -> None:
    story = training()
    story.steps(4, "j.1", 4, steps=4)
    story.stopping(10, "j.1", "job", since=6)
    story.stopped(11, "j.1", "job", kept=4)
    job = views.job(story.ledger, JobId("j"))
    assert story.buckets(11) == {"productive": 2 * 4, "lost": 2 * 2, "detect": 2 * 4, "restart": 2}
    assert (job.lost_by_site_chip_ns, job.detect_by_site_chip_ns) == (0, 0)


def test_a_lost_nodes_gang_did_nothing_since_it_was_gone_and_is_not_charged() -> None:
    story = training()
    story.steps(4, "j.1", 4, steps=4)
    story.lost(10, "n1", since=5)
    story.stopping(10, "j.1", "node", since=5)
    story.stopped(12, "j.1", "node", kept=4)
    story.place(12, "j.2", "n0")
    story.run(13, "j.2", 4)
    assert story.buckets(13) == {
        "productive": 2 * 4,
        "lost": 2 * 1,
        "detect": 2 * 5,
        "restart": 2 + 1,
        "down": 3,
    }
    job = views.job(story.ledger, JobId("j"))
    assert job.detect_by_site_chip_ns == 10 * SECOND
    assert job.recovery_s == 13 - 5, "useful work ended when the node was gone"


def test_what_turns_out_to_be_the_sites_was_so_from_when_work_stopped() -> None:
    story = training()
    story.stopping(10, "j.1", "job", since=7)  # its peers hang and fail before the loss is known
    assert views.job(story.ledger, JobId("j")).detect_by_site_chip_ns == 0
    story.lost(12, "n1", since=6)
    story.stopped(13, "j.1", "node")
    job = views.job(story.ledger, JobId("j"))
    assert job.buckets["detect"] == job.detect_by_site_chip_ns == 2 * 3 * SECOND
    assert job.buckets["restart"] == job.restart_by_site_chip_ns == (2 * 2 + 1) * SECOND


@pytest.mark.parametrize("since", [0, 3, 6.5, 10, 12])
def test_reported_steps_and_checkpoints_were_done_whatever_is_said_later(since: float) -> None:
    story = training()
    story.steps(6, "j.1", 6, steps=6)
    story.checkpoint(8, "j.1", 6, stall_s=1)
    story.stopping(10, "j.1", "job", since=since)
    story.stopped(10, "j.1", "job", kept=6)
    detect = {0: 0, 3: 3, 6.5: 3, 10: 0, 12: 0}[since]
    found = story.buckets(10)
    assert (found["productive"], found["checkpoint"], found.get("detect", 0)) == (12, 2, 2 * detect)
    assert found.get("lost", 0) == 2 * (3 - detect)


def test_a_gang_that_never_was_useful_was_starting() -> None:
    story = Story(nodes=1)
    story.admit(0, nodes=1)
    story.place(0, "j.1", "n0")
    story.stopping(9, "j.1", "node", since=2)
    assert story.buckets(9) == {"restart": 9}


def test_detection_does_not_reach_back_over_a_change_of_prices() -> None:
    story = training(1)
    story.tell(facts.SiteOpened, 5, site=site(1), prices=prices("72.00"))
    story.stopping(9, "j.1", "job", since=2)
    story.stopped(9, "j.1", "job", kept=9)
    assert story.buckets(9) == {"productive": 5, "detect": 4}


def test_a_dead_replica_was_neither_busy_nor_ready() -> None:
    story = Story(nodes=2)
    story.serve(0)
    story.busy(0, 0.5)
    for k in range(2):
        story.place(0, f"chat.{k}", f"n{k}", service="chat")
        story.run(0, f"chat.{k}")
    story.lost(10, "n1", since=6)
    story.node(12, "n1", NodeState.READY)
    story.stopped(12, "chat.1", "node")
    assert story.buckets(12) == {
        "serving_busy": 6 + 3,
        "serving_headroom": 6 + 3,
        "detect": 4,
        "down": 2,
    }
    assert views.service(story.ledger, ServiceId("chat")).detect_by_site_chip_ns == 4 * SECOND
