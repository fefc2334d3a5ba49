"""Parts of steps: reported ones are believed, and without them slow steps are found by their time."""

from myriad.kernel.ids import JobId, ServiceId
from myriad.kernel.units import SECOND
from myriad.ledger import views
from myriad.protocol import facts
from tests.ledger.story import Story, prices, site


def training(attempt: str = "j.1", at: float = 0, story: Story | None = None) -> Story:
    story = story or Story(nodes=1)
    if attempt == "j.1":
        story.admit(at, nodes=1)
    story.place(at, attempt, "n0")
    story.run(at, attempt)
    return story


def test_reported_parts_are_no_productive_time() -> None:
    story = training()
    story.steps(10, "j.1", 10, steps=10, straggled=1, exposed=2, throttled=0.5)
    assert story.buckets(10) == {"productive": 6.5, "straggling": 1, "exposed": 2, "throttled": 0.5}
    job = views.job(story.ledger, JobId("j"))
    assert (job.ettr, job.goodput) == (1.0, 0.65)


def test_they_are_lost_with_their_steps() -> None:
    story = training()
    story.steps(10, "j.1", 10, steps=10, straggled=1, exposed=2, throttled=0.5)
    story.stopped(10, "j.1", "node", kept=6)
    assert story.buckets(10) == {"productive": 3.9, "straggling": 0.6, "exposed": 1.2, "throttled": 0.3} | {
        "lost": 4
    }
    assert views.job(story.ledger, JobId("j")).lost_by_site_chip_ns == 4 * SECOND


def test_they_are_no_more_than_there_was() -> None:
    story = training()
    story.steps(10, "j.1", 10, steps=10, straggled=7, exposed=100, throttled=5)
    assert story.buckets(10) == {"throttled": 5, "straggling": 5}


def test_a_checkpoint_takes_from_them_what_straggled_first() -> None:
    story = training()
    story.steps(10, "j.1", 10, steps=10, straggled=1, exposed=2)
    story.checkpoint(10, "j.1", 10, stall_s=9)
    assert story.buckets(10) == {"checkpoint": 9, "exposed": 1}


def test_who_tells_parts_is_not_judged_by_the_median() -> None:
    story = training()
    story.steps(1, "j.1", 1, exposed=0.1)
    for step in range(2, 12):
        story.steps(step, "j.1", step)
    story.steps(16, "j.1", 12, step_s=5)
    assert "straggling" not in story.buckets(16)


def test_the_last_steps_time_says_more_than_the_time_between_reports() -> None:
    story = training()
    for step in range(1, 12):
        story.steps(step, "j.1", step)
    story.steps(31, "j.1", 12, step_s=1)  # 20 s without a word, and steps as ever
    assert story.buckets(31) == {"productive": 31}
    story.steps(41, "j.1", 22, steps=10, step_s=0)
    story.steps(61, "j.1", 32, steps=10, step_s=0)  # no word: by the time between reports
    assert story.buckets(61) == {"productive": 51, "straggling": 10}


def test_nobody_listened_while_the_control_plane_was_away() -> None:
    story = training()
    for step in range(1, 12):
        story.steps(step, "j.1", step, step_s=0)
    story.tell(facts.SiteOpened, 3600, site=site(1), prices=prices())
    story.steps(3605, "j.1", 12, step_s=0)
    assert story.buckets(3605) == {"productive": 3605}
    story.steps(3608, "j.1", 13, step_s=0)
    assert story.buckets(3608) == {"productive": 3606, "straggling": 2}


def test_a_gang_slow_from_its_first_step_is_seen_by_those_before_it() -> None:
    story = training()
    for step in range(1, 12):
        story.steps(step, "j.1", step)
    story.checkpoint(11, "j.1", 11)
    story.stopped(11, "j.1", "moved", kept=11)
    training("j.2", 11, story)
    story.run(11, "j.2", 11)
    for k in range(1, 4):
        story.steps(11 + 3 * k, "j.2", 11 + k, step_s=3)
    assert story.buckets(20) == {"productive": 11 + 3 + 1 + 1, "straggling": 4}  # the first is warm-up


def test_replicas_are_busy_by_the_share_of_their_service() -> None:
    story = Story(nodes=3)
    story.serve(0)
    for k in range(2):
        story.place(0, f"chat.{k}", f"n{k}", service="chat")
    story.run(1, "chat.0")
    story.busy(1, 0.25)
    story.run(5, "chat.1")
    assert story.buckets(9) == {
        "serving_busy": 2 + 1,
        "serving_headroom": 6 + 3,
        "restart": 1 + 5,
        "idle_no_demand": 9,
    }
    story.busy(9, 1.0)
    story.tell(facts.ReplicaStalled, 10, attempt="chat.0", until=0)
    story.busy(10, 0.0)
    found = story.buckets(12)
    assert (found["serving_busy"], found["serving_headroom"]) == (3 + 2, 9 + 2)
    service = views.service(story.ledger, ServiceId("chat"))
    assert service.buckets["serving_busy"] == 5 * SECOND
    assert views.site(story.ledger).chips_now == {"serving": 1, "restart": 1, "idle": 1}
    (first, second, _) = views.nodes(story.ledger)
    assert (first.buckets["serving_busy"], second.buckets["serving_busy"]) == (3 * SECOND, 2 * SECOND)
