"""Laws that took a change to hold, each by the smallest story that broke it; marked: not yet."""

from decimal import Decimal

import pytest

from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import NodeId, TenantId
from myriad.kernel.units import DAY, SECOND
from myriad.protocol import inputs
from myriad.workload.prices import PriceBook
from myriad.workload.tenants import Budget, Quota, Tenant
from tests import build
from tests.schedule.hall import Hall, Wish, policy, site

LONG = 100_000


def test_who_waits_for_the_next_period_of_a_budget_starts_with_it() -> None:
    poor = Tenant(name=TenantId("acme"), quota=Quota(chips=8), budget=Budget(amount="0.01", every="1d"))
    made = Hall(tenants=[poor])
    prices = PriceBook(chip_hour={"local-cpu": Decimal("1.00")})
    made.give(inputs.OpenSite(at=0, site=build.site(2, 4, spares=0), prices=prices))
    made.wish(Wish("first", 4, 3600, 1), Wish("second", 1, 100, 4000))
    made.run(until_s=2 * DAY // SECOND)
    assert made.first_s.get("second") == DAY // SECOND


def test_who_cannot_start_with_the_nodes_in_service_holds_nobody_up() -> None:
    made = Hall()
    made.give(inputs.DrainNode(at=0, node=NodeId("n0")))
    made.wish(Wish("whole", 8, 100, 1), Wish("small", 1, 100, 2))
    made.run(until_s=1000)
    assert made.first_s.get("small") == 2


def test_who_wants_other_chips_than_the_one_in_front_is_not_held_up_by_it() -> None:
    pods = (Pod(name="p0", racks=1, nodes_per_rack=4), Pod(name="p1", racks=1, nodes_per_rack=4, chip="h20"))
    made = Hall(Site(name="test", chip="local-cpu", pods=pods, chips_per_node=1))
    made.wish(
        Wish("runs", 3, 1000, 1), Wish("front", 4, 100, 2), Wish("other", 1, LONG, 3, more={"chip": "h20"})
    )
    made.run(until_s=100)
    assert made.first_s.get("other") == 3


def test_who_has_waited_too_long_goes_first_even_if_nothing_happens_then() -> None:
    made = Hall(site((1, 4)), policy("fair", starvation="10m"))
    made.wish(Wish("runs", 3, LONG, 1), Wish("ends", 1, 499, 1), Wish("old", 1, LONG, 3))
    made.wish(Wish("front", 4, LONG, 400, more={"priority": "high"}))
    made.run(until_s=2000)
    assert 603 <= made.first_s.get("old", 0) <= 903


def test_who_fits_beside_a_gang_that_is_late_enough_starts_even_if_nothing_happens_then() -> None:
    """It is expected to go on for as long as it is late: there is ever more time to pass the one in front."""
    made = Hall(site((1, 4)))
    made.wish(Wish("late", 3, 100, 1, late_s=LONG), Wish("front", 4, LONG, 2), Wish("passes", 1, 200, 3))
    made.run(until_s=2000)
    assert 301 <= made.first_s.get("passes", 0) <= 601


@pytest.mark.xfail(
    strict=True, reason="a gang that may not leave its core is promised room that is in pieces"
)
def test_easy_does_not_delay_a_gang_that_waits_for_room_in_one_core() -> None:
    pods = tuple(Pod(name=f"p{k}", racks=1, nodes_per_rack=2, core=f"c{k}") for k in range(3))
    made = Hall(Site(name="test", chip="local-cpu", pods=pods, chips_per_node=1))
    for row in (1, 3, 5):
        made.give(inputs.DrainNode(at=0, node=NodeId(f"n{row}")))
    made.wish(Wish("a", 1, 500, 1), Wish("b", 1, LONG, 2), Wish("c", 1, LONG, 3))
    made.run(until_s=10)
    for row in (1, 3, 5):
        made.give(inputs.UndrainNode(at=made.at, node=NodeId(f"n{row}")))
        made.give(inputs.NodeQualified(at=made.at, node=NodeId(f"n{row}"), instance="i0", ok=True))
    made.wish(Wish("front", 2, 100, 20, more={"within": "core"}), Wish("passes", 1, LONG, 30))
    made.run(until_s=1000)
    assert made.first_s.get("front") == 501
