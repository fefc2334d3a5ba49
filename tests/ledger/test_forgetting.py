"""Jobs that ended long ago are remembered as one: the law, invoices and calibration go on without them."""

from decimal import Decimal

from myriad.kernel.ids import JobId
from myriad.kernel.units import SECOND
from myriad.ledger import invoices, predictions, views
from myriad.ledger.invoices import EARLIER
from myriad.protocol import facts
from myriad.protocol.values import Forecast
from tests.ledger.story import ACME, Story


def promise(at: float, takes: float, late: float) -> Forecast:
    return Forecast(
        step_ns=SECOND,
        start_at=int(at * SECOND),
        finish_at=int((at + takes) * SECOND),
        finish_early_at=int(at * SECOND),
        finish_late_at=int((at + late) * SECOND),
        chip_ns=int(takes * SECOND),
        cost="0.10",
        basis="measured",
    )


def told(jobs: int, keep_ended: int) -> Story:
    """Jobs one after the other, each of 10 chip-seconds of which 3 are lost by the site's cause."""
    story = Story(nodes=1, keep_ended=keep_ended)
    for k in range(jobs):
        at, name = 10.0 * k, f"j{k}"
        story.admit(at, name, nodes=1)
        late = 5 if k % 4 == 0 else 20
        story.tell(facts.JobForecast, at, job=JobId(name), forecast=promise(at, 5 + k, late))
        story.place(at, f"{name}.1", "n0")
        story.run(at, f"{name}.1")
        story.steps(at + 10, f"{name}.1", 10, steps=10)
        story.stopped(at + 10, f"{name}.1", "node", kept=7)
        outcome = "cancelled" if k % 5 == 4 else "succeeded"
        story.tell(facts.JobEnded, at + 10, job=JobId(name), outcome=outcome)
    return story


def test_sums_stay_and_the_law_holds() -> None:
    story, all_kept = told(12, keep_ended=3), told(12, keep_ended=100)
    assert list(story.ledger.jobs) == ["j9", "j10", "j11"]
    assert story.ledger.totals() == all_kept.ledger.totals()
    found, whole = views.tenant(story.ledger, ACME), views.tenant(all_kept.ledger, ACME)
    assert found.buckets == whole.buckets
    assert (found.ettr, found.goodput) == (whole.ettr, whole.goodput) == (0.7, 0.7)
    assert found.earlier_jobs == {"succeeded": 8, "cancelled": 1}
    assert found.earlier_chip_ns == 9 * 10 * SECOND
    assert views.site(story.ledger).ettr == 0.7


def test_none_may_be_kept_at_all() -> None:
    story = told(3, keep_ended=0)
    assert (story.ledger.jobs, sum(views.tenant(story.ledger, ACME).earlier_jobs.values())) == ({}, 3)


def test_invoices_have_them_in_one_line_and_one_more_for_what_is_not_charged() -> None:
    bill = invoices.invoice(invoices.usage(told(12, keep_ended=3).ledger, ACME))
    earlier = [(str(line.unit_price), line.exact) for line in bill.lines if line.subject == EARLIER]
    assert earlier == [("36.00", 9 * 7 * SECOND), ("0", 9 * 3 * SECOND)]
    assert bill.total == Decimal("0.84")


def test_a_period_in_which_jobs_were_forgotten_bills_each_second_once() -> None:
    story = told(5, keep_ended=3)
    middle = invoices.usage(story.ledger, ACME)
    for fact in told(12, keep_ended=3).told:
        if fact.at >= 50 * SECOND:
            story.ledger.fold(fact)
    second = invoices.invoice(invoices.usage(story.ledger, ACME), middle)
    assert sum(line.exact for line in second.lines) == 7 * 10 * SECOND
    assert sum(line.exact for line in second.lines if line.unit_price) == 7 * 7 * SECOND


def test_how_good_promises_are_is_known_of_all() -> None:
    story, all_kept = told(40, keep_ended=3), told(40, keep_ended=100)
    ledgers = (story.ledger, all_kept.ledger)
    found, whole = (predictions.calibration(predictions.scores(one), one.kept_promises) for one in ledgers)
    assert (found.jobs, found.within, found.starts) == (whole.jobs, whole.within, whole.starts)
    assert found.jobs == 32
    for name in ("finish_error_median", "step_error_median", "cost_error_median"):
        here, there = getattr(found, name), getattr(whole, name)
        assert abs(here - there) < 1e-8, name
