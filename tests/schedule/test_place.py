"""Placement properties: whole or absent, fewest racks, holes kept whole, survivors stay."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from myriad.control import invariants
from myriad.fleet import blocks
from myriad.fleet.columns import Columns, NodeState
from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import JobId, NodeId, TenantId
from myriad.schedule import backfill, order, place, queue, spares
from myriad.schedule.asks import Ask
from myriad.workload.jobs import Within
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


# ---- counts kept as nodes change -------------------------------------------------------------------


moves = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 11), st.integers(0, 7), st.integers(1, 8)), max_size=60
)


def mixed() -> Columns:
    """Two pods of the site's own chip, and one of another type with larger nodes."""
    pods = (
        Pod(name="p0", racks=2, nodes_per_rack=2),
        Pod(name="p1", racks=1, nodes_per_rack=4, core="far"),
        Pod(name="p2", racks=2, nodes_per_rack=2, chip="h20", chips_per_node=8),
    )
    made = Columns()
    made.add(Site(name="test", chip="local-cpu", pods=pods, chips_per_node=6).places())
    return made


def shake(site: Columns, found: list[tuple[int, int, int, int]]) -> None:
    """Hold, give back, move, spare and doubt, in any order."""
    held: list[tuple[list[int], list[int]]] = []
    for kind, row, pick, count in found:
        node = site.ids[row]
        if kind == 0:
            rows = [(row + step) % 12 for step in range(count)]
            masks = [
                blocks.pick(int(site.free[r]), int(site.chips[r]), 1 + pick % 4)
                for r in rows
                if _room(site, r, pick)
            ]
            rows = [r for r in rows if _room(site, r, pick)]
            if rows:
                site.hold(rows, masks)
                held.append((rows, masks))
        elif kind == 1 and held:
            site.give_back(*held.pop(pick % len(held)))
        elif kind == 2:
            site.set_state(node, NodeState(pick))
        elif kind == 3:
            site.set_spare(node, bool(pick % 2))
        elif kind == 4:
            site.set_doubt(node, losses=pick % 3)
        else:
            site.set_doubt(node, slow=bool(pick % 2))


def _room(site: Columns, row: int, pick: int) -> bool:
    return blocks.room(int(site.free[row]), int(site.chips[row])) >= 1 + pick % 4


@given(found=moves)
def test_what_is_kept_as_nodes_change_is_what_a_count_of_them_all_gives(
    found: list[tuple[int, int, int, int]],
) -> None:
    site = mixed()
    shake(site, found)
    totals, by_kind = (site.free_chips, site.spares), [list(one) for one in site.site_nodes]
    invariants.check_counts(site)  # recounts
    assert (site.free_chips, site.spares) == totals and site.site_nodes == by_kind


placements = st.sampled_from([place.Packed(), place.FirstFit()])
shapes = st.tuples(
    st.integers(1, 5),
    st.sampled_from([1, 2, 3, 4, 6, 8]),
    st.sampled_from(["", "h20"]),
    st.sampled_from(["", "rack", "pod", "core"]),
)


@given(
    found=moves, shape=shapes, policy=placements, barred=st.lists(st.integers(0, 11), max_size=4, unique=True)
)
def test_a_gang_stands_only_where_it_may(
    found: list[tuple[int, int, int, int]],
    shape: tuple[int, int, str, Within],
    policy: Any,
    barred: list[int],
) -> None:
    """On nodes that offer enough, of its type, inside its domain, off what is kept from it, in blocks."""
    site = mixed()
    site.state[:] = NodeState.READY
    site.recount()
    shake(site, found)
    nodes, chips, chip, within = shape
    wanted = ask(nodes, chips, chip=chip, within=within)
    kept = np.array(sorted(barred), np.intp) if barred else None
    choice = place.choose(site, wanted, nodes, policy, kept)
    domain = {"rack": site.rack, "pod": site.pod, "core": site.pod_core[site.pod], "": np.zeros(12, int)}[
        within
    ]
    fits = (site.offer >= chips) & (site.pod_kind[site.pod] == int(chip == "h20"))
    fits[barred] = False
    room = max(int((fits & (domain == one)).sum()) for one in set(domain.tolist()))
    assert (choice is not None) == (room >= nodes), "room was found exactly where there is some"
    if choice is None:
        return
    assert fits[list(choice.rows)].all() and len(set(choice.rows)) == nodes
    assert len(set(domain[list(choice.rows)].tolist())) == 1
    for member in choice.members:
        first = (member.chips & -member.chips).bit_length() - 1
        assert member.chips == ((1 << chips) - 1) << first
        assert first % (1 << (chips - 1).bit_length()) == 0, "aligned to its own size"


