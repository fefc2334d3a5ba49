"""What must not matter, and what must help: the same instance told differently, through `Core.step`.

Each law names the setting in which it holds; where the plain wish is false, the counterexample is a test too.
"""

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from myriad.control import dry_run, views
from myriad.control.on_intents import refusal
from myriad.control.policy import Policy
from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import JobId
from myriad.kernel.units import SECOND
from myriad.protocol import inputs
from myriad.workload.jobs import NodeRange
from myriad.workload.tenants import Tenant
from tests.schedule.hall import Hall, Wish, policy, site, tenant

FEW = settings(max_examples=25, deadline=None)

names = st.sampled_from(["ann", "bob", "eve"])
priorities = st.sampled_from(["low", "normal", "normal", "high"])
orders = st.sampled_from(["fair", "fifo"])
fills = st.sampled_from(["easy", "conservative", "none"])


def wishes(most: int = 6, until_s: int = 300, tenants: Any = names) -> Any:
    """A queue of whole-node jobs of several people, each with its own moment and length."""
    one = st.tuples(
        st.integers(1, most),
        st.integers(10, 200),
        st.integers(0, until_s),
        tenants,
        priorities,
        st.booleans(),
    )
    return st.lists(one, min_size=1, max_size=10).map(
        lambda found: [
            # no two keys are alike: lengths and moments differ by job, so that names decide nothing
            Wish(
                f"j{k}",
                NodeRange(min=1, max=n) if grows else n,
                run * 11 + k,
                at * 11 + k,
                who,
                more={"priority": p},
            )
            for k, (n, run, at, who, p, grows) in enumerate(found)
        ]
    )


def three(chips: int = 100, borrow: int = 0) -> list[Tenant]:
    return [tenant(name, chips, borrow, weight=w) for name, w in (("ann", 1.0), ("bob", 1.1), ("eve", 1.3))]


def hall(rules: Policy, jobs: list[Wish], of: Site | None = None, tenants: Any = ()) -> Hall:
    """The whole story of these jobs."""
    made = Hall(of or site((2, 3)), rules, tenants or three())
    made.wish(*jobs)
    return made.run()


# ---- names ---------------------------------------------------------------------------------------------


@FEW
@given(jobs=wishes(), order=orders, fill=fills)
def test_names_of_tenants_do_not_matter_where_no_tie_is_decided_by_them(
    jobs: list[Wish], order: str, fill: str
) -> None:
    """Shares of two tenants that used nothing are alike, so names decide: here each has used something."""
    other = {"ann": "zoe", "bob": "amy", "eve": "leo"}

    def story(name: dict[str, str]) -> Hall:
        people = [tenant(name[t.name], t.quota.chips, weight=t.weight) for t in three()]
        made = Hall(site((2, 3)), policy(order, backfill=fill, period="1s"), people)
        for k, who in enumerate(name):
            # each has used another amount before, so that no share is like another
            made.wish(Wish(f"before-{k}", 1, 100 + 37 * k, 0, name[who]))
        made.run(until_s=1000)
        made.wish(*(one._replace(tenant=name[one.tenant], at_s=one.at_s + 1000) for one in jobs))
        return made.run()

    one, renamed = story({name: name for name in other}), story(other)
    assert one.first_s == renamed.first_s
    assert one.where == renamed.where


