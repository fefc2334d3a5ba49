"""Who must leave for whom: borrowers and lower classes only, after a minimum, where waiting is long."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from myriad.control.core import Step
from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import JobId, NodeId
from myriad.protocol import facts, inputs
from myriad.workload.tenants import Tenant
from tests.schedule.hall import Hall, Wish, policy, site, tenant

LONG = 100_000
RULES = policy("fair", preemption="cheapest", min_run="5m", patience="1m")


def hall(tenants: list[Tenant], of: Site | None = None) -> Hall:
    return Hall(of or site((2, 4)), RULES, tenants, check=True)


def test_a_tenant_takes_back_what_others_borrowed_and_gets_it() -> None:
    made = hall([tenant("ann", 4, 4), tenant("bob", 4, 4)])
    made.wish(*(Wish(f"b{k}", 2, LONG, 1, "bob") for k in range(4)))
    made.wish(Wish("mine", 4, 100, 400, "ann"))
    made.run(until_s=450)
    assert made.first_s["mine"] == 400
    assert len(made.left_for("mine")) == 2
    assert made.core.state.usage == {"ann": 4, "bob": 4}


def test_nobody_is_sent_away_before_it_ran_for_a_minimum() -> None:
    made = hall([tenant("ann", 4, 4), tenant("bob", 4, 4)])
    made.wish(*(Wish(f"b{k}", 2, LONG, 1, "bob") for k in range(4)))
    made.wish(Wish("mine", 4, 100, 100, "ann"))
    made.run(until_s=299)
    assert not made.left_for("mine")


def test_the_minimum_over_it_takes_back_though_nothing_else_happens() -> None:
    made = hall([tenant("ann", 4, 4), tenant("bob", 4, 4)])
    made.wish(*(Wish(f"b{k}", 2, LONG, 1, "bob") for k in range(4)))
    made.wish(Wish("mine", 4, 100, 100, "ann"))
    made.run(until_s=1000)
    assert made.first_s.get("mine", LONG) < 500


def test_nobody_leaves_where_patience_is_enough() -> None:
    made = hall([tenant("ann", 4, 4), tenant("bob", 4, 4)])
    made.wish(*(Wish(f"b{k}", 2, 449, 1, "bob") for k in range(4)))
    made.wish(Wish("mine", 4, 100, 400, "ann"))
    made.run()
    assert not made.left_for("mine") and made.first_s["mine"] == 450


def test_nobody_inside_its_quota_leaves_for_an_equal() -> None:
    made = hall([tenant("ann", 4, 4), tenant("bob", 8)])
    made.wish(*(Wish(f"b{k}", 2, LONG, 1, "bob") for k in range(4)))
    made.wish(Wish("mine", 4, 100, 400, "ann"))
    made.run(until_s=5000)
    assert not made.left_for("mine") and "mine" not in made.starts


def test_a_higher_class_sends_a_lower_one_away_and_never_an_equal_one() -> None:
    made = hall([tenant("ann", 8), tenant("bob", 8)])
    made.wish(Wish("low", 4, LONG, 1, "bob", more={"priority": "low"}))
    made.wish(Wish("equal", 4, LONG, 1, "bob", more={"priority": "high"}))
    made.wish(Wish("mine", 4, 100, 400, "ann", more={"priority": "high"}))
    made.run(until_s=450)
    assert made.left_for("mine") == ["low"] and made.first_s["mine"] == 400


def test_victims_have_the_chips_that_are_asked_for() -> None:
    """Gangs on another chip type give nothing: they stay."""
    pods = (
        Pod(name="p0", racks=1, nodes_per_rack=2),
        Pod(name="p1", racks=1, nodes_per_rack=2, chip="h20", chips_per_node=1),
    )
    of = Site(name="test", chip="local-cpu", pods=pods, chips_per_node=1)
    made = hall([tenant("ann", 8), tenant("bob", 8)], of)
    low = {"priority": "low"}
    made.wish(
        Wish("here", 2, LONG, 1, "bob", more=low),
        Wish("there", 2, LONG, 9, "bob", more=low | {"chip": "h20"}),
    )
    made.wish(Wish("mine", 2, 100, 400, "ann", more={"priority": "high"}))
    made.run(until_s=450)
    assert made.left_for("mine") == ["here"] and made.first_s["mine"] == 400


def test_no_branch_is_sent_below_its_quota_by_what_its_parts_borrow_from_each_other() -> None:
    """`b1` borrows inside `b`, which as a whole is within its own: `c` borrowed what `a` takes back."""
    tree = [
        tenant("a", 4),
        tenant("b", 4),
        tenant("c", 4, 8),
        tenant("b1", 1, 9, parent="b"),
        tenant("b2", 3, parent="b"),
    ]
    made = hall(tree, site((3, 4)))
    made.wish(*(Wish(f"c{k}", 2, LONG, 1, "c") for k in range(4)))
    made.wish(*(Wish(f"b{k}", 2, LONG, 50, "b1") for k in range(2)))
    made.wish(Wish("mine", 4, 100, 400, "a"))
    made.run(until_s=450)
    assert {owner[0] for owner in made.left_for("mine")} == {"c"}
    assert made.first_s["mine"] == 400


def test_no_branch_gives_more_than_it_borrowed_however_many_its_parts() -> None:
    """Each of `b`'s two parts borrowed two, `b` two in all: one gang of two leaves, not one of each."""
    tree = [tenant("a", 6), tenant("b", 4, 4), *(tenant(f"b{k}", 1, 9, parent="b") for k in range(2))]
    made = hall(tree)
    made.wish(*(Wish(f"b{k}-x", 2, LONG, 1, f"b{k % 2}") for k in range(3)))
    made.wish(Wish("a-x", 2, LONG, 1, "a"))
    made.wish(Wish("mine", 4, 100, 400, "a"))
    made.run(until_s=450)
    assert len(made.left_for("mine")) <= 1


