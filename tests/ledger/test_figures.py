"""Figures by pod, rack and size of job, and what it all costs."""

from decimal import Decimal

from myriad.fleet.columns import NodeState
from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import JobId, NodeId
from myriad.kernel.units import HOUR, SECOND
from myriad.ledger import costs, domains, invoices, views
from myriad.ledger.ledger import Ledger
from myriad.protocol import facts
from myriad.workload.prices import PriceBook
from tests.ledger.story import ACME, Story

PODS = (Pod(name="p", racks=2, nodes_per_rack=1), Pod(name="q", racks=1, nodes_per_rack=2))


def two_pods(**site: object) -> Story:
    story = Story(nodes=4, ready=False)
    story.ledger, story.told = Ledger(), []
    fields = {"name": "s", "chip": "local-cpu", "pods": PODS, "chips_per_node": 1} | site
    book = PriceBook(
        chip_hour={"local-cpu": Decimal("2.00"), "zhenwu-810e": Decimal("10.00")}, energy_kwh=Decimal("0.5")
    )
    story.tell(facts.SiteOpened, 0, site=Site(**fields), prices=book)  # type: ignore[arg-type]
    for k in range(4):
        story.node(0, f"n{k}", NodeState.READY)
    return story


def test_each_pod_and_rack_has_books_of_its_own() -> None:
    story = two_pods()
    story.admit(0, nodes=2)
    story.place(0, "j.1", "n0", "n2")
    story.run(0, "j.1")
    story.lost(10, "n2", since=8)
    story.stopping(10, "j.1", "node")
    story.node(15, "n2", NodeState.BURN_IN)
    story.node(20, "n2", NodeState.READY)
    story.stopped(20, "j.1", "node", kept=99)
    story.buckets(40)
    p, q = domains.domains(story.ledger)
    assert (p.name, q.name, p.nodes, q.nodes) == ("p", "q", 2, 2)
    assert p.capacity_chip_ns == sum(p.buckets.values()) == 80 * SECOND
    assert (p.goodput, p.availability, p.node_losses, p.mttf_s) == (8 / 80, 1.0, 0, None)
    assert p.ettr == 8 / 20, "of 20 s held: 8 useful, 2 to detect, 10 to stop"
    assert (q.availability, q.node_losses, q.mttf_s, q.mttr_s) == (70 / 80, 1, 70.0, 10.0)
    racks = domains.domains(story.ledger, "rack")
    assert [rack.name for rack in racks] == ["p/r0", "p/r1", "q/r0"]
    assert sum(rack.capacity_chip_ns for rack in racks) == story.ledger.capacity_ns
    assert views.site(story.ledger).availability == 150 / 160


def test_interruptions_by_size_of_job() -> None:
    story = two_pods()
    for name, nodes in (("a", ("n0",)), ("b", ("n1", "n2", "n3"))):
        story.admit(0, name, nodes=len(nodes))
        story.place(0, f"{name}.1", *nodes)
        story.run(2, f"{name}.1")
    story.stopping(32, "b.1", "node", since=30)
    story.stopped(33, "b.1", "node", kept=99)
    story.place(33, "b.2", "n1", "n2", "n3")
    story.run(34, "b.2", 99)
    story.stopped(50, "a.1", "done")
    story.tell(facts.JobEnded, 50, job=JobId("a"), outcome="succeeded")
    story.buckets(66)
    one, four = domains.sizes(story.ledger)
    assert (one.chips, one.jobs, one.running_s, one.interruptions, one.mtti_s) == (
        1,
        {"succeeded": 1},
        48.0,
        0,
        None,
    )
    assert (four.chips, four.jobs, four.ends) == (4, {}, {"node": 1})
    assert (four.running_s, four.mtti_s) == (28 + 32, 60.0)
    assert four.ettr == (28 + 32) / 64, "placed at second 2, when the books were there"
    assert four.recovery_s == 4.0, "from second 30 to 34"


def test_flops_are_of_the_pods_whose_chips_did_them() -> None:
    story = two_pods()
    story.admit(0, nodes=2)
    story.place(0, "j.1", "n0", "n2")
    story.run(0, "j.1")
    story.tell(facts.StepsDone, 10, attempt="j.1", step=5, steps=5, flops=1e10)
    for _ in range(2):
        site = views.site(story.ledger)
        shares = {pod.mfu for pod in domains.domains(story.ledger)}
        assert site.mfu is not None
        assert shares == {site.mfu}
        assert views.tenant(story.ledger, ACME).mfu == views.job(story.ledger, JobId("j")).mfu == site.mfu
        if story.ledger.gangs:
            story.stopped(10, "j.1", "done")


def test_an_hour_of_use_costs_what_all_hours_do() -> None:
    story = two_pods()
    story.admit(0, nodes=1)
    story.place(0, "j.1", "n0")
    story.run(0, "j.1")
    story.buckets(3600)
    found = costs.cost(story.ledger)
    assert (found.chips, found.useful_chip_ns) == (Decimal("8.00"), HOUR)
    assert found.energy == Decimal("0.00"), "8 W for an hour"
    assert found.per_useful_chip_hour == Decimal("8.0040")
    assert costs.cost(story.ledger, kwh=4.0).per_useful_chip_hour == Decimal("10.0000")
    assert costs.cost(Ledger()).per_useful_chip_hour is None


def test_each_type_of_chip_has_its_price() -> None:
    pods = (PODS[0], Pod(name="q", racks=1, nodes_per_rack=2, chip="zhenwu-810e", chips_per_node=1))
    story = two_pods(pods=pods)
    for name, node in (("a", "n0"), ("b", "n2")):
        story.admit(0, name, nodes=1)
        story.place(0, f"{name}.1", node)
        story.run(0, f"{name}.1")
    story.tell(facts.NodeSpared, 900, node=NodeId("n3"), spare=True)
    story.buckets(1800)
    bill = invoices.invoice(invoices.usage(story.ledger, ACME))
    assert [(line.name, line.chip, str(line.amount)) for line in bill.lines] == [
        ("a", "local-cpu", "1.00"),
        ("b", "zhenwu-810e", "5.00"),
    ]
    held = views.tenant(story.ledger, ACME).held_chip_ns
    assert held == {"local-cpu": HOUR // 2, "zhenwu-810e": HOUR // 2}
    assert costs.cost(story.ledger).chips == Decimal("12.00")
