"""Promises beside outcomes."""

from typing import Any

from myriad.kernel.ids import JobId
from myriad.kernel.units import SECOND
from myriad.ledger import predictions
from myriad.protocol import facts
from myriad.protocol.values import Forecast
from tests.ledger.story import Story


def promised(**changes: Any) -> Story:
    story = Story(nodes=1)
    story.admit(10, nodes=1)
    fields: dict[str, Any] = {
        "step_ns": 2 * SECOND,
        "start_at": 10 * SECOND,
        "finish_at": 20 * SECOND,
        "finish_early_at": 18 * SECOND,
        "finish_late_at": 26 * SECOND,
        "chip_ns": 10 * SECOND,
        "cost": "0.10",
        "basis": "measured",
    }
    story.tell(facts.JobForecast, 10, job=JobId("j"), forecast=Forecast(**(fields | changes)))
    return story


def finish(story: Story) -> predictions.Score:
    story.place(11, "j.1", "n0")
    story.run(12, "j.1")
    for step in range(1, 14):
        story.steps(12 + step, "j.1", step)
    story.stopped(25, "j.1", "done", kept=13)
    story.tell(facts.JobEnded, 25, job=JobId("j"), outcome="succeeded")
    (score,) = predictions.scores(story.ledger)
    return score


def test_every_promise_is_compared() -> None:
    score = finish(promised())
    assert (score.step_ns_median, score.step_error) == (SECOND, -0.5)
    assert (score.started_at, score.start_error_ns) == (11 * SECOND, SECOND)
    assert (score.finished_at, score.finish_error, score.within) == (25 * SECOND, 0.5, True)
    assert (score.chip_ns, score.cost) == (14 * SECOND, "0.14")
    assert score.cost_error is not None
    assert abs(score.cost_error - 0.4) < 1e-9
    assert predictions.calibration([score]).within == 1.0


def test_starts_are_judged_by_their_own_interval() -> None:
    seconds = {"start_at": 11 * SECOND, "start_early_at": 10 * SECOND, "start_late_at": 12 * SECOND}
    score = finish(promised(**seconds))
    assert (score.start_early, score.start_late, score.start_within) == (10 * SECOND, 12 * SECOND, True)
    late = finish(promised(**seconds | {"start_early_at": 12 * SECOND, "start_late_at": 15 * SECOND}))
    assert late.start_within is False
    whole = predictions.calibration([score, late, finish(promised())])
    assert (whole.starts, whole.start_within) == (2, 0.5)


def test_a_start_at_once_proves_nothing_and_one_out_of_sight_was_not_promised() -> None:
    at_once = finish(promised(start_at=10 * SECOND, start_early_at=10 * SECOND, start_late_at=10 * SECOND))
    assert at_once.start_within is False, "it was to start at second 10 and did at 11"
    unseen = finish(promised(start_at=0))
    assert (unseen.start_within, unseen.start_error_ns) == (None, None)
    assert predictions.calibration([at_once, unseen]).starts == 0


def test_what_was_not_promised_is_not_judged() -> None:
    score = finish(promised(step_ns=0, finish_at=10 * SECOND))
    assert (score.step_error, score.finish_error, score.within) == (None, None, None)


def test_a_running_job_has_no_finish_yet() -> None:
    (score,) = predictions.scores(promised().ledger)
    assert (score.started_at, score.finished_at, score.within, score.cost_error) == (None, None, None, None)
    assert predictions.calibration([score]) == predictions.Calibration(
        jobs=0, within=None, step_error_median=None, finish_error_median=None, cost_error_median=None
    )
