"""`myriad ledger` as people read it."""

import pytest

from myriad.cli import client
from myriad.fleet.columns import NodeState
from myriad.ledger import costs, domains, views
from tests.cli.conftest import Myriad
from tests.cli.fake import Fake
from tests.ledger.story import Story


def books() -> client.Ledger:
    story = Story(nodes=2, keep_ended=0)
    story.admit(0, nodes=2)
    story.place(0, "j.1", "n0", "n1")
    story.run(0, "j.1")
    story.steps(40, "j.1", 4, steps=4, exposed=10, throttled=2)
    story.lost(50, "n1", since=45)
    story.stopped(52, "j.1", "node", kept=4)
    story.node(60, "n1", NodeState.READY)
    story.buckets(100)
    ledger = story.ledger
    return client.Ledger(
        site=views.site(ledger),
        tenants=tuple(views.tenants(ledger)),
        jobs=tuple(views.jobs(ledger)),
        services=(),
        pods=tuple(domains.domains(ledger)),
        racks=tuple(domains.domains(ledger, "rack")),
        sizes=tuple(domains.sizes(ledger)),
        cost=costs.cost(ledger),
    )


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("owner", ("detect", "exposed", "throttled", "= chips x time", "a useful chip-hour", "availability")),
        ("pod", ("AVAILABLE", "MTTR")),
        ("rack", ("p/r0",)),
        ("size", ("CHIPS UP TO", "INTERRUPTED")),
    ],
)
def test_the_ledger_by_owner_pod_rack_and_size(
    fake: Fake, myriad: Myriad, by: str, words: tuple[str, ...]
) -> None:
    fake.says("GET /api/v1/ledger", books())
    said = myriad("ledger", "--by", by)
    assert said.exit_code == 0, said.output
    for word in words:
        assert word in said.output, said.output


def test_an_invoice_of_a_month_asks_for_its_two_instants(fake: Fake, myriad: Myriad) -> None:
    said = myriad("invoice", "acme", "--month", "2026-12")
    assert said.exit_code != 0, "the fake knows no invoice"
    (asked,) = [what for what, _ in fake.asked]
    assert asked.startswith("GET /api/v1/invoices/acme?from=") and "&to=" in asked
