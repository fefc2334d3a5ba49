"""Repairs: how long, by which way, whether they help, and who waits for hands."""

import pytest

from myriad.kernel.rng import Stream
from myriad.kernel.units import HOUR
from myriad.twin.faults import Fault, Repair, Workshop
from myriad.twin.faults.repair import Plan, factor_after, plan
from tests.twin.faults import build

BROKEN = Fault("gpu", "chip", "crash", 3, 0, 10.0, 10.0, True, True)
PASSING = BROKEN._replace(permanent=False)


def plans(repair: Repair, fault: Fault | None = BROKEN, count: int = 4000, losses: int = 1) -> list[Plan]:
    stream = Stream(5)
    return [plan(repair, fault, stream, losses=losses) for _ in range(count)]


def test_the_shipped_parts_are_read() -> None:
    for part in ("default", "airesim", "short-handed", "perfect"):
        assert plans(build.repair(part=part), count=10)


def test_what_passes_by_itself_is_rebooted() -> None:
    for done in plans(Repair(), PASSING, 10) + plans(Repair(), None, 10):
        assert done == Plan(1200.0, ("reboot",), True, False)


def test_shares_of_ways_and_of_repairs_in_vain() -> None:
    found = plans(Repair(escalates=0))
    first = [done for done in found if done.path[0] == "automatic"]
    assert len(first) / len(found) == pytest.approx(0.9, abs=0.02)
    # automatic repair fails in silence 40 % of the time, and the check misses 30 % of these
    vain = sum(done.path == ("automatic",) and not done.fixed for done in first) / len(first)
    assert vain == pytest.approx(0.4 * 0.3, abs=0.02)
    caught = sum(len(done.path) > 1 for done in first) / len(first)
    assert caught == pytest.approx(0.4 * 0.7, abs=0.03)


def test_an_automatic_repair_takes_one_to_three_hours_and_hands_days() -> None:
    found = plans(Repair())
    short = [done.duration_s / 3600 for done in found if done.path == ("automatic",)]
    assert min(short) > 1 and max(short) < 3.2
    long = [done.duration_s / 86_400 for done in found if done.path == ("manual",)]
    assert min(long) > 1 and max(long) < 3.1


def test_only_the_vendor_cures_a_lemon() -> None:
    found = plans(Repair())
    assert all(done.cured == (done.path[-1] == "vendor") for done in found)
    assert all(done.cured for done in plans(Repair(), count=20, losses=5))
    assert not any(done.cured for done in plans(Repair(vendor_after=0, escalates=0, recall=0), losses=50))


def test_a_perfect_workshop_mends_all() -> None:
    assert all(done.fixed for done in plans(build.repair(part="perfect")))


def test_what_a_visit_leaves_behind() -> None:
    vain, helped = Plan(1, ("automatic",), False, False), Plan(1, ("automatic",), True, False)
    new = Plan(1, ("vendor",), True, True)
    assert factor_after(Repair(), 1.0, helped) == 1 and factor_after(Repair(), 1.0, vain) == 50
    assert factor_after(Repair(), 226.0, helped) == 226 and factor_after(Repair(), 226.0, new) == 1


def test_few_technicians_make_a_queue() -> None:
    shop = Workshop(Repair(technicians=1, hands_on="4h"))
    by_hand = Plan(3600.0, ("manual",), True, False)
    assert [shop.book(0, by_hand) for _ in range(3)] == [1 * HOUR, 5 * HOUR, 9 * HOUR]
    assert shop.book(0, Plan(3600.0, ("automatic",), True, False)) == HOUR
    many = Workshop(Repair())
    assert [many.book(0, by_hand) for _ in range(3)] == [HOUR] * 3
