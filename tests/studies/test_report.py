"""The report stands alone, says what the books say, and bears anything from an empty site to a large one."""

import json
import re
from html.parser import HTMLParser

import pytest

from myriad.kernel.ids import NodeId, RequestId, ServiceId, TenantId
from myriad.kernel.units import SECOND
from myriad.ledger.ledger import Ledger
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.studies import charts, report
from myriad.studies.story import Story
from tests import build
from tests.control.world import Rig
from tests.ledger.story import prices, site


def told(*, racks: int = 2) -> list[Fact]:
    """A job that a node's death interrupts, a service, a caller from elsewhere."""
    rig = Rig(build.site(racks=racks))
    rig.submit("train-1", nodes=3, config={"steps": 40})
    rig.pass_s(8)
    rig.world.kill_node(NodeId(rig.nodes_of("train-1")[1]))
    rig.pass_s(30)
    rig.serve()
    rig.pass_s(5)
    served = facts.TokensServed(
        at=rig.world.now,
        request=RequestId("r1"),
        tenant=TenantId("other"),
        service=ServiceId("chat"),
        prompt_tokens=250_000,
        completion_tokens=500_000,
        final=True,
    )
    return [_priced(fact) for fact in (*rig.facts(), served)]


def _priced(fact: Fact) -> Fact:
    if isinstance(fact, facts.SiteOpened):
        return facts.SiteOpened(at=fact.at, site=fact.site, prices=prices())
    return fact


def rendered(some: list[Fact], title: str = "t") -> tuple[Ledger, str]:
    ledger = Ledger().fold_all(some)
    return ledger, report.render(ledger, Story().fold_all(some), title)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def page() -> str:
    return rendered(told(), "A <script> title")[1]


def test_runs_nothing_and_fetches_nothing(page: str) -> None:
    parser = _Tags()
    parser.feed(page)
    names = {tag for tag, _ in parser.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed"}
    for _, attributes in parser.tags:
        for name in ("src", "href", "xlink:href", "style"):
            value = attributes.get(name) or ""
            assert not value or value.startswith("#") or "://" not in value
    assert "@import" not in page
    assert "A &lt;script&gt; title" in page


def test_shows_every_part_of_the_story(page: str) -> None:
    for part in (
        "Where every chip-second went",
        "Nodes and gangs",
        "Training train-1",
        "What was promised, and what happened",
        "Services",
        "Invoice of acme",
        "Invoice of other",
        "not charged: caused by the site",
        "Estimated inputs",
        "estimated",
    ):
        assert part in page, part
    assert len(re.findall("<svg", page)) >= 3


def test_the_sum_of_the_buckets_is_printed_equal_to_capacity_to_the_nanosecond(page: str) -> None:
    (total,) = re.findall(r"sum of buckets</td><td class=n>([\d,.]+)<", page)
    (capacity,) = re.findall(r"capacity × time</td><td class=n>([\d,.]+)<", page)
    assert total == capacity


def test_the_same_facts_give_the_same_page() -> None:
    some = told()
    assert rendered(some)[1] == rendered(some)[1]


def test_the_summary_is_plain_json_and_agrees_with_the_books() -> None:
    ledger = Ledger().fold_all(told())
    found = json.loads(json.dumps(report.summary(ledger)))
    assert sum(found["site"]["buckets"].values()) == found["site"]["capacity_chip_ns"] == ledger.capacity_ns
    assert {bill["tenant"]: bill["total"] for bill in found["invoices"]}["other"] == "4.50"
    assert found["estimated"]


@pytest.mark.parametrize("opened", [False, True])
def test_a_site_where_nothing_happened_yet_has_a_report(opened: bool) -> None:
    some = [facts.SiteOpened(at=SECOND, site=site(2))] if opened else []
    assert "No capacity yet" in rendered(some)[1]


def test_a_large_site_shows_the_nodes_with_most_to_tell() -> None:
    some = told(racks=30)
    story = Story().fold_all(some)
    shown = charts.shown_nodes(story)
    assert len(shown) == charts.MOST_ROWS
    assert {node for attempt in story.attempts.values() for node in attempt.nodes} <= set(shown)
    assert f"The {charts.MOST_ROWS} of 90 nodes" in rendered(some)[1]
