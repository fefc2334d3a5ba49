"""A gang whose room is on more racks than it needs waits a share of its run time for fewer."""

import msgspec
import pytest

from myriad.control import views
from myriad.control.policy import Policy
from myriad.kernel.errors import UserError
from myriad.kernel.units import SECOND
from myriad.schedule.policy import Placement
from tests.schedule.hall import Hall, Wish, policy, site


def gathering(share: float) -> Policy:
    return msgspec.structs.replace(policy(), placement=Placement(wait_for_racks=share))


def full(share: float, second_s: int) -> Hall:
    """Two racks of two nodes, each node with a gang: b's and c's, of two racks, end first, a's later."""
    made = Hall(site((2, 2)), gathering(share))
    made.wish(
        Wish("a", 1, second_s), Wish("b", 1, 100), Wish("c", 1, 100), Wish("d", 1, 300),
        Wish("wide", 2, 200, 10),
    )  # fmt: skip
    return made


def racks(made: Hall, job: str) -> int:
    columns = made.core.state.columns
    return len({int(columns.rack[columns.index[node]]) for node in made.where[job]})


def test_without_the_knob_it_takes_what_is_there() -> None:
    made = full(0.0, 105)
    made.run()
    assert made.starts["wide"] == [100 * SECOND] and racks(made, "wide") == 2


def test_it_waits_for_a_rack_that_comes_free_soon() -> None:
    made = full(0.05, 105)
    made.run()
    assert made.starts["wide"] == [105 * SECOND] and racks(made, "wide") == 1


def test_and_takes_what_is_there_when_its_time_is_over() -> None:
    made = full(0.05, 150)
    made.run()
    assert made.starts["wide"] == [110 * SECOND] and racks(made, "wide") == 2


def test_it_says_why_it_waits_and_asking_changes_nothing() -> None:
    made = full(0.05, 150)
    told: list[str] = []

    def look(_: object) -> None:
        state = made.core.state
        if state.now == 100 * SECOND and "wide" in state.waiting:
            for _ in range(2):
                told.append(views.explain(made.core.moment(state.now), state.jobs["wide"]).text)  # type: ignore[index]

    made.watch = look
    made.run()
    assert made.starts["wide"] == [110 * SECOND]
    assert any("on more racks than it needs; waits for fewer, 10.0s at most" in text for text in told), told


def test_the_share_is_checked() -> None:
    with pytest.raises((ValueError, UserError), match="wait_for_racks must be between 0 and 1"):
        Placement(wait_for_racks=2.0)
