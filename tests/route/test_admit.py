"""Admission: never more than the rate and its burst, never a refusal without need, debts are paid."""

from hypothesis import given
from hypothesis import strategies as st

from myriad.kernel.ids import TenantId
from myriad.kernel.units import HOUR, MINUTE, SECOND
from myriad.route.admit import Limiter
from myriad.route.policy import Policy
from myriad.workload.tenants import Rate

ACME = TenantId("acme")
GAPS = st.lists(st.integers(0, 5 * SECOND), min_size=1, max_size=200)


@given(GAPS, st.integers(1, 600), st.sampled_from([0, SECOND, 10 * SECOND]))
def test_no_window_lets_in_more_than_burst_and_rate(gaps: list[int], rpm: int, patience: int) -> None:
    limiter, rate = Limiter(Policy(rate_wait="1h")), Rate(requests_per_minute=rpm)
    now, entered = 7 * HOUR, []
    for gap in gaps:
        now += gap
        decision = limiter.decide(now, ACME, rate, patience)
        assert decision.wait_ns <= patience or decision.verdict == "refuse"
        if decision.verdict != "refuse":
            entered.append(now + decision.wait_ns)
    assert entered == sorted(entered)
    for first in range(len(entered)):
        for last in range(first, len(entered)):
            allowed = rpm + (entered[last] - entered[first]) * rpm / MINUTE
            assert last - first + 1 <= allowed + 1e-6


@given(GAPS, st.integers(1, 600))
def test_after_a_refusal_the_wait_it_named_is_enough(gaps: list[int], rpm: int) -> None:
    limiter, rate, now = Limiter(Policy()), Rate(requests_per_minute=rpm), HOUR
    for gap in gaps:
        now += gap
        decision = limiter.decide(now, ACME, rate, 0)
        if decision.verdict == "refuse":
            now += decision.wait_ns
            assert limiter.decide(now, ACME, rate, 0).verdict == "admit"


@given(st.lists(st.tuples(st.integers(0, 5 * SECOND), st.integers(1, 5000)), min_size=1, max_size=100))
def test_tokens_are_charged_late_but_paid(work: list[tuple[int, int]]) -> None:
    """Whatever is charged, what entered never exceeds the rate and burst by more than the last debt."""
    rate = Rate(tokens_per_minute=1000)
    limiter, start = Limiter(Policy()), HOUR
    now, used = start, 0
    for gap, tokens in work:
        now += gap
        if limiter.decide(now, ACME, rate, 0).verdict == "admit":
            assert used < 1000 + (now - start) * 1000 / MINUTE
            used += tokens
            limiter.charge(now, ACME, rate, tokens)


def test_a_token_debt_refuses_with_the_time_it_takes_to_pay() -> None:
    limiter, rate = Limiter(Policy()), Rate(tokens_per_minute=60)
    limiter.charge(HOUR, ACME, rate, 90)
    decision = limiter.decide(HOUR, ACME, rate, MINUTE)
    assert (decision.verdict, decision.limit, decision.wait_ns) == ("refuse", "tokens", 31 * SECOND)


def test_tenants_do_not_share_a_bucket() -> None:
    limiter, rate = Limiter(Policy()), Rate(requests_per_minute=1)
    assert limiter.decide(HOUR, ACME, rate, 0).verdict == "admit"
    assert limiter.decide(HOUR, ACME, rate, 0).verdict == "refuse"
    assert limiter.decide(HOUR, TenantId("other"), rate, 0).verdict == "admit"


def test_a_short_wait_is_queued_in_turn() -> None:
    limiter, rate = Limiter(Policy(burst="0s")), Rate(requests_per_minute=120)
    waits = [limiter.decide(HOUR, ACME, rate, SECOND).wait_ns for _ in range(3)]
    assert waits == [0, SECOND // 2, SECOND]
    assert limiter.decide(HOUR, ACME, rate, SECOND).verdict == "refuse"
