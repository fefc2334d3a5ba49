"""Work drawn from shapes: in order, reproducible, in the shares that were asked for."""

from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from myriad.control import sitefile
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, HOUR, MINUTE, SECOND
from myriad.twin.workload import config, moments
from myriad.twin.workload.work import Work
from myriad.workload.jobs import NodeRange
from tests.twin.workload.shop import PARTS, site, workload

WEEKS = 4 * 7 * DAY


@pytest.fixture(scope="module")
def works() -> list[Work]:
    """Four weeks of it."""
    return list(workload().arrivals(site(), Stream(3), WEEKS))


def test_in_order_within_the_span_and_named_apart(works: list[Work]) -> None:
    assert all(one.at <= two.at for one, two in pairwise(works))
    assert works[0].at >= 0 and works[-1].at < WEEKS
    assert len({work.job for work in works}) == len(works)


def test_the_same_seed_gives_the_same_work_and_another_does_not(works: list[Work]) -> None:
    again = workload().arrivals(site(), Stream(3), WEEKS)
    assert works == list(again)
    other = list(islice(workload().arrivals(site(), Stream(4), WEEKS), 50))
    assert other != works[:50]


def test_a_longer_span_begins_alike() -> None:
    short = list(workload().arrivals(site(), Stream(3), DAY))
    assert short == list(islice(workload().arrivals(site(), Stream(3), WEEKS), len(short)))


def test_a_start_moves_the_work_and_keeps_the_week() -> None:
    week = list(workload().arrivals(site(), Stream(3), DAY, start=7 * DAY))
    assert [work.at - 7 * DAY for work in week] == [
        work.at for work in workload().arrivals(site(), Stream(3), DAY)
    ]


def test_as_many_as_asked(works: list[Work]) -> None:
    # bursts of five make the count vary more than a Poisson process would
    assert len(works) == pytest.approx(2000 * 28, rel=0.05)
    share = Counter(work.spec.name for work in works)["pretrain"] / len(works)
    assert share == pytest.approx(0.1, rel=0.1)


def test_outcomes_and_run_times(works: list[Work]) -> None:
    small = [work for work in works if work.spec.name == "evaluation"]
    ended = Counter(work.truth.outcome for work in small)
    for outcome, share in (("succeeded", 0.6), ("failed", 0.3), ("cancelled", 0.1)):
        assert ended[outcome] / len(small) == pytest.approx(share, abs=0.02)
    ran = [work.truth.work_ns for work in small if work.truth.outcome == "succeeded"]
    assert np.median(ran) / SECOND == pytest.approx(120, rel=0.05)
    failed = [work.truth.work_ns for work in small if work.truth.outcome == "failed"]
    assert np.mean([ns < 10 * MINUTE for ns in failed]) == pytest.approx(0.7, abs=0.02)
    assert max(work.truth.work_ns for work in works) <= 3 * DAY + HOUR


def test_means_agree_with_the_closed_form(works: list[Work]) -> None:
    sized = sum(work.spec.chips * work.truth.work_ns for work in works) / SECOND / len(works)
    assert sized == pytest.approx(workload().chip_s(site()), rel=0.1)
    for kind in workload().classes:
        mine = [work.truth.work_ns / SECOND for work in works if work.spec.name == kind.name]
        assert np.mean(mine) == pytest.approx(moments.run_s(kind), rel=0.08)


def test_gangs_are_parts_of_a_node_or_whole_nodes(works: list[Work]) -> None:
    shapes = {(work.spec.max_nodes, work.spec.chips_per_node) for work in works}
    assert shapes == {(1, 1), (1, 8), (2, 8), (3, 8), (8, 8)}
    assert all(work.truth.work_ns % work.truth.step_ns == 0 for work in works)
    assert all(work.truth.step_ns <= MINUTE for work in works if work.spec.name == "evaluation")


def test_some_large_gangs_are_elastic(works: list[Work]) -> None:
    large = [work.spec.nodes for work in works if work.spec.name == "pretrain"]
    elastic = [nodes for nodes in large if isinstance(nodes, NodeRange)]
    assert len(elastic) / len(large) == pytest.approx(0.5, abs=0.05)
    assert all(2 * nodes.min >= nodes.max > nodes.min for nodes in elastic)


def test_training_counts_steps_and_saves(works: list[Work]) -> None:
    large = [work for work in works if work.spec.name == "pretrain"]
    assert all(work.truth.checkpoint_bytes in (14e9, 98e9) for work in large)
    assert all(work.truth.flops > 0 and work.profile.steps > 0 for work in large)
    # what recurs is known: eight configurations of each size
    known = {(work.spec.chips, work.truth.step_ns, work.profile.tokens_per_step) for work in large}
    assert len(known) <= 3 * 8
    for work in large[:50]:
        tokens = work.truth.flops / (6 * work.profile.parameters)
        assert work.profile.tokens_per_step == pytest.approx(tokens, rel=1e-3)