@given(busy=st.lists(st.integers(0, 26), max_size=22, unique=True), nodes=st.integers(1, 16))
def test_ranks_go_rack_by_rack_and_pod_by_pod_on_the_fewest_pods(busy: list[int], nodes: int) -> None:
    """Neighbours in rank are neighbours in the fabric."""
    site = columns(racks=3, per_rack=3, pods=3)
    for row in busy:
        site.hold([row], [0b11])
    choice = choose(site, ask(nodes))
    if choice is None:
        assert 27 - len(busy) < nodes
        return
    for domain in (site.rack, site.pod):
        order = domain[list(choice.rows)].tolist()
        assert len([one for k, one in enumerate(order) if k == 0 or order[k - 1] != one]) == len(set(order))
    free = sorted((9 - sum(row // 9 == pod for row in busy) for pod in range(3)), reverse=True)
    fewest = next(count for count in range(1, 4) if sum(free[:count]) >= nodes)
    assert len(set(site.pod[list(choice.rows)].tolist())) == fewest == choice.pods


@given(busy=st.lists(st.integers(0, 15), min_size=1, max_size=12, unique=True), nodes=st.integers(1, 4))
def test_a_small_gang_breaks_no_empty_rack_while_a_broken_one_has_room(busy: list[int], nodes: int) -> None:
    site = columns(racks=4, per_rack=4)
    for row in busy:
        site.hold([row], [0b11])
    free = [4 - sum(row // 4 == rack for row in busy) for rack in range(4)]
    choice = choose(site, ask(nodes))
    if any(nodes <= count < 4 for count in free):
        assert choice is not None
        assert free[choice.rows[0] // 4] == min(count for count in free if nodes <= count)


@given(
    parts=st.lists(st.tuples(st.integers(0, 7), st.sampled_from([1, 2, 4])), min_size=1, max_size=8),
    chips=st.sampled_from([1, 2, 4]),
)
def test_a_part_of_a_node_breaks_no_empty_node_while_a_broken_one_has_room(
    parts: list[tuple[int, int]], chips: int
) -> None:
    site = columns(racks=2, per_rack=4, chips=8)
    for row, count in parts:
        if blocks.room(int(site.free[row]), 8) >= count:
            site.hold([row], [blocks.pick(int(site.free[row]), 8, count)])
    broken = [row for row in range(8) if 0 < int(site.free_count[row]) < 8 and int(site.offer[row]) >= chips]
    choice = choose(site, ask(1, chips))
    assert choice is not None
    assert not broken or choice.rows[0] in broken


@given(doubted=st.sets(st.integers(0, 7), max_size=8), nodes=st.integers(1, 8))
def test_nodes_in_doubt_are_taken_only_if_it_must_be(doubted: set[int], nodes: int) -> None:
    """As many as are missing and none more, where all are in one rack."""
    site = columns(racks=1, per_rack=8)
    for row in doubted:
        site.set_doubt(site.ids[row], losses=1) if row % 2 else site.set_doubt(site.ids[row], slow=True)
    choice = choose(site, ask(nodes))
    assert choice is not None
    assert len(doubted & set(choice.rows)) == max(0, nodes - (8 - len(doubted)))


@given(found=moves, count=st.sampled_from([1, 2, 3, 4, 6]), chip=st.sampled_from(["", "h20"]))
def test_one_node_goes_where_a_search_of_all_racks_puts_it(
    found: list[tuple[int, int, int, int]], count: int, chip: str
) -> None:
    """Counts that are kept as nodes change, and the arrays searched whole, give the same node."""
    site = mixed()
    site.state[:] = NodeState.READY
    site.recount()
    shake(site, found)
    wanted = ask(1, count, chip=chip)
    level, kind = site.level_of(count), place._kind(site, wanted)
    of_kind = site.pod_kind == kind
    racks = np.where(of_kind[site.rack_pod], site.rack_nodes[1, level], 0)
    pods = np.where(of_kind, site.pod_nodes[1, level], 0)
    room = place._Room(site, wanted, racks, pods, None, clean=True)
    rows = place._on_fewest(room, 1) if pods.any() else None
    hole = site.holes.tightest(level, kind)
    assert (hole is None) == (rows is None)
    if hole is not None and rows is not None:
        assert [site.first_clean(*hole)] == rows.tolist()
