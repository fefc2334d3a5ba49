"""Gangs that can change their size: they start, shrink and grow with what there is, inside every limit."""

from hypothesis import given, settings
from hypothesis import strategies as st

from myriad.fleet.site import Site
from myriad.kernel.ids import AttemptId, NodeId
from myriad.kernel.units import SECOND
from myriad.protocol import facts, inputs
from myriad.workload.jobs import NodeRange
from myriad.workload.tenants import Tenant
from myriad.workload.windows import Window
from tests.schedule.hall import Hall, Wish, policy, site, tenant

LONG = 100_000
SETTLE = 600
ANY = NodeRange(min=1, max=6)


def hall(of: Site | None = None, tenants: tuple[Tenant, ...] = ()) -> Hall:
    return Hall(of or site((2, 4)), policy("fair"), tenants or (tenant("acme", 100),), check=True)


def sizes(made: Hall, job: str) -> list[int]:
    """Numbers of nodes on which its gangs were placed, in order."""
    return [len(one.members) for one in made.facts if isinstance(one, facts.GangPlaced) and one.job == job]


def test_it_starts_with_what_is_free() -> None:
    made = hall()
    made.wish(Wish("other", 6, LONG, 1), Wish("elastic", ANY, LONG, 2))
    made.run(until_s=10)
    assert sizes(made, "elastic") == [2]


def test_on_a_loss_without_spares_it_shrinks_instead_of_waiting() -> None:
    made = hall()
    made.wish(Wish("other", 2, LONG, 1), Wish("elastic", ANY, LONG, 2))
    made.run(until_s=100)
    made.lose(made.where["elastic"][0])
    made.run(until_s=101)
    assert sizes(made, "elastic") == [6, 5]
    assert made.starts["elastic"][1] == 100 * SECOND


def test_it_grows_into_a_hole_once_it_has_settled_and_not_before() -> None:
    made = hall()
    made.wish(Wish("other", 5, 100, 1), Wish("elastic", ANY, LONG, 2))
    made.run(until_s=SETTLE + 1)
    assert sizes(made, "elastic") == [3]
    made.run(until_s=SETTLE + 10)
    assert sizes(made, "elastic") == [3, 6]


def test_who_begins_to_train_after_it_settled_grows_even_if_nothing_happens_then() -> None:
    made = hall()
    made.wish(Wish("other", 5, 100, 1), Wish("elastic", ANY, LONG, 2, loads=True))
    made.run(until_s=2 * SETTLE)
    made.give(inputs.TrainingResumed(at=made.at, attempt=AttemptId("elastic.1"), step=0))
    made.run(until_s=3 * SETTLE)
    assert sizes(made, "elastic") == [3, 6]


def test_it_does_not_grow_beyond_the_quota() -> None:
    made = hall(tenants=(tenant("acme", 5),))
    made.wish(Wish("other", 4, 100, 1), Wish("elastic", ANY, LONG, 2))
    made.run(until_s=5000)
    assert sizes(made, "elastic") == [1, 5]


def test_it_does_not_grow_while_somebody_waits_for_room() -> None:
    made = hall()
    made.wish(Wish("other", 5, 100, 1), Wish("elastic", ANY, LONG, 2), Wish("waits", 8, LONG, 3))
    made.run(until_s=5000)
    assert sizes(made, "elastic") == [3]


def test_one_hole_is_grown_into_once() -> None:
    """While one leaves to grow, the others do not leave for the same nodes."""
    made = hall()
    pair = [Wish(f"e{k}", NodeRange(min=2, max=5), LONG, 2 + k) for k in range(2)]
    made.wish(Wish("first", 4, 300, 1), pair[0], pair[1]._replace(nodes=NodeRange(min=1, max=5)))
    made.run(until_s=1)
    made.wish(Wish("small", 1, 400, 1))
    made.run(until_s=5000)
    grown = [one for one in made.facts if isinstance(one, facts.LeaveAsked) and one.cause == "resized"]
    for one in grown:
        job = str(one.attempt).rpartition(".")[0]
        found = sizes(made, job)
        assert found == sorted(set(found)), f"{job} left and came back as large as before: {found}"


def test_inside_its_domain_it_does_not_leave_for_nodes_elsewhere() -> None:
    made = hall()
    made.wish(Wish("elastic", NodeRange(min=2, max=4), LONG, 2, more={"within": "rack"}))
    made.run(until_s=1)
    made.give(inputs.DrainNode(at=made.at, node=NodeId("n0")))
    made.give(inputs.DrainNode(at=made.at, node=NodeId("n4")))
    made.run(until_s=5000)
    assert sizes(made, "elastic") == [3]


def test_it_does_not_leave_for_nodes_that_are_kept_for_others() -> None:
    made = hall()
    nodes = tuple(NodeId(f"n{k}") for k in range(4, 8))
    window = Window(
        name="kept", kind="maintenance", nodes=nodes, start_at=50_000 * SECOND, end_at=90_000 * SECOND
    )
    made.give(inputs.SetWindow(at=0, window=window))
    made.wish(Wish("elastic", ANY, LONG, 2))
    made.run(until_s=5000)
    assert sizes(made, "elastic") == [4]


@settings(max_examples=30, deadline=None)
@given(
    found=st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 6), st.integers(100, 2500), st.integers(1, 1000)),
        min_size=1,
        max_size=8,
    ),
    lost=st.lists(st.tuples(st.integers(0, 7), st.integers(1, 1000)), max_size=3),
    quota=st.integers(4, 8),
)
def test_never_below_the_fewest_never_above_the_most_never_over_the_quota(
    found: list[tuple[int, int, int, int]], lost: list[tuple[int, int]], quota: int
) -> None:
    made = hall(tenants=(tenant("acme", quota),))
    jobs = [
        Wish(f"j{k}", NodeRange(min=n, max=n + more), run, at) for k, (n, more, run, at) in enumerate(found)
    ]

    def look(_: object) -> None:
        assert made.core.state.usage.get("acme", 0) <= quota  # type: ignore[call-overload]

    made.watch = look
    made.wish(*jobs)
    for row, at_s in lost:
        made.later(at_s * SECOND, inputs.NodeFenced(at=0, node=NodeId(f"n{row}")))
    made.run(until_s=5000 if lost else 150_000)
    for one in jobs:
        placed = sizes(made, one.job)
        assert all(one.nodes.min <= size <= one.nodes.max for size in placed)
        if not lost:
            assert one.job in made.ends
