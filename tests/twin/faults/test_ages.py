"""The bathtub: no effect by default, mean 1 over a life where it says so, and a ceiling that is one."""

import numpy as np
import pytest

from myriad.twin.faults.ages import DAY_S, Age


def test_by_default_age_has_no_effect() -> None:
    assert Age().flat
    assert Age().multiplier()(1e8) == 1.0


@pytest.mark.parametrize(("infant", "wear"), [(5, 1), (1, 4), (6, 3), (2, 2)])
def test_it_integrates_to_one_over_a_life(infant: float, wear: float) -> None:
    bath = Age(infant=infant, wear=wear).multiplier()
    days = np.linspace(0, 1825, 20_001)
    mean = np.trapezoid([bath(day * DAY_S) for day in days], days) / 1825
    assert mean == pytest.approx(1.0, abs=1e-4)


def test_it_falls_then_grows_then_stays() -> None:
    bath = Age(infant=5, wear=3, mean_over_life=False).multiplier()
    at = [bath(day * DAY_S) for day in (0, 30, 90, 600, 1500, 1825, 4000)]
    assert at[0] == pytest.approx(5)
    assert at[0] > at[1] > at[2] > at[3] < at[4] < at[5]
    assert at[5] == pytest.approx(3, rel=1e-3) and at[6] == pytest.approx(at[5], rel=1e-3)


def test_the_ceiling_holds_between_any_two_ages() -> None:
    bath = Age(infant=5, wear=3).multiplier()
    for begin in range(0, 2400, 50):
        most = bath.most(begin * DAY_S, (begin + 400) * DAY_S)
        assert all(bath((begin + day) * DAY_S) <= most * (1 + 1e-12) for day in range(0, 401, 4))
