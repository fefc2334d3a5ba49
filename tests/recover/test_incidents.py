"""Losses that come together are one event: of a rack, a pod, the site. They make no lemons and count once."""

from hypothesis import given
from hypothesis import strategies as st

from myriad.control import views
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import NodeId
from myriad.kernel.units import HOUR, SECOND
from myriad.protocol import facts, inputs
from myriad.recover import incidents
from myriad.recover.policy import Policy
from tests import build
from tests.control.world import Rig

POLICY = Policy()
N = [NodeId(f"n{k}") for k in range(64)]


def test_half_a_rack_within_the_span_is_one_event() -> None:
    lost = {N[0]: 0, N[1]: 5 * SECOND}
    verdict = incidents.judge("rack", 4, lost, 5 * SECOND, POLICY)
    assert verdict is not None and verdict.nodes == (N[0], N[1]) and verdict.since == 0
    assert verdict.why == "2 of the 4 nodes of its rack lost within 5.0s"
    assert incidents.judge("rack", 5, lost, 5 * SECOND, POLICY) is None, "below the share"
    assert incidents.judge("rack", 1, {N[0]: 0}, 0, POLICY) is None, "one node is no event"
    assert incidents.judge("rack", 4, lost, 125 * SECOND, POLICY) is None, "too long ago"


@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=40),
    st.integers(1, 64),
    st.integers(0, 400),
)
def test_what_is_judged_one_event_is_recent_and_enough(gaps_s: list[int], size: int, after_s: int) -> None:
    at, lost = 0, {}
    for node, gap in zip(N, gaps_s, strict=False):
        at += gap * SECOND
        lost[node] = at
    now = at + after_s * SECOND
    verdict = incidents.judge("pod", size, lost, now, POLICY)
    recent = [node for node, then in lost.items() if now - then <= 120 * SECOND]
    enough = len(recent) >= max(2, -(-size // 2))
    assert (verdict is not None) == enough
    if verdict:
        assert list(verdict.nodes) == recent and verdict.since == lost[recent[0]]


def rig() -> Rig:
    return Rig(build.site(racks=4, nodes_per_rack=4, pods=2, spares=1))


def kill(rig: Rig, *numbers: int) -> None:
    for k in numbers:
        rig.world.kill_node(NodeId(f"n{k}"))
    rig.pass_s(0.5)


def test_a_switch_that_fails_is_one_incident_and_closes_when_its_nodes_are_back() -> None:
    site = rig()
    kill(site, 0, 1, 2)
    (found,) = views.incidents(site.core.state)
    assert (found.kind, found.domain, found.closed_at) == ("rack", "p0/r0", 0)
    assert set(found.nodes) == set(found.out) == {"n0", "n1", "n2"}
    kill(site, 3)
    assert views.incidents(site.core.state)[0].nodes[-1] == "n3", "a late one joins"
    assert len(site.facts(facts.IncidentOpened)) == 1
    state = site.core.state
    assert state.losses == 4 and state.failures == 1
    assert all(state.nodes[NodeId(f"n{k}")].losses == () for k in range(4))
    site.pass_s(30)
    (found,) = views.incidents(state)
    assert found.closed_at and not found.out and not state.incidents
    assert state.repairs == 0, "how long a switch takes says nothing about repairs of nodes"


def test_losses_far_apart_are_the_nodes_own() -> None:
    site = rig()
    kill(site, 0, 5, 10)
    assert not views.incidents(site.core.state)
    assert site.core.state.failures == 3
    site.pass_s(30)
    assert site.core.state.repairs == 3 and site.core.state.repair_ns > 3 * SECOND


def test_a_pod_without_power_is_one_incident_that_explains_those_of_its_racks() -> None:
    site = rig()
    kill(site, *range(8))
    opened = site.facts(facts.IncidentOpened)
    site.pass_s(5)
    kill(site, *range(8, 12))
    newest = views.incidents(site.core.state)[0]
    assert (newest.kind, newest.domain) == ("pod", "p0") and len(newest.nodes) == 12
    assert opened and len(site.core.state.incidents) == 1 and site.core.state.failures == 1
    site.pass_s(60)
    assert not site.core.state.incidents


def test_a_power_group_is_a_domain_when_the_site_says_so() -> None:
    site = Rig(build.site(racks=6, nodes_per_rack=4, spares=0))
    state = site.core.state
    state.power = {"p0/r0": "feed-a", "p0/r1": "feed-a"}
    assert state.site
    site.give(inputs.OpenSite(at=site.world.now, site=state.site))
    kill(site, 0, 4, 1, 5)
    newest = views.incidents(state)[0]
    assert (newest.kind, newest.domain) == ("power", "feed-a") and len(newest.nodes) == 4


def test_a_feed_of_two_pods_is_one_incident_and_not_of_each_pod_in_turn() -> None:
    site = Rig(build.site(racks=2, nodes_per_rack=4, pods=5, spares=0))
    state = site.core.state
    state.power = {f"p{pod}/r{rack}": "feed-a" for pod in range(2) for rack in range(2)}
    assert state.site
    site.give(inputs.OpenSite(at=site.world.now, site=state.site))
    for k in range(8):
        kill(site, k, 8 + k)
    (found,) = [one for one in views.incidents(state) if not one.closed_at]
    assert (found.kind, found.domain, len(found.nodes)) == ("power", "feed-a", 16)
    kinds = [one.kind for one in site.facts(facts.IncidentOpened)]
    assert kinds[-1] == "power" and kinds.count("power") == 1 and len(kinds) <= 5
    assert state.failures == 1


def test_a_machine_that_reboots_takes_all_its_nodes_and_is_one_event() -> None:
    site = Rig()
    nodes = list(site.core.state.nodes)
    for node in nodes:
        given = inputs.NodeJoined(at=site.world.now, node=node, instance=f"{node}/again", chips=1)
        site.give(given)
    newest = views.incidents(site.core.state)[0]
    assert newest.kind == "site" and set(newest.nodes) == set(nodes)
    assert site.core.state.failures == 1 and len(site.core.state.incidents) == 1


def test_a_rack_that_fails_again_and_again_makes_no_lemons() -> None:
    site = Rig(build.site(racks=3, nodes_per_rack=4, spares=0))
    for _ in range(4):
        kill(site, 0, 1, 2, 3)
        site.pass_s(400)
    assert not site.facts(facts.NodeCordoned)
    assert len(site.facts(facts.IncidentOpened)) == 4 == site.core.state.failures
    assert site.core.state.node_state(NodeId("n0")) is NodeState.READY


def test_old_losses_are_forgotten_without_a_new_one() -> None:
    site = rig()
    kill(site, 0)
    site.pass_s(60)
    state, row = site.core.state, site.core.state.columns.index[N[0]]
    assert len(state.nodes[N[0]].losses) == 1 == state.columns.losses[row]
    site.pass_s(25 * HOUR / SECOND)
    assert state.nodes[N[0]].losses == () and state.columns.losses[row] == 0
    assert state.node_state(N[0]) is NodeState.READY
