"""A node that goes up and down must be well for longer each time; one that behaves is forgiven."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import NodeId
from myriad.kernel.units import HOUR, MINUTE, SECOND
from myriad.protocol import inputs
from myriad.recover import flaps
from myriad.recover.policy import Policy
from tests.control.world import Rig

POLICY = Policy()
instants = st.lists(st.integers(0, 100 * HOUR), max_size=16).map(sorted)


def test_the_penalty_halves_with_each_half_life() -> None:
    assert flaps.penalty((0,), 15 * MINUTE, POLICY) == 0.5
    assert flaps.penalty((0, 0), 30 * MINUTE, POLICY) == 0.5


def test_each_flap_doubles_the_time_to_settle_up_to_the_ceiling() -> None:
    at_once = [flaps.settle_ns((0,) * count, 0, POLICY) for count in (1, 2, 3, 4)]
    assert at_once == [3 * SECOND, 6 * SECOND, 12 * SECOND, 24 * SECOND]
    assert flaps.settle_ns((0,) * 16, 0, POLICY) == HOUR
    assert flaps.settle_ns((0,) * 16, 0, Policy(settle="2h")) == 2 * HOUR, "never below settle"


@given(instants, st.integers(0, 100 * HOUR), st.integers(0, HOUR))
def test_bounds_and_patience(when: list[int], more: int, later: int) -> None:
    now = max([*when, more])
    found = flaps.settle_ns(when, now, POLICY)
    assert 3 * SECOND <= found <= HOUR
    assert flaps.settle_ns(when, now + later, POLICY) <= found, "forgotten with time"
    assert flaps.settle_ns([*when, now], now, POLICY) >= found, "one more never makes it shorter"


def flap(rig: Rig, node: NodeId) -> float:
    """The node goes silent and comes back; how long until it is trusted, in seconds."""
    rig.world.pause_node(node)
    while rig.core.state.node_state(node) is not NodeState.SUSPECT:
        rig.pass_s(0.1)
    rig.world.resume_node(node)
    rig.pass_s(0)
    since = rig.world.now
    while rig.core.state.node_state(node) is not NodeState.READY:
        rig.pass_s(0.1)
    return (rig.world.now - since) / SECOND


def test_a_flapping_node_waits_longer_each_time_and_is_forgiven_after_a_calm_day() -> None:
    rig = Rig()
    waits = [flap(rig, NodeId("n2")) for _ in range(5)]
    assert all(later > 1.8 * sooner for sooner, later in itertools.pairwise(waits))
    rig.pass_s(24 * 3600)
    assert flap(rig, NodeId("n2")) < 4
    assert rig.core.state.nodes[NodeId("n1")].flaps == ()


def test_a_relapse_while_it_settles_is_a_flap_too() -> None:
    rig = Rig()
    node = NodeId("n2")
    instance = rig.core.state.nodes[node].instance
    for _ in range(4):
        for healthy in (False, True):
            given = inputs.NodeSignalled(
                at=rig.world.now, node=node, instance=instance, source="heartbeat", healthy=healthy
            )
            rig.give(given)
            rig.pass_s(0.5)
    assert len(rig.core.state.nodes[node].flaps) == 4
    rig.pass_s(20)
    assert rig.core.state.node_state(node) is NodeState.SUSPECT
    rig.pass_s(5)
    assert rig.core.state.node_state(node) is NodeState.READY
