"""Windows, incidents and the tenant tree as people type and read them."""

import json
import time
from datetime import datetime
from typing import Any

import pytest

from myriad.cli import instants, submit
from myriad.control.views import JobView
from myriad.kernel.errors import UserError
from myriad.kernel.units import HOUR, MINUTE, SECOND
from myriad.protocol.values import Forecast
from tests.cli.conftest import Myriad
from tests.cli.fake import Fake

WINDOW = {
    "name": "launch", "kind": "reservation", "tenant": "acme", "nodes": ["n0", "n1"], "start_at": 1,
    "end_at": 2, "reason": "", "state": "planned", "attempts": ["big-1.1"],
}  # fmt: skip
INCIDENT = {
    "incident": "i-1", "kind": "rack", "domain": "p0/r1", "nodes": ["n3", "n4"], "out": ["n4"], "since": 1,
    "closed_at": 0, "why": "2 of 3 nodes within 2m", "into": "",
}  # fmt: skip


def tenant(name: str, parent: str = "", **more: Any) -> dict[str, Any]:
    counts = {"chips_quota": 4, "chips_borrow": 2, "chips_used": 5, "chips_borrowed": 1, "jobs_waiting": 0}
    return {"tenant": name, "parent": parent, "weight": 1.0, "budget": None, **counts, **more}


def test_reserving_says_who_uses_it_and_who_leaves(fake: Fake, myriad: Myriad) -> None:
    fake.says("POST /api/v1/windows", WINDOW)
    done = myriad(
        "reserve", "launch", "--tenant", "acme", "--nodes", "n0, n1", "--from", "+2h", "--for", "30m"
    )
    assert done.exit_code == 0, done.output
    body = fake.asked[-1][1]
    assert (body["kind"], body["tenant"], body["nodes"]) == ("reservation", "acme", ["n0", "n1"])
    assert abs(body["start_at"] - time.time_ns() - 2 * HOUR) < MINUTE
    assert body["end_at"] - body["start_at"] == 30 * MINUTE
    assert "n0, n1" in done.output and "big-1.1 leave" in done.output and "reservation: launch" in done.output


def test_maintenance_from_now_is_the_servers_now(fake: Fake, myriad: Myriad) -> None:
    fake.says("POST /api/v1/windows", {**WINDOW, "kind": "maintenance", "tenant": "", "state": "open"})
    said = myriad("maintain", "fans", "--rack", "p0/r1", "--until", "+90m", "--reason", "new fans").output
    body = fake.asked[-1][1]
    assert (body["start_at"], body["rack"], body["reason"]) == (0, "p0/r1", "new fans")
    assert "are asked to leave" in said
    myriad("maintain", "fans", "--count", "3", "--from", "2026-08-01T02:00Z", "--for", "1h", "--json")
    assert fake.asked[-1][1]["start_at"] == 1785549600 * SECOND and fake.asked[-1][1]["count"] == 3


def test_windows_and_incidents_are_listed_and_ended(fake: Fake, myriad: Myriad) -> None:
    fake.says(
        "GET /api/v1/windows", [WINDOW, {**WINDOW, "name": "wide", "nodes": [f"n{k}" for k in range(40)]}]
    )
    said = myriad("windows").output
    assert "launch" in said and "40 nodes: n0" in said and json.loads(myriad("windows", "--json").output)
    fake.says("DELETE /api/v1/windows/launch", {"ok": True})
    assert "launch is over" in myriad("windows", "end", "launch").output
    fake.says("GET /api/v1/incidents", [INCIDENT, {**INCIDENT, "incident": "i-0", "closed_at": 5, "out": []}])
    lines = myriad("incidents").output.splitlines()
    assert lines[1].split()[:4] == ["i-1", "open", "rack", "p0/r1"] and lines[2].split()[1] == "over"
    for name in ("windows", "incidents"):
        fake.says(f"GET /api/v1/{name}", [])
    assert "myriad reserve" in myriad("windows").output and "No incidents" in myriad("incidents").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--nodes", "n0", "--for", "2"), "--for: has no unit (got '2'). Write for example 90s"),
        (("--nodes", "n0", "--for", "2 hours"), "--for: is not understood (got '2 hours')"),
        (("--nodes", "n0", "--for", "0h"), "--for: must be more than zero"),
        (
            ("--nodes", "n0", "--from", "tomorrow", "--for", "2h"),
            "--from: is not understood (got 'tomorrow')",
        ),
        (("--nodes", "n0", "--from", "02:00", "--for", "2h"), "--from: has no day (got '02:00')"),
        (("--nodes", "n0", "--from", "+2h", "--until", "+1h"), "--until: is not after --from (got '+1h')"),
        (("--nodes", "n0"), "--until: or --for is required"),
        (("--nodes", "n0", "--for", "1h", "--until", "+1h"), "--until: does not go with --for"),
        (("--for", "1h"), "Give one of --nodes, --pod, --rack, --count"),
        (("--nodes", "n0", "--pod", "p0", "--for", "1h"), "--nodes and --pod do not go together"),
        (("--count", "many", "--for", "1h"), "--count: is not a number of nodes (got 'many')"),
    ],
)
def test_mistakes_are_told_before_the_server_is_asked(
    fake: Fake, myriad: Myriad, arguments: tuple[str, ...], told: str
) -> None:
    done = myriad("maintain", "fans", *arguments)
    assert done.exit_code == 2 and told in done.stderr, done.stderr
    assert not fake.asked