def test_no_more_gangs_leave_than_are_needed_while_the_first_stop() -> None:
    """Victims that still load stop at once; patience covers the time that takes."""
    made = hall([tenant("ann", 8), tenant("bob", 8)])
    low = {"priority": "low"}
    made.wish(*(Wish(f"b{k}", 1, LONG, 1, "bob", more=low, loads=True) for k in range(8)))
    made.run(until_s=400)
    made.submit(Wish("mine", 2, 100, 0, "ann", more={"priority": "high"}))
    made.give(inputs.DrainNode(at=made.at, node=NodeId("n0")))  # another cycle before they have stopped
    sent = [
        one.attempt for one in made.facts if isinstance(one, facts.GangStopping) and one.cause == "preempted"
    ]
    assert len(sent) == 2


wishes = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.integers(50, 2000),
        st.integers(1, 1500),
        st.sampled_from(["ann", "bob", "eve"]),
        st.sampled_from(["low", "normal", "high"]),
    ),
    min_size=4,
    max_size=14,
)


@settings(max_examples=40, deadline=None)
@given(found=wishes)
def test_whoever_leaves_ran_long_enough_and_owes_it(found: list[tuple[int, int, int, str, str]]) -> None:
    """A victim borrowed, or is of a lower class; nobody is asked twice; all jobs end in the end."""
    made = hall([tenant("ann", 4, 4), tenant("bob", 2, 6), tenant("eve", 2, 6)])
    core = made.core
    asked: Counter[str] = Counter()
    usage: Counter[str] = Counter()
    holds: dict[str, tuple[str, int]] = {}

    def look(step: Step) -> None:
        for fact in step.facts:
            if isinstance(fact, facts.GangPlaced):
                holds[fact.attempt] = core.state.jobs[fact.job].spec.tenant, len(fact.members)
                usage[holds[fact.attempt][0]] += len(fact.members)
            elif isinstance(fact, facts.GangStopped):
                usage[holds[fact.attempt][0]] -= holds[fact.attempt][1]
            elif isinstance(fact, facts.LeaveAsked):
                asked[fact.attempt] += 1
                gang, claimant = core.state.gangs[fact.attempt], core.state.jobs[JobId(fact.claimant)].spec
                assert fact.at - gang.placed_at >= RULES.preemption.ns("min_run")
                over = usage[gang.tenant] > core.state.tenants[gang.tenant].quota.chips
                borrowed = gang.tenant != claimant.tenant and over
                assert gang.rank < claimant.rank or (borrowed and gang.rank <= claimant.rank)

    made.watch = look
    jobs = [
        Wish(f"j{k}", n, run, at, who, more={"priority": p}) for k, (n, run, at, who, p) in enumerate(found)
    ]
    made.wish(*jobs)
    made.run()
    assert not asked or max(asked.values()) == 1
    assert len(made.ends) == len(jobs)