@FEW
@given(jobs=wishes(), order=orders, fill=fills)
def test_names_of_pods_and_jobs_do_not_matter(jobs: list[Wish], order: str, fill: str) -> None:
    """Nodes are called by their place; pods and racks by the pod's name, which decides nothing. Nor do those
    of jobs that differ in what decides."""
    pods = (Pod(name="west", racks=2, nodes_per_rack=2), Pod(name="east", racks=1, nodes_per_rack=2))
    other = (Pod(name="a", racks=2, nodes_per_rack=2), Pod(name="b", racks=1, nodes_per_rack=2))
    rules = policy(order, backfill=fill)
    made, called = (Site(name="test", chip="local-cpu", pods=p, chips_per_node=1) for p in (pods, other))
    jobs = [one._replace(nodes=min(one.nodes, 6)) if isinstance(one.nodes, int) else one for one in jobs]
    one = hall(rules, jobs, made)
    again = hall(rules, [wish._replace(job=f"x{9 - k}") for k, wish in enumerate(jobs)], called)
    assert list(one.first_s.values()) == [again.first_s[f"x{9 - int(job[1:])}"] for job in one.first_s]
    assert list(one.where.values()) == [again.where[f"x{9 - int(job[1:])}"] for job in one.where]


@FEW
@given(jobs=wishes(most=4), order=orders, fill=fills, placement=st.sampled_from(["packed", "first-fit"]))
def test_where_pods_are_alike_their_order_does_not_change_when_anything_starts(
    jobs: list[Wish], order: str, fill: str, placement: str
) -> None:
    """A pod that is out of service may be the first or the last: the others serve alike."""
    rules = policy(order, placement, fill)

    def story(dead: int) -> dict[str, int]:
        made = Hall(site((2, 2), (2, 2), (2, 2)), rules, three())
        for row in range(4 * dead, 4 * dead + 4):
            made.give(inputs.DrainNode(at=0, node=made.core.state.columns.ids[row]))
        made.wish(*jobs)
        return made.run().first_s

    first = story(0)
    assert first == story(1) == story(2)


# ---- others on the same nodes ---------------------------------------------------------------------------


@FEW
@given(
    jobs=wishes(most=4),
    order=orders,
    fill=fills,
    placement=st.sampled_from(["packed", "first-fit"]),
    away=st.sets(st.integers(0, 7), max_size=4).map(sorted),
    back_s=st.sampled_from([0, 500]),
)
def test_nodes_that_others_use_are_worth_as_much_as_nodes_that_are_drained(
    jobs: list[Wish], order: str, fill: str, placement: str, away: list[int], back_s: int
) -> None:
    """While they do: the same gangs start at the same times on the same nodes. And after, once qualified."""

    def story(occupied: bool) -> Hall:
        made = Hall(site((2, 2), (2, 2)), policy(order, placement, fill), three(), check=True)
        for row in away:
            node = made.core.state.columns.ids[row]
            if occupied:
                made.give(inputs.NodeOccupied(at=0, node=node, by="others", until=900 * SECOND))
                given = [inputs.NodeOccupied(at=0, node=node, by="")]
            else:
                made.give(inputs.DrainNode(at=0, node=node))
                again = inputs.NodeQualified(at=0, node=node, instance="i0", ok=True)
                given = [inputs.UndrainNode(at=0, node=node), again]
            for one in given if back_s else ():
                made.later(back_s * SECOND, one)
        made.wish(*jobs)
        return made.run()

    one, other = story(occupied=True), story(occupied=False)
    assert one.first_s == other.first_s
    assert one.where == other.where


@FEW
@given(jobs=wishes(most=4), fill=fills, at_s=st.integers(1, 900), names=st.randoms(use_true_random=False))
def test_others_who_come_to_nodes_that_our_gangs_hold_and_go_before_them_change_nothing(
    jobs: list[Wish], fill: str, at_s: int, names: Any
) -> None:
    """First come, first served: nobody's share is worked out anew because somebody looked."""

    def story(visited: bool) -> Hall:
        made = Hall(site((2, 2), (2, 2)), policy(backfill=fill), three(), check=True)
        made.wish(*jobs)
        made.run(until_s=at_s)
        held = [node for gang in made.core.state.gangs.values() for node in gang.nodes]
        for by in ("others", "") if visited else ():
            names.shuffle(held)
            for node in held:
                made.give(inputs.NodeOccupied(at=made.at, node=node, by=by))
        return made.run()

    one, other = story(visited=True), story(visited=False)
    assert one.starts == other.starts
    assert one.where == other.where


