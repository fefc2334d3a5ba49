"""The queue of the scheduling benchmark: seeded, at its load, and honest about who knows what."""

from statistics import median

import pytest
from bench.scheduling import workload

from myriad.kernel.rng import Stream

SITE = workload.site_of(10_000)


def test_the_same_seed_gives_the_same_queue_and_another_seed_another() -> None:
    first, again, other = (workload.queue(SITE, 200, 0.95, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_offered_load_is_what_was_asked_for() -> None:
    jobs = workload.queue(SITE, 500, 0.95, 3)
    assert sum(job.work for job in jobs) / SITE.chip_count / jobs[-1].arrives == pytest.approx(0.95)
    assert [job.arrives for job in jobs] == sorted(job.arrives for job in jobs)


def test_sizes_are_powers_of_two_within_a_quarter_of_the_site() -> None:
    for site in (SITE, workload.site_of(100_000)):
        jobs = workload.queue(site, 2000, 0.95, 1)
        assert {job.chips.bit_count() for job in jobs} == {1}
        assert site.node_count / 8 < max(job.nodes for job in jobs) <= site.node_count / 4
        assert {job.chips for job in jobs} >= {1, 2, 4, 8, 16}
        assert {job.kind for job in jobs} == {kind.name for kind in workload.kinds(site.node_count)}


def test_users_never_ask_for_too_little_and_about_three_times_too_much() -> None:
    jobs = workload.queue(SITE, 3000, 0.95, 1)
    assert all(job.asked >= job.runs and job.asked in workload.ROUND for job in jobs)
    assert 2.5 < median(job.asked / job.runs for job in jobs) < 3.5


def test_predictions_are_off_by_a_fifth_both_ways() -> None:
    jobs = workload.queue(SITE, 3000, 0.95, 1)
    ratios = sorted(job.runs / job.predicted for job in jobs)
    assert median(ratios) == pytest.approx(1.0, abs=0.02)
    assert ratios[int(0.16 * len(ratios))] == pytest.approx(
        0.82, abs=0.02
    )  # one sigma of a log-normal of 0.2


def test_normal_draws_are_standard() -> None:
    stream = Stream(1, "normal")
    draws = [workload.normal(stream) for _ in range(4000)]
    assert abs(sum(draws) / 4000) < 0.05
    assert sum(x * x for x in draws) / 4000 == pytest.approx(1.0, abs=0.06)


def test_a_site_is_whole_pods() -> None:
    assert workload.site_of(2000).node_count == 125
    with pytest.raises(ValueError, match="multiple of 2000"):
        workload.site_of(3000)
    with pytest.raises(ValueError, match="use 128 or more"):
        workload.kinds(125)
