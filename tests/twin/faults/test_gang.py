"""One gang under failures: Monte Carlo against the closed forms, and where these hold."""

import itertools

import pytest

from myriad.kernel.rng import Stream
from myriad.performance import goodput
from myriad.twin.faults import Terrain, gang, times
from myriad.twin.faults.hazards import Fault
from tests.twin.faults import build

HOUR, DAY = 3600.0, 86_400.0


def measured(interval_s: float, cost_s: float, restart_s: float, mean_s: float) -> gang.Measured:
    return gang.ettr(
        mean_s=mean_s,
        interval_s=interval_s,
        cost_s=cost_s,
        down=[restart_s],
        span_s=max(300 * mean_s, 100 * interval_s),
        runs=300,
        stream=Stream(1),
    )


CASES = [
    (300.0, 0.0, 300.0, 2 * HOUR),
    (3600.0, 30.0, 300.0, 2 * HOUR),
    (600.0, 10.0, 600.0, 10 * HOUR),
    (60.0, 1.0, 60.0, 900.0),
    (1800.0, 60.0, 1200.0, 1200.0),
]


@pytest.mark.parametrize(("interval_s", "cost_s", "restart_s", "mean_s"), CASES)
def test_monte_carlo_is_dalys_share_at_any_loss(
    interval_s: float, cost_s: float, restart_s: float, mean_s: float
) -> None:
    found = measured(interval_s, cost_s, restart_s, mean_s)
    exact = goodput.share(interval_s, cost_s, restart_s, mean_s)
    # the run begins without a restart and ends without a failure: one part in 300
    assert found.mean == pytest.approx(exact, abs=0.004)


@pytest.mark.parametrize(("interval_s", "cost_s", "restart_s", "mean_s"), CASES)
def test_the_first_order_is_off_by_no_more_than_it_says(
    interval_s: float, cost_s: float, restart_s: float, mean_s: float
) -> None:
    exact = goodput.share(interval_s, cost_s, restart_s, mean_s)
    low = goodput.first_order(interval_s, cost_s, restart_s, mean_s)
    error = goodput.first_order_error(interval_s, cost_s, restart_s, mean_s)
    assert low - 0.003 <= exact <= low + error + 0.003


def test_the_first_order_says_where_it_does_not_hold() -> None:
    mean_s = goodput.mean_between_s(100_000, 6.5e-3 / 8)
    assert goodput.first_order(HOUR, 0, 600, mean_s) < 0
    assert goodput.first_order_error(HOUR, 0, 600, mean_s) > 0.5
    assert goodput.share(HOUR, 0, 600, mean_s) > 0
    assert goodput.first_order_error(300, 0, 300, goodput.mean_between_s(1024, 6.5e-3 / 8)) < 1e-4


def test_a_gang_that_never_fails_works_all_the_time_but_for_checkpoints() -> None:
    found = gang.ettr(mean_s=1e15, interval_s=90, cost_s=10, down=[1.0], span_s=DAY, runs=4, stream=Stream(1))
    assert found.mean == pytest.approx(0.9, abs=1e-3)


def test_interruptions_are_the_site_s_and_the_job_s() -> None:
    faults = build.faults(part="llama3")
    stream = gang.interruptions(faults, Terrain.plain(2048, 8), Stream(2))
    found = list(itertools.takewhile(lambda one: one[0] < 54 * DAY, stream))
    assert abs(len(found) - 419) < 82
    assert 30 < sum(fault.scope == "software" for _, fault in found) < 100
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    assert not list(gang.interruptions(build.faults(part="none"), Terrain.plain(8, 8), Stream(1)))


def test_a_wrong_node_costs_twice_and_warm_standbys_a_tenth() -> None:
    fault = Fault("gpu", "chip", "crash", 0, 0, 10.0, 50.0, True, True)

    def mean(fault: Fault, way: times.Way) -> float:
        stream = Stream(3)
        return sum(gang.down_s(fault, 4096, way, stream) for _ in range(500)) / 500

    right, wrong = mean(fault, "requeue"), mean(fault._replace(blamed=False), "requeue")
    assert wrong == pytest.approx(2 * right, rel=0.05)
    assert (mean(fault, "standby") - 60) * 10.87 == pytest.approx(right - 60, rel=0.05)


def test_restarts_are_as_measured() -> None:
    for chips, requeue, in_place in ((2048, 454, 46), (4096, 545, 51), (8192, 635, 54), (16384, 768, 65)):
        assert times.restart("requeue", chips).mean_s == pytest.approx(requeue, rel=0.06)
        assert times.restart("in_place", chips).mean_s == pytest.approx(in_place, rel=0.06)
    for way in ("requeue", "reschedule", "standby", "in_place"):
        assert times.restart(way, 8).mean_s > 0
    assert times.load(1e12, 100).mean_s == pytest.approx(13)
    assert times.save(1e12, 100).mean_s == pytest.approx(13)