# ---- time ----------------------------------------------------------------------------------------------


@FEW
@given(jobs=wishes(), fill=fills, scale=st.sampled_from([2, 7, 60]))
def test_when_all_times_are_multiplied_so_are_the_starts(jobs: list[Wish], fill: str, scale: int) -> None:
    """First come, first served, no preemption, nothing grows: no knob is a length of time."""
    jobs = [one._replace(nodes=one.nodes if isinstance(one.nodes, int) else one.nodes.max) for one in jobs]
    slow = [one._replace(run_s=one.run_s * scale, at_s=one.at_s * scale) for one in jobs]
    plain = hall(policy(backfill=fill, starvation="900d"), jobs).first_s
    slower = hall(policy(backfill=fill, starvation="900d"), slow).first_s
    assert slower == {job: at * scale for job, at in plain.items()}


# ---- the order in which things are said ------------------------------------------------------------------


@FEW
@given(jobs=wishes(until_s=0), order=orders, fill=fills, seed=st.randoms(use_true_random=False))
def test_the_order_of_submission_within_an_instant_does_not_matter(
    jobs: list[Wish], order: str, fill: str, seed: Any
) -> None:
    """Who waits behind a full site is sorted by key, not by arrival in the same instant."""
    rules = policy(order, backfill=fill)

    def story(queue: list[Wish]) -> dict[str, int]:
        made = Hall(site((2, 3)), rules, three())
        made.wish(Wish("first", 6, 50, 0, "ann"))
        made.run(until_s=1)
        made.wish(*(one._replace(at_s=2) for one in queue))
        return made.run().first_s

    shuffled = list(jobs)
    seed.shuffle(shuffled)
    assert story(jobs) == story(shuffled)


# ---- quota -----------------------------------------------------------------------------------------------


@FEW
@given(jobs=wishes(), order=orders, fill=fills, more=st.integers(1, 6))
def test_more_quota_never_delays_the_first_start_of_a_tenant(
    jobs: list[Wish], order: str, fill: str, more: int
) -> None:
    """In a flat tree, without preemption, when all its jobs may run under either quota.

    It holds nothing before its first start, so no quota can have held it back: that start is the same.
    """

    def story(chips: int) -> int:
        people = [tenant("ann", chips), tenant("bob", 4), tenant("eve", 6)]
        starts = hall(policy(order, backfill=fill), jobs, tenants=people).first_s
        return min((starts[one.job] for one in jobs if one.tenant == "ann" and one.job in starts), default=-1)

    assert story(6) == story(6 + more)


def test_more_quota_may_delay_a_first_start_when_it_lets_in_a_larger_job() -> None:
    """The counterexample to the plain wish: what was refused before is now in front, and waits for room."""
    jobs = [Wish("long", 4, 500, 0, "bob"), Wish("large", 6, 100, 1, "ann"), Wish("small", 2, 900, 2, "ann")]
    few = hall(policy(), jobs, tenants=[tenant("ann", 4), tenant("bob", 6)])
    many = hall(policy(), jobs, tenants=[tenant("ann", 6), tenant("bob", 6)])
    assert (few.first_s["small"], "large" in few.first_s) == (2, False)
    assert many.first_s["small"] > 500


@FEW
@given(
    count=st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["ann", "bob"])), min_size=2, max_size=14),
    nodes=st.integers(1, 2),
    quota=st.integers(1, 3),
    more=st.integers(1, 4),
    fill=fills,
)
def test_more_quota_never_delays_any_start_of_a_tenant_when_all_jobs_are_alike(
    count: list[tuple[int, str]], nodes: int, quota: int, more: int, fill: str
) -> None:
    """First come, first served; one size and one length, so that none stands in the way of a better fit."""
    jobs = [Wish(f"j{k}", nodes, 90, at * 2 + k, who) for k, (at, who) in enumerate(count)]

    def story(chips: int) -> list[int]:
        people = [tenant("ann", chips * nodes), tenant("bob", 2 * nodes)]
        starts = hall(policy(backfill=fill), jobs, tenants=people).first_s
        return sorted(starts[one.job] for one in jobs if one.tenant == "ann")

    # but for the seconds by which jobs of the other tenant that arrived earlier come first
    late = len(count)
    assert all(
        after <= before + late for before, after in zip(story(quota), story(quota + more), strict=True)
    )


