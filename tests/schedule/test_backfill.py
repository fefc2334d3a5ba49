"""Who passes whom: nobody at the cost of a reservation, when run times are what was predicted."""

from hypothesis import given, settings
from hypothesis import strategies as st

from myriad.fleet.site import Pod, Site
from myriad.kernel.units import SECOND
from myriad.schedule import backfill
from myriad.workload.jobs import NodeRange
from tests.schedule.hall import Hall, Wish, policy, site, tenant

FEW = settings(max_examples=40, deadline=None)

queues = st.lists(
    st.tuples(st.integers(1, 8), st.integers(10, 200), st.integers(0, 60), st.booleans()),
    min_size=2,
    max_size=14,
).map(
    lambda found: [
        Wish(f"j{k}", NodeRange(min=1, max=n) if grows else n, run * 7 + k, at * 20 + k)
        for k, (n, run, at, grows) in enumerate(found)
    ]
)


@FEW
@given(jobs=queues)
def test_easy_never_delays_the_reservation_of_the_first_that_waits(jobs: list[Wish]) -> None:
    """First come, first served: once promised, a start is never later than that."""
    made = Hall(site((2, 4)), policy(backfill="easy"))
    promised: dict[str, int] = {}

    def look(_: object) -> None:
        front = made.core.board.front
        if front is not None:
            first = promised.setdefault(front.owner, front.held.starts_at)
            assert front.held.starts_at <= first, f"{front.owner} was promised {first / SECOND:g} s"

    made.watch = look
    made.wish(*jobs)
    made.run()
    assert len(made.starts) == len(jobs)
    assert all(made.starts[job][0] <= at for job, at in promised.items())


def reference(jobs: list[Wish], nodes: int) -> dict[str, int]:
    """Conservative backfill by the book: each takes the first hole that leaves those before it alone."""
    taken: list[tuple[int, int, int]] = []
    starts: dict[str, int] = {}
    for one in sorted(jobs, key=lambda one: one.at_s):
        ends = sorted({one.at_s, *(until for _, until, _ in taken if until > one.at_s)})
        for at in ends:
            times = [at, *(since for since, _, _ in taken if at < since < at + one.run_s)]
            if all(
                sum(n for since, until, n in taken if since <= t < until) + one.nodes <= nodes for t in times
            ):
                break
        taken.append((at, at + one.run_s, one.nodes))
        starts[one.job] = at
    return starts


@FEW
@given(jobs=queues)
def test_conservative_starts_every_gang_when_the_book_says(jobs: list[Wish]) -> None:
    """So no gang that has a reservation is ever delayed by one that came later."""
    jobs = [one._replace(nodes=one.nodes if isinstance(one.nodes, int) else one.nodes.max) for one in jobs]
    made = Hall(site((2, 4)), policy(backfill="conservative"))
    made.wish(*jobs)
    assert made.run().first_s == reference(jobs, 8)


@FEW
@given(jobs=queues, others=queues)
def test_conservative_keeps_chip_types_apart(jobs: list[Wish], others: list[Wish]) -> None:
    """Who waits for one type holds up nobody who needs another."""
    pods = (
        Pod(name="a", racks=2, nodes_per_rack=4),
        Pod(name="b", racks=1, nodes_per_rack=8, chip="h20", chips_per_node=1),
    )
    two = Site(name="test", chip="local-cpu", pods=pods, chips_per_node=1)
    made = Hall(two, policy(backfill="conservative"))
    fixed = [one._replace(nodes=getattr(one.nodes, "max", one.nodes)) for one in jobs]
    more = {"chip": "h20"}
    elsewhere = [
        one._replace(job=f"other-{one.job}", nodes=getattr(one.nodes, "max", one.nodes), more=more)
        for one in others
    ]
    made.wish(*fixed, *elsewhere)
    starts = made.run().first_s
    assert starts == reference(fixed, 8) | reference(elsewhere, 8)


def test_however_many_wait_for_one_type_who_needs_another_starts() -> None:
    """The first of each type are promised room, not the first of all."""
    pods = (
        Pod(name="a", racks=1, nodes_per_rack=4),
        Pod(name="b", racks=1, nodes_per_rack=4, chip="h20", chips_per_node=1),
    )
    two = Site(name="test", chip="local-cpu", pods=pods, chips_per_node=1)
    made = Hall(two, policy(backfill="conservative"))
    made.wish(*[Wish(f"a{k}", 4, 1000, k) for k in range(140)], Wish("b", 4, 100, 200, more={"chip": "h20"}))
    assert made.run().first_s["b"] == 200


@FEW
@given(jobs=queues)
def test_without_backfill_nobody_passes(jobs: list[Wish]) -> None:
    made = Hall(site((2, 4)), policy(backfill="none"))
    made.wish(*jobs)
    starts = made.run().first_s
    in_order = [starts[one.job] for one in sorted(jobs, key=lambda one: one.at_s)]
    assert in_order == sorted(in_order)


@FEW
@given(jobs=queues)
def test_what_is_left_beyond_a_reservation_is_given_away_once(jobs: list[Wish]) -> None:
    """All who pass the one in front and outlast its start fit, together, into what that leaves over."""
    made = Hall(site((2, 4)), policy(backfill="easy"))

    def look(_: object) -> None:
        front = made.core.board.front
        if front is None or not front.held.starts_at:
            return
        ask = made.core.board.queue.get(front.owner)
        assert ask is not None
        lasting = sum(
            len(gang.nodes)
            for gang in made.core.state.gangs.values()
            if made.core.state.ends_at(gang) > front.held.starts_at
        )
        assert lasting + ask.least + front.held.extra <= 8

    made.watch = look
    made.wish(*jobs)
    made.run()


def test_who_passes_does_not_take_the_quota_that_the_one_in_front_waits_with() -> None:
    """The start that was promised holds for chips and for quota: both are of the same tenant."""
    made = Hall(site((2, 4)), policy(backfill="easy"), [tenant("ann", 6), tenant("bob", 8)])
    made.wish(
        Wish("runs", 3, 100, 0, "bob"),
        Wish("front", 6, 100, 1, "ann"),
        Wish("long", 1, 900, 2, "ann"),
    )
    assert made.run().first_s["front"] == 100


def test_who_waited_too_long_is_next_whatever_its_tenant_used_or_its_class() -> None:
    made = Hall(
        site((1, 4)), policy("fair", starvation="10m", period="1m"), [tenant("ann", 8), tenant("bob", 8)]
    )
    made.wish(Wish("used", 4, 1200, 0, "ann"))
    made.wish(Wish("old", 4, 50, 1, "ann", more={"priority": "low"}))
    made.wish(*(Wish(f"new-{k}", 4, 50, 700 + k, "bob", more={"priority": "high"}) for k in range(5)))
    starts = made.run().first_s
    assert starts["old"] == 1200 and min(starts[f"new-{k}"] for k in range(5)) == 1250


def test_a_late_gang_is_expected_to_go_on_for_as_long_as_it_is_late() -> None:
    ends = backfill.Ends()
    for number, at in enumerate((10, 40, 70)):
        ends.put(backfill.End(at * SECOND, f"g{number}.1", "x", 1, 1, 0, {}))  # type: ignore[arg-type]
    found = [(at // SECOND, end.attempt) for at, end in ends.coming(200 * SECOND)]
    assert found == [(330, "g2.1"), (360, "g1.1"), (390, "g0.1")]
