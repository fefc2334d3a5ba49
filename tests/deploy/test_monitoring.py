"""Dashboards and alerts ask only for what a server really exports, in words that Prometheus understands."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools import dashboards

from tests.deploy import promql
from tests.server import exposition
from tests.server.harness import Server, running

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "production.md"
FILES = sorted((DEPLOY / "grafana").glob("*.json"))
#: Series that Prometheus makes itself.
ITS_OWN = {"up"}


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Where it is asked, and what."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for path in FILES:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.stem}: {panel['title']}", target["expr"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, exposition.Family]]:
    """What a running server tells."""
    with running(tmp_path_factory.mktemp("monitored"), "--engine", "memory") as server:
        server.wait_ready()
        _call(server)
        yield exposition.parsed(server.ask("GET", "//metrics").text)


def _call(server: Server) -> None:
    assert server.client.post(f"{server.gateway}/v1/completions", json={}).status_code == 401


def test_every_metric_asked_for_is_exported(exported: dict[str, exposition.Family]) -> None:
    known = dict(exported)
    for family in exported.values():
        if family.kind == "histogram":
            known |= {family.name + suffix: family for suffix in ("_bucket", "_sum", "_count")}
    for where, query in queries():
        for selector in promql.parsed(query):
            assert selector.metric in known.keys() | ITS_OWN, f"{where}: {selector.metric}"
            if selector.metric in known:
                _check_labels(where, selector, known[selector.metric])


def _check_labels(where: str, selector: promql.Selector, family: exposition.Family) -> None:
    """Labels exist, and so does each value that is named; of families without samples nothing is known."""
    for label, operator, value in selector.labels:
        found = {dict(sample.labels).get(label) for sample in family.samples}
        assert not found or None not in found, f"{where}: {family.name} has no label {label}"
        if found and family.name not in ("myriad_facts_total", "myriad_gateway_requests_total"):
            for word in value.split("|") if operator == "=~" else [value]:
                assert word in found or _is_rare(family.name, word), f"{where}: {family.name}: {label} {word}"


def _is_rare(metric: str, word: str) -> bool:
    from myriad.ledger.buckets import BUCKETS
    from myriad.protocol.values import StopCause

    return word in {"myriad_chip_seconds": BUCKETS, "myriad_gangs_stopped_total": StopCause.__args__}.get(
        metric, ()
    )  # type: ignore[attr-defined]


def test_facts_that_are_asked_for_by_kind_exist() -> None:
    from myriad.protocol import facts

    kinds = {kind.__name__ for kind in facts.AnyFact.__args__}
    for where, query in queries():
        for selector in promql.parsed(query):
            if selector.metric == "myriad_facts_total":
                assert {word for _, _, value in selector.labels for word in value.split("|")} <= kinds, where


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dashboards_are_whole(path: Path) -> None:
    board = json.loads(path.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) and board["uid"] == f"myriad-{path.stem}"
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        refs = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(refs)) == len(refs) and (refs or panel["type"] == "row")


def test_the_files_are_what_the_tool_writes() -> None:
    """`python -m tools.dashboards` writes them anew."""
    assert [path.stem for path in FILES] == sorted(board.name for board in dashboards.BOARDS)
    for board in dashboards.BOARDS:
        assert (DEPLOY / "grafana" / f"{board.name}.json").read_text() == dashboards.text(board)


def test_alerts_say_how_bad_it_is_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    guide = GUIDE.read_text()
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "warn") and re.fullmatch(
            r"\d+[mh]", rule.get("for", "1m")
        )
        assert rule["annotations"]["summary"] and rule["annotations"]["action"]
        assert rule["alert"] in guide, "docs/guide/production.md lists every alert"


def test_the_guide_lists_every_metric(exported: dict[str, exposition.Family]) -> None:
    guide = GUIDE.read_text()
    missing = [
        name
        for name in exported
        if f"`{name}" not in guide and f"`{name.removeprefix('myriad_')}" not in guide
    ]
    assert not missing


@pytest.mark.parametrize(
    "wrong",
    [
        "rate(x)",
        "sum(x",
        "x[5m",
        "frobnicate(x)",
        'x{a="b"',
        "x{a=b}",
        "x +",
        "x y",
        "histogram_quantile(0.9, x))",
        "",
    ],
)
def test_the_parser_refuses_what_is_no_promql(wrong: str) -> None:
    with pytest.raises(promql.Wrong):
        promql.parsed(wrong)


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool on this machine")
def test_promtool_finds_no_fault() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