# ---- fewer jobs --------------------------------------------------------------------------------------------


@FEW
@given(jobs=wishes(until_s=0), fill=fills)
def test_the_last_in_the_queue_is_in_nobodys_way(jobs: list[Wish], fill: str) -> None:
    """All asked in one instant, run times known: with it or without, those before it start when they do.

    Under EASY only the first is promised that; under conservative backfill, and under none, all are.
    """
    jobs = [one._replace(nodes=one.nodes if isinstance(one.nodes, int) else one.nodes.max) for one in jobs]
    assume(len(jobs) > 1)
    ordered = sorted(jobs, key=lambda one: (["high", "normal", "low"].index(one.more["priority"]), one.job))

    def story(queue: list[Wish]) -> dict[str, int]:
        made = Hall(site((2, 3)), policy(backfill=fill), three())
        made.wish(Wish("first", 6, 50, 0, "ann"))
        made.run(until_s=1)
        made.wish(*(one._replace(at_s=2) for one in queue))
        return made.run().first_s

    without, everyone = story(ordered[:-1]), story(ordered)
    for one in ordered[:-1] if fill != "easy" else ordered[:1]:
        assert without[one.job] == everyone[one.job], one


def test_under_easy_a_job_of_low_priority_may_delay_one_that_is_not_in_front() -> None:
    """The counterexample: only the first that waits has a reservation. Conservative keeps the second too."""
    high = {"priority": "high"}
    jobs = [
        Wish("runs", 5, 100, 0, "ann"),
        Wish("front", 4, 100, 1, "ann", more=high),
        Wish("second", 2, 60, 2, "ann", more=high),
        Wish("low", 1, 200, 3, "bob", more={"priority": "low"}),
    ]

    def story(fill: str, queue: list[Wish]) -> int:
        return hall(policy(backfill=fill), queue).first_s["second"]

    assert (story("easy", jobs[:3]), story("easy", jobs)) == (100, 200)
    assert story("conservative", jobs) == story("conservative", jobs[:3]) == 100


# ---- asking and doing --------------------------------------------------------------------------------------


@FEW
@given(
    jobs=wishes(until_s=100),
    order=orders,
    fill=st.sampled_from(["easy", "none", "conservative"]),
    until_s=st.integers(1, 900),
)
def test_a_dry_run_says_what_a_submission_does(jobs: list[Wish], order: str, fill: str, until_s: int) -> None:
    """Placement, predicted start and reasons, between two periods of the shares and without victims."""
    made = Hall(site((2, 3)), policy(order, backfill=fill, period="30d"), three(chips=4, borrow=1))
    made.wish(*jobs[:-1])
    made.run(until_s=until_s)
    asked, name = jobs[-1], JobId("asked")
    moment = made.core.moment(made.at)
    assume(refusal(moment, asked.spec, asked.profile) is None)
    digest = made.core.state.digest()
    view, said = dry_run.answer(moment, name, asked.spec, asked.profile)
    assert made.core.state.digest() == digest, "asking changed something"
    made.submit(asked._replace(job=name))
    job = made.core.state.jobs[name]
    assert set(view.placed_on) == set(made.where.get(name, ()))
    if job.attempt is None:
        after = views.explain(made.core.moment(made.at), job)
        assert (said.reasons, said.starts_at, said.queue_position) == (
            after.reasons,
            after.starts_at,
            after.queue_position,
        )
    assert job.forecast is not None and view.forecast is not None
    assert job.forecast.start_at == view.forecast.start_at
