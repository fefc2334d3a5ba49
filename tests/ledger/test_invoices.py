"""Invoices: exact quantities, one rounding a line, the site pays for its own faults."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from myriad.kernel.units import HOUR, SECOND
from myriad.ledger import invoices, periods
from myriad.protocol import facts
from tests.ledger.story import ACME, OTHER, Story, prices, site


def lines(invoice: invoices.Invoice) -> list[tuple[str, str, str, str]]:
    return [(line.kind, line.subject, str(line.unit_price), str(line.amount)) for line in invoice.lines]


def faulty() -> Story:
    """One job of one chip: 10 s of work kept, 4 lost and 3 of restart by the site, 10 more done."""
    story = Story(nodes=2)
    story.admit(0, nodes=1)
    story.place(0, "j.1", "n0")
    story.run(0, "j.1")
    story.steps(10, "j.1", 10, steps=10)
    story.checkpoint(10, "j.1", 10)
    story.steps(14, "j.1", 14, steps=4)
    story.stopping(14, "j.1", "moved")
    story.stopped(15, "j.1", "moved", kept=10)
    story.place(15, "j.2", "n1")
    story.run(17, "j.2", 10)
    story.steps(27, "j.2", 20, steps=10)
    story.stopped(27, "j.2", "done", kept=20)
    return story


def test_what_the_site_wasted_is_shown_and_not_charged() -> None:
    bill = invoices.invoice(invoices.usage(faulty().ledger, ACME))
    assert lines(bill) == [("training", "j", "36.00", "0.20"), ("training", "j", "0", "0.00")]
    assert [line.exact for line in bill.lines] == [20 * SECOND, 7 * SECOND]
    assert bill.lines[1].note == "not charged: caused by the site"
    assert (bill.total, bill.currency) == (Decimal("0.20"), "CNY")


def test_the_books_of_one_job_agree_with_its_line() -> None:
    ledger = faulty().ledger
    assert invoices.cost(ledger, next(iter(ledger.jobs.values()))) == Decimal("0.20")


def test_a_period_is_billed_the_difference_and_late_corrections_are_credits() -> None:
    told = faulty().told
    first = periods.of_period(told, ACME, 0, 14 * SECOND)
    second = periods.of_period(told, ACME, 14 * SECOND, 99 * SECOND)
    assert [line.exact for line in first.lines] == [14 * SECOND]
    assert [line.exact for line in second.lines] == [6 * SECOND, 7 * SECOND]  # 10 done, 4 credited
    whole = periods.of_period(told, ACME, 0, 99 * SECOND)
    assert whole.total == first.total + second.total


def test_new_prices_apply_from_then_on() -> None:
    story = Story(nodes=1)
    story.admit(0, nodes=1)
    story.place(0, "j.1", "n0")
    story.run(0, "j.1")
    story.tell(facts.SiteOpened, 10, site=site(1), prices=prices("72.00"))
    story.buckets(15)
    bill = invoices.invoice(invoices.usage(story.ledger, ACME))
    assert lines(bill) == [("training", "j", "36.00", "0.10"), ("training", "j", "72.00", "0.10")]
    story.stopped(15, "j.1", "node", kept=0)
    bill = invoices.invoice(invoices.usage(story.ledger, ACME))
    assert [(str(line.unit_price), line.exact) for line in bill.lines] == [("0", 15 * SECOND)]


def test_reopening_with_the_same_prices_starts_no_new_line() -> None:
    story = Story(nodes=1)
    story.tell(facts.SiteOpened, 5, site=site(1), prices=prices())
    assert len(story.ledger.terms) == 1


def test_owners_pay_chips_and_callers_from_elsewhere_pay_tokens() -> None:
    story = Story(nodes=1)
    story.serve(0)
    story.place(0, "chat.1", "n0", service="chat")
    story.run(5, "chat.1")
    story.tokens(6, "r1", 250_000, 500_000, True, tenant=OTHER)
    story.tokens(6, "r2", 9_000_000, 9_000_000, True, tenant=ACME)
    story.buckets(100)
    assert lines(invoices.invoice(invoices.usage(story.ledger, ACME))) == [
        ("serving", "chat", "36.00", "1.00")
    ]
    bill = invoices.invoice(invoices.usage(story.ledger, OTHER))
    assert lines(bill) == [
        ("prompt_tokens", "chat", "2.00", "0.50"),
        ("completion_tokens", "chat", "8.00", "4.00"),
    ]
    assert bill.total == Decimal("4.50")


@given(chip_ns=st.integers(0, 10**22), price=st.decimals(0, 1000, places=4, allow_nan=False))
def test_a_line_is_rounded_once_half_to_even(chip_ns: int, price: Decimal) -> None:
    item = invoices.Item(
        kind="training",
        subject="j",
        name="j",
        chip="c",
        currency="CNY",
        unit_price=price,
        quantity=chip_ns,
    )
    amount = invoices._line(item, chip_ns).amount
    assert amount.as_tuple().exponent == -2
    tenthousandths, rest = divmod(chip_ns * int(price * 10_000), HOUR)
    exact_over_cent = (tenthousandths % 100, rest)
    off = amount * 10_000 - tenthousandths  # in ten-thousandths of the currency
    assert -50 <= off <= 50
    if exact_over_cent == (50, 0):
        assert int(amount * 100) % 2 == 0


def test_nothing_used_is_an_empty_invoice() -> None:
    bill = invoices.invoice(invoices.usage(Story(nodes=1).ledger, ACME))
    assert (bill.lines, bill.total) == ((), Decimal("0.00"))


def test_tokens_of_answers_that_were_cut_say_so_in_the_period_they_came() -> None:
    story = Story(nodes=1)
    story.serve(0)
    story.tokens(6, "r1", 1_000_000, 1_000_000, True, estimated=True)
    story.tokens(20, "r2", 1_000_000, 1_000_000, True)
    first = periods.of_period(story.told, OTHER, 0, 10 * SECOND)
    second = periods.of_period(story.told, OTHER, 10 * SECOND, 30 * SECOND)
    assert {line.note for line in first.lines} == {invoices.ESTIMATED}
    assert {line.note for line in second.lines} == {""}
    assert first.total == second.total == Decimal("10.00")
