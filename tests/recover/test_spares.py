"""As many hot spares as are enough with a stated probability, in each pod, spread over its racks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from myriad.control import observed
from myriad.control.policy import Policy as Policies
from myriad.fleet.columns import Columns, NodeState
from myriad.kernel.ids import NodeId
from myriad.kernel.units import DAY, HOUR
from myriad.recover import sizing
from myriad.recover.policy import Policy
from myriad.schedule import spares
from tests import build
from tests.control.world import Rig

POLICY = Policy()


@given(st.integers(1, 6250), st.floats(1e-7, 0.3), st.sampled_from([0.5, 0.9, 0.99, 0.999, 0.99999]))
def test_the_smallest_number_that_is_enough(nodes: int, share: float, probability: float) -> None:
    found = sizing.spares(nodes, share, probability)
    assert binom.cdf(found, nodes, share) >= probability - 1e-9
    assert found == 0 or binom.cdf(found - 1, nodes, share) < probability + 1e-9


def test_edges() -> None:
    assert sizing.spares(0, 0.5, 0.99) == 0 == sizing.spares(100, 0.0, 0.99)
    assert sizing.spares(7, 1.0, 0.99) == 7
    assert sizing.spares(100_000, 0.5, 0.99) == binom.ppf(0.99, 100_000, 0.5), "first terms underflow"


def test_a_pod_of_512_nodes_at_published_rates() -> None:
    """6.5 per 1,000 node-days and 2 h of repair: 0.28 nodes away on average, 2 spares for 99 %."""
    share = sizing.lost_share(6.5 / (1000 * DAY), 2 * HOUR)
    assert 512 * share == pytest.approx(0.277, rel=0.01)
    assert sizing.spares(512, share, 0.99) == 2
    by_hand = sizing.lost_share(6.5 / (1000 * DAY), 48 * HOUR)
    assert sizing.spares(512, by_hand, 0.99) == 13, "repairs by hand take days: 2.5 % of the pod"


def test_repairs_that_were_seen_outweigh_the_prior() -> None:
    assert sizing.repair_ns(0, 0, POLICY) == 2 * HOUR
    assert sizing.repair_ns(9, 9 * 12 * HOUR, POLICY) == 11 * HOUR


def columns(pods: int = 2, racks: int = 3, nodes: int = 4) -> Columns:
    made = Columns()
    made.add(build.site(racks=racks, nodes_per_rack=nodes, pods=pods).places())
    made.state[:] = NodeState.READY
    return made


def take(made: Columns, wanted: spares.Wanted) -> list[NodeId]:
    found = []
    for node in spares.missing(made, wanted):
        made.spare[made.index[node]] = True
        found.append(node)
    return found


def test_each_pod_gets_its_own_over_its_racks() -> None:
    made = columns()
    wanted = spares.wanted_per_pod(made, lambda nodes: nodes // 4)
    assert wanted.tolist() == [3, 3]
    assert len(take(made, wanted)) == 6
    assert made.rack[made.spare].tolist() == [0, 1, 2, 3, 4, 5]
    assert take(made, wanted) == []


def test_an_integer_is_of_the_whole_site() -> None:
    made = columns()
    assert len(take(made, 3)) == 3
    assert [made.spare.sum() for _ in take(made, 3)] == []


def test_what_is_too_much_is_given_back() -> None:
    made = columns()
    take(made, spares.wanted_per_pod(made, lambda _: 3))
    for node in spares.surplus(made, spares.wanted_per_pod(made, lambda _: 1)):
        made.spare[made.index[node]] = False
    assert made.pod[made.spare].tolist() == [0, 1]


def test_a_pod_whose_nodes_stay_away_longer_wants_more() -> None:
    rig = Rig(build.site(racks=8, nodes_per_rack=16, pods=2, spares=0))
    policy = Policies()
    before = observed.spares_per_pod(rig.core.state, policy).tolist()
    assert before == [1, 1]
    rig.core.state.repairs, rig.core.state.repair_ns = 50, 50 * 48 * HOUR
    assert observed.spares_per_pod(rig.core.state, policy).tolist() == [5, 5]