def test_a_period_is_two_instants_or_a_month() -> None:
    assert instants.period("", "", "") is None
    december = instants.instant("2026-12-01", "x"), instants.instant("2027-01-01", "x")
    assert instants.period("", "", "2026-12") == instants.period("2026-12-01", "2027-01-01", "") == december
    assert instants.period("", "2027-01-01", "") == (0, december[1])
    for wrong in (("", "", "2026-13"), ("", "", "december"), ("2026-12-01", "", "2026-12")):
        with pytest.raises(UserError):
            instants.period(*wrong)


def test_instants_are_of_this_machines_time_zone_unless_they_say() -> None:
    local = datetime(2026, 8, 1, 2, 0).astimezone()
    assert instants.instant("2026-08-01T02:00", "x") == int(local.timestamp()) * SECOND
    assert instants.instant("2026-08-01 02:00+02:00", "x") == 1785542400 * SECOND
    with pytest.raises(UserError, match=r"\+2h"):
        instants.instant("", "x")


def test_tenants_are_a_tree(fake: Fake, myriad: Myriad) -> None:
    budget = {"amount": "100", "every": "30d", "spent": "12.50", "since": 0, "until": 10**18}
    tree = [
        tenant("top"),
        tenant("mid", "top", weight=2.5),
        tenant("leaf", "mid", budget=budget),
        tenant("b"),
    ]
    fake.says("GET /api/v1/tenants", tree)
    lines = myriad("tenant").output.splitlines()
    assert [line.index(name) for line, name in zip(lines[1:], ("top", "mid", "leaf", "b"), strict=True)] == [
        0,
        2,
        4,
        0,
    ]
    assert "12.50 of 100" in lines[3] and "2.5" in lines[2]
    assert myriad("tenant", "list").output.splitlines() == lines
    assert json.loads(myriad("tenant", "--json").output)[0]["tenant"] == "top"


def test_a_slow_node_is_shown_as_one(fake: Fake, myriad: Myriad) -> None:
    node = {
        "node": "n0", "pod": "p0", "rack": "p0/r0", "state": "ready", "chips": 1, "chips_free": 0,
        "spare": False, "cordoned": False, "attempts": [], "why": "", "losses": 0, "gemm_flops": 0.0,
        "slow": 1.25,
    }  # fmt: skip
    fake.says("GET /api/v1/nodes", [node])
    assert "ready (slow: 1.25 x)" in myriad("nodes").output


def test_predictions_judge_starts_and_ends(fake: Fake, myriad: Myriad) -> None:
    score = {
        "job": "j-1", "tenant": "acme", "name": "j", "outcome": "succeeded", "basis": "",
        "submitted_at": SECOND, "step_ns_promised": None, "step_ns_median": None, "step_error": None,
        "start_promised": 61 * SECOND,
        "start_early": 31 * SECOND, "start_late": 91 * SECOND, "started_at": 71 * SECOND,
        "start_error_ns": 10 * SECOND, "start_within": True, "finish_promised": None, "finish_early": None,
        "finish_late": None, "finished_at": None, "finish_error": None, "within": False,
        "chip_ns_promised": 0, "chip_ns": 0, "cost_promised": "1", "cost": "2", "cost_error": None,
    }  # fmt: skip
    whole = {
        "jobs": 4, "starts": 3, "start_within": 2 / 3, "within": 0.75, "step_error_median": None,
        "finish_error_median": None, "cost_error_median": None,
    }  # fmt: skip
    fake.says("GET /api/v1/predictions", {"scores": [score], "calibration": whole})
    said = myriad("predictions", COLUMNS="130").output.splitlines()
    assert said[1].split()[:6] == ["j-1", "succeeded", "1m", "00s", "1m", "10s"]
    assert said[1].split()[-2:] == ["yes", "no"]
    assert said[2].startswith("66.7 % of 3 that had to wait") and said[3].startswith("75.0 % of 4 ended")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ["predicted finish", "predicted cost 1.00"]),
        (
            {"start_at": 60, "start_early_at": 50, "start_late_at": 70},
            ["predicted start", "predicted finish", "cost"],
        ),
        ({"start_at": 0, "finish_at": 0}, ["no start is in sight, 1.0s a step", "predicted cost 1.00"]),
        ({"start_at": 0, "finish_at": 0, "chip_ns": 0}, ["no start is in sight; run time unknown"]),
    ],
)
def test_promises_in_words(changes: dict[str, int], told: list[str]) -> None:
    seconds = {
        "start_at": 10, "start_early_at": 10, "start_late_at": 10, "finish_at": 90, "finish_early_at": 80,
        "finish_late_at": 99, **changes,
    }  # fmt: skip
    forecast = Forecast(
        step_ns=SECOND, chip_ns=seconds.pop("chip_ns", SECOND), cost="1.00", basis="",
        **{name: at * SECOND for name, at in seconds.items()},
    )  # fmt: skip
    fields = {"job": "j", "name": "j", "tenant": "t", "state": "admitted", "priority": "low", "text": ""}
    numbers = (
        "nodes",
        "chips",
        "first_placed_at",
        "ended_at",
        "attempts",
        "step",
        "steps",
        "kept_step",
        "loss",
    )
    view = JobView(
        **fields, **dict.fromkeys((*numbers, "tokens", "step_ns", "ends_at"), 0), submitted_at=10 * SECOND,
        attempt=None, placed_on=(), forecast=forecast, history=(),
    )  # type: ignore[arg-type]  # fmt: skip
    lines = submit.promise(view)
    assert len(lines) == len(told) and all(word in line for word, line in zip(told, lines, strict=True)), (
        lines
    )
    assert ("80 %" in lines[0]) == bool(seconds["finish_at"])