def test_alike_jobs_share_a_spec(works: list[Work]) -> None:
    assert len({id(work.spec) for work in works}) < 700
    assert all(work.spec.retries == 0 for work in works if work.truth.outcome == "failed")


def test_users_are_wrong_as_much_as_the_knob_says() -> None:
    exact = workload(estimates={"error": 0.0, "bias": 1.0, "rounded": False, "unknown": 0.0})
    for work in exact.arrivals(site(), Stream(3), DAY):
        if work.truth.outcome == "succeeded" and work.spec.name == "evaluation":
            assert abs(work.profile.expected_ns - work.truth.work_ns) <= MINUTE
    wrong = workload(estimates={"error": 0.6, "bias": 2.0, "unknown": 0.25})
    said = [work for work in wrong.arrivals(site(), Stream(3), 7 * DAY) if work.spec.name == "evaluation"]
    silent = sum(work.profile.expected_ns == 0 for work in said) / len(said)
    assert silent == pytest.approx(0.25, abs=0.02)
    ratios = [
        work.profile.expected_ns / work.truth.work_ns
        for work in said
        if work.profile.expected_ns and work.truth.outcome == "succeeded" and work.truth.work_ns > 10 * MINUTE
    ]
    assert 2.0 < np.median(ratios) < 3.5


def test_nights_are_quiet_and_weekends_too(works: list[Work]) -> None:
    hours = Counter(work.at // HOUR % 24 for work in works)
    assert sum(hours[hour] for hour in (3, 4, 5)) < 0.5 * sum(hours[hour] for hour in (14, 15, 16))
    days = Counter((work.at // DAY + 3) % 7 for work in works)
    assert (days[5] + days[6]) / 2 < 0.85 * sum(days[day] for day in range(5)) / 5


def test_few_users_submit_most(works: list[Work]) -> None:
    by_user = sorted(Counter(work.spec.tenant for work in works).values(), reverse=True)
    assert len(by_user) == 20
    assert sum(by_user[:3]) > 0.4 * len(works)


def test_jobs_grow_with_the_site() -> None:
    asked = workload(jobs_per_day=1000.0, per_chips=512)
    assert asked.per_day(site(64)) == 1000
    assert asked.per_day(site(256)) == 4000
    aimed = workload(jobs_per_day=0.0, target_utilisation=0.8)
    assert aimed.utilisation(site(64)) == pytest.approx(0.8)
    assert aimed.per_day(site(256)) == pytest.approx(4 * aimed.per_day(site(64)))


def test_a_closed_loop_keeps_as_many_waiting() -> None:
    loop = workload(jobs_per_day=0.0, backlog={"jobs": 30})
    assert list(loop.arrivals(site(), Stream(1), DAY)) == []
    backlog = loop.backlog(site(), Stream(1))
    assert backlog is not None
    first = backlog.refill(5 * SECOND, 0)
    assert len(first) == 30 and all(work.at == 5 * SECOND for work in first)
    assert backlog.refill(6 * SECOND, 30) == []
    more = backlog.refill(7 * SECOND, 28)
    assert len(more) == 2 and not {work.job for work in more} & {work.job for work in first}
    assert workload().backlog(site(), Stream(1)) is None


def test_jobs_are_cut_down_to_the_largest() -> None:
    cut = workload(largest=16)
    assert max(work.spec.chips for work in cut.arrivals(site(8), Stream(1), 7 * DAY)) == 16


@pytest.mark.parametrize("path", sorted(PARTS.glob("workload-*.yaml")), ids=lambda path: path.stem)
def test_shipped_workloads_make_work(path: Path) -> None:
    shipped = config.read(path)
    several = {kind.chip for kind in shipped.classes} - {""}
    large = sitefile.read(PARTS.parent / "sites" / "mixed.yaml").site if several else site(1280)
    if loop := shipped.backlog(large, Stream(1)):
        works = [work for second in range(100) for work in loop.refill(second * SECOND, 0)]
    else:
        assert 0.05 < shipped.utilisation(large) < 0.95
        works = list(islice(shipped.arrivals(large, Stream(1), 7 * DAY), 500))
    assert len(works) > 100
    names = {tenant.name for tenant in shipped.tenants(large)}
    assert {work.spec.tenant for work in works} <= names
