"""What failures cost: the formulas at their limits and against published runs."""

import math

import pytest

from myriad.kernel.errors import UserError
from myriad.performance import goodput

MINUTE, HOUR = 60.0, 3600.0
#: Failures for 1,000 node-days of eight chips, as published, for one chip and day.
RSC_1 = 6.50 / 1000 / 8
LLAMA_3 = 3.79 / 1000 / 8


def mean(chips: int, rate: float) -> float:
    return goodput.DAY_S / (chips * rate)


def test_mean_time_between_failures_of_published_clusters() -> None:
    found = goodput.expected(parameters=1e9, chips=16384, chips_per_node=8, failures_per_chip_day=RSC_1)
    assert found.mean_between_s / HOUR == pytest.approx(1.8, rel=0.05)
    found = goodput.expected(parameters=1e9, chips=131_072, chips_per_node=8, failures_per_chip_day=RSC_1)
    assert found.mean_between_s / HOUR == pytest.approx(0.23, rel=0.05)


@pytest.mark.parametrize(
    ("chips", "interval_s", "cost_s", "restart_s", "published", "off"),
    [
        # Meta's own reading of its clusters (HPCA 2025)
        (16_000, 5 * MINUTE, 0.0, 5 * MINUTE, 0.93, 0.01),
        (16_000, 60 * MINUTE, 0.0, 5 * MINUTE, 0.70, 0.03),
        (12_000, 7 * MINUTE, 10.0, 5 * MINUTE, 0.90, 0.03),
    ],
)
def test_goodput_of_published_clusters(
    chips: int, interval_s: float, cost_s: float, restart_s: float, published: float, off: float
) -> None:
    found = goodput.share(interval_s, cost_s, restart_s, mean(chips, RSC_1))
    assert found == pytest.approx(published, abs=off)


def test_llama_3_is_above_ninety_percent_with_a_fast_restart() -> None:
    found = goodput.expected(
        parameters=405e9, chips=16384, chips_per_node=8, failures_per_chip_day=LLAMA_3, restart_s=6 * MINUTE
    )
    assert 0.90 < found.share < 0.97
    # 419 interruptions in 54 days
    assert 54 * goodput.DAY_S / found.mean_between_s == pytest.approx(419, rel=0.01)


@pytest.mark.parametrize("cost_s", [1.0, 10.0, 60.0])
@pytest.mark.parametrize("mean_s", [HOUR, 10 * HOUR, 200 * HOUR])
def test_the_interval_is_close_to_the_best(cost_s: float, mean_s: float) -> None:
    chosen = goodput.share(goodput.young_daly(cost_s, mean_s), cost_s, 600, mean_s)
    best = max(goodput.share(cost_s * 1.05**n, cost_s, 600, mean_s) for n in range(250))
    assert chosen > best - 0.004


def test_limits() -> None:
    assert goodput.young_daly(10.0, 4.0) == 10.0, "never more often than it costs"
    assert goodput.young_daly(2.0, 1e6) == pytest.approx(math.sqrt(4e6) - 2)
    assert goodput.share(600, 0, 0, 1e12) == pytest.approx(1.0)
    assert goodput.share(600, 60, 600, 1.0) == 0.0
    assert 0 < goodput.share(3600, 60, 600, 600) < 0.05, "bad, and never below nothing"


def test_more_failures_never_help() -> None:
    shares = [
        goodput.expected(
            parameters=70e9, chips=8192, chips_per_node=8, failures_per_chip_day=rate / 1000
        ).share
        for rate in (0.1, 0.3, 1.0, 3.0, 5.0)
    ]
    assert shares == sorted(shares, reverse=True)


def test_writes_and_requeues_are_near_the_measured_ones() -> None:
    # ByteRobust (2025), tables 7 and 8; machines of 16 chips
    assert goodput.write_s(14 * 70e9, 256) == pytest.approx(6.95, rel=0.1)
    assert goodput.write_s(14 * 256e9, 512) == pytest.approx(13.0, rel=0.3)
    for chips, measured in ((2048, 454), (4096, 545), (8192, 635), (16384, 768)):
        assert goodput.requeue_s(chips) == pytest.approx(measured, rel=0.06)


def test_rates_are_read_with_their_units() -> None:
    assert goodput.rate("0.5") == pytest.approx(0.0005)
    assert goodput.rate("2000d") == pytest.approx(0.0005)
    assert goodput.rate("48000h") == pytest.approx(0.0005)
    assert goodput.rate("5y") == pytest.approx(1 / 1826.25)
    for text in ("", "0", "-1", "x", "0d", "5 years", "5mo"):
        with pytest.raises(UserError) as caught:
            goodput.rate(text)
        assert caught.value.field == "reliability"
