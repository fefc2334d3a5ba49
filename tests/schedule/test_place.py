"""Placement properties: whole or absent, fewest racks, holes kept whole, survivors stay."""

from hypothesis import given
from hypothesis import strategies as st

from myriad.fleet.columns import Columns, NodeState
from myriad.kernel.ids import JobId, NodeId, TenantId
from myriad.schedule import backfill, order, place, queue, spares
from myriad.schedule.asks import Ask
from tests import build


def columns(racks: int = 3, per_rack: int = 4, pods: int = 1, chips: int = 2) -> Columns:
    made = Columns()
    made.add(build.site(racks, per_rack, spares=0, chips=chips, pods=pods).places())
    made.state[:] = NodeState.READY
    made.recount()
    return made


def choose(site: Columns, asked: Ask, nodes: int = 0) -> place.Choice | None:
    return place.choose(site, asked, nodes or asked.nodes, place.Packed())


def ask(nodes: int = 2, chips: int = 1, owner: str = "a", **more: object) -> Ask:
    plain = Ask(
        owner=owner,
        job=JobId(owner),
        service=None,
        tenant=TenantId("t"),
        rank=500,
        queued_at=0,
        nodes=nodes,
        chips_per_node=chips,
        run_ns=0,
        resumes=False,
    )
    return plain._replace(**more)  # type: ignore[arg-type]


busy = st.lists(st.integers(0, 23), max_size=24, unique=True)


@given(busy=busy, nodes=st.integers(1, 24), chips=st.integers(1, 2))
def test_a_gang_is_whole_on_distinct_free_nodes_or_absent(busy: list[int], nodes: int, chips: int) -> None:
    site = columns(pods=2)
    for row in busy:
        site.hold([row], [0b11])
    choice = choose(site, ask(nodes, chips))
    if choice is None:
        assert 24 - len(busy) < nodes
        return
    chosen = [member.node for member in choice.members]
    assert len(set(chosen)) == len(chosen) == nodes
    for member in choice.members:
        site.hold([site.index[member.node]], [member.chips])  # asserts that they were free
        assert member.chip_count == chips


@given(busy=busy, nodes=st.integers(1, 12))
def test_never_more_racks_than_a_greedy_cover_needs(busy: list[int], nodes: int) -> None:
    site = columns(racks=6, per_rack=4)
    for row in busy:
        site.hold([row], [0b11])
    choice = choose(site, ask(nodes))
    if choice is None:
        return
    free = sorted((4 - sum(1 for row in busy if row // 4 == rack) for rack in range(6)), reverse=True)
    needed, left = 0, nodes
    while left > 0:
        left -= free[needed]
        needed += 1
    assert len({site.index[m.node] // 4 for m in choice.members}) == needed


def test_a_small_gang_takes_the_smallest_hole() -> None:
    site = columns()
    site.hold([4], [0b11])
    site.hold([5], [0b11])
    choice = choose(site, ask(2))
    assert choice and [m.node for m in choice.members] == ["n6", "n7"]


def test_a_gang_within_one_pod_when_one_can_hold_it() -> None:
    site = columns(racks=2, per_rack=2, pods=3)
    site.hold([0], [0b11])
    choice = choose(site, ask(4))
    assert choice and len({site.pod[site.index[m.node]] for m in choice.members}) == 1


def test_spares_are_for_those_who_resume() -> None:
    site = columns(racks=1, per_rack=3)
    site.set_spare(NodeId("n2"), True)
    assert choose(site, ask(3)) is None
    assert choose(site, ask(3, spares="last")) is not None


@given(lost=st.sets(st.integers(0, 3), min_size=1, max_size=4))
def test_survivors_keep_node_and_rank(lost: set[int]) -> None:
    site = columns(racks=2, per_rack=4)
    site.set_spare(NodeId("n7"), True)
    for row in lost:
        site.set_state(site.ids[row], NodeState.REPAIRING)
    had = tuple(NodeId(f"n{k}") for k in range(4))
    choice = choose(site, ask(4, spares="first", keep=had))
    assert choice and choice.replaced == tuple(had[k] for k in sorted(lost))
    for rank, member in enumerate(choice.members):
        assert (member.node == had[rank]) == (rank not in lost)
    assert "n7" in [m.node for m in choice.members], "the spare comes first"


def test_who_is_moved_leaves_the_spare_to_those_who_lose_a_node() -> None:
    site = columns(racks=2, per_rack=4)
    site.set_spare(NodeId("n4"), True)
    site.set_state(NodeId("n0"), NodeState.DRAINING)
    had = tuple(NodeId(f"n{k}") for k in range(4))
    choice = choose(site, ask(4, spares="last", keep=had))
    assert choice and choice.members[0].node == "n5"


def test_lemons_come_last() -> None:
    site = columns(racks=1, per_rack=4)
    site.set_doubt(NodeId("n0"), losses=2)
    choice = choose(site, ask(3))
    assert choice and "n0" not in [m.node for m in choice.members]


def test_order_is_priority_then_interrupted_then_first_come() -> None:
    waiting = queue.Queue(order.Fair())
    waiting.set_parents({TenantId("t"): TenantId("")})
    for one in (
        ask(owner="late", queued_at=9),
        ask(owner="early", queued_at=1),
        ask(owner="back", queued_at=5, resumes=True),
        ask(owner="vip", queued_at=10, rank=900),
    ):
        waiting.put(one)
    assert [one.owner for one in waiting.walk(lambda tenant, shape: True)] == ["vip", "back", "early", "late"]


def test_spares_spread_over_racks() -> None:
    site = columns(racks=3, per_rack=4)
    for node in spares.missing(site, 3):
        site.set_spare(node, True)
    assert sorted(site.rack[site.spare]) == [0, 1, 2]


@given(
    ends=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 4)), max_size=8),
    need=st.integers(1, 10),
    free=st.integers(0, 4),
)
def test_a_reservation_is_the_first_instant_with_room(
    ends: list[tuple[int, int]], need: int, free: int
) -> None:
    held = backfill.reserve(need, free, sorted(ends), 0)
    if held.starts_at:
        room = free + sum(nodes for at, nodes in ends if at <= held.starts_at)
        before = free + sum(nodes for at, nodes in ends if at < held.starts_at)
        assert room >= need > before and 0 <= held.extra <= room - need
    else:
        assert free >= need or free + sum(nodes for _, nodes in ends) < need
