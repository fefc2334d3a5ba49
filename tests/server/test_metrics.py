"""Metrics of the brain: the queue by reason, who was sent away, incidents, and what deciding cost."""

import re

import pytest

from myriad.control import holdings, views
from myriad.kernel.ids import AttemptId, IncidentId
from myriad.protocol import facts, inputs
from myriad.server.tallies import Tallies
from myriad.workload.tenants import Quota, Tenant
from tests import build
from tests.control.world import Rig
from tests.server import exposition
from tests.server.harness import Server, command


def test_the_queue_is_counted_by_the_first_reason() -> None:
    rig = Rig(build.site(racks=2, nodes_per_rack=3, spares=0))
    rig.give(inputs.ApplyTenant(at=rig.world.now, tenant=Tenant(name="small", quota=Quota(chips=1))))  # type: ignore[arg-type]
    long = {"config": {"steps": 100_000}, "expected": "10h"}
    rig.submit(nodes=4, **long)
    rig.submit("s-1", name="s", tenant="small", nodes=1, **long)
    rig.submit("s-2", name="s", tenant="small", nodes=1, **long)
    rig.submit("big-1", name="big", nodes=6, **long)
    rig.submit("big-2", name="big", nodes=6, **long)
    rig.submit("passes-not-1", name="passes-not", nodes=1, command=("x",))
    rig.pass_s(20)
    assert holdings.waiting(rig.core.moment(rig.world.now)) == {"quota": 1, "capacity": 2, "priority": 1}
    rig.give(inputs.CloseSite(at=rig.world.now, grace_ns=0))
    assert set(holdings.waiting(rig.core.moment(rig.world.now))) == {"site_closed"}


def test_what_happened_is_counted_from_the_journal() -> None:
    tallies = Tallies()
    for cause in ("preempted", "preempted", "done"):
        stopped = facts.GangStopped(at=1, attempt=AttemptId("j-1.1"), cause=cause, kept_step=0)  # type: ignore[arg-type]
        tallies.observe(1, "", [stopped])
    opened = facts.IncidentOpened(
        at=1, incident=IncidentId("i-1"), kind="rack", domain="p0/r0", nodes=(), why="", since=1
    )
    tallies.observe(1, "", [opened])
    assert tallies.stopped == {"preempted": 2, "done": 1} and tallies.incidents == {"rack": 1}


def test_nodes_are_counted_by_columns_as_their_views_say() -> None:
    rig = Rig(build.site(racks=2, nodes_per_rack=3, spares=1))
    for nodes in (2, 1):
        rig.submit(f"j-{nodes}", name=f"j{nodes}", nodes=nodes, config={"steps": 1000}, expected="1h")
    for _ in range(12):
        rig.pass_s(5)
        words = [view.state for view in views.nodes(rig.core.state)]
        assert views.nodes_by_state(rig.core.state) == {word: words.count(word) for word in set(words)}
        if rig.world.now % 2:
            rig.give(inputs.DrainNode(at=rig.world.now, node="n0", by="t", reason="x"))  # type: ignore[arg-type]
    assert "allocated" in words


def test_they_are_well_formed(asked: Server) -> None:
    """By the rules of the text format, version 0.0.4, and of Prometheus' naming."""
    asked.tenant("metered", chips=1)
    assert asked.client.post(f"{asked.gateway}/v1/chat/completions", json={}).status_code == 401
    families = exposition.parsed(asked.ask("GET", "//metrics").text)
    assert len(families) > 40
    for name, family in families.items():
        assert re.fullmatch(r"(myriad|process)_[a-z0-9_]+", name), name
        assert family.kind in ("counter", "gauge", "histogram") and family.help.endswith("."), name
        assert name.endswith("_total") == (family.kind == "counter"), name
        assert not re.search(r"_(ms|ns|us|kwh|minutes|hours|kb|mb|percent)(_|$)", name), name
        for labels in family.samples:
            assert not {"node", "job", "attempt", "chip", "key"} & {label for label, _ in labels.labels}, name
    lag = families["myriad_event_loop_lag_seconds"]
    counts = [value for sample, value in lag.samples.items() if sample.name.endswith("_bucket")]
    assert counts == sorted(counts) and counts[-1] == lag.samples[exposition.Sample(lag.name + "_count", ())]
    assert families["myriad_role"].samples[exposition.Sample("myriad_role", (("role", "leader"),))] == 1
    requests = families["myriad_gateway_requests_total"].samples
    assert (
        requests[exposition.Sample("myriad_gateway_requests_total", (("service", ""), ("code", "401")))] >= 1
    )
    commits = families["myriad_journal_commit_seconds"].samples
    assert commits[exposition.Sample("myriad_journal_commit_seconds_count", ())] > 0


@pytest.mark.parametrize(
    "wrong",
    [
        "x 1\n",
        "# TYPE x gauge\nx 1\n",
        "# HELP x X.\n# TYPE x gauge\nx 1",
        "# HELP x X.\n# TYPE x gauge\nx 1\nx 2\n",
        '# HELP x X.\n# TYPE x gauge\nx{a="b} 1\n',
        "# HELP x X.\n# TYPE x gauge\ny 1\n",
        "# HELP x X.\n# TYPE x histogram\nx 1\n",
        "# HELP x X.\n# TYPE x gauge\nx one\n",
    ],
)
def test_the_parser_that_judges_them_is_strict(wrong: str) -> None:
    with pytest.raises(exposition.Malformed):
        exposition.parsed(wrong)


def test_they_are_scraped(asked: Server) -> None:
    asked.tenant("metered", chips=1)
    asked.submit(command("sleep", "99", name="holds", tenant="metered", expected="1h"))
    asked.submit(command("sleep", "99", name="waits", tenant="metered", expected="1h"))
    lines = asked.ask("GET", "//metrics").text.splitlines()
    values = {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }
    assert values['myriad_jobs_waiting_by_reason{reason="quota"}'] >= 1
    assert values['myriad_gangs_stopped_total{cause="preempted"}'] == 0
    assert values["myriad_incidents_open"] == 0
    assert 0 < values["myriad_decision_seconds_max"] <= values["myriad_decision_seconds_sum"]
    given = sum(value for name, value in values.items() if name.startswith("myriad_inputs_total"))
    assert given >= values["myriad_turns_total"] == values["myriad_decision_seconds_count"] > 0
    assert values['myriad_inputs_total{kind="SubmitJob"}'] >= 2
    assert values['myriad_facts_total{kind="JobAdmitted"}'] >= 2
    assert values['myriad_jobs{state="admitted"}'] >= 1
    assert values["myriad_queue_oldest_wait_seconds"] > 0
    buckets = [value for name, value in values.items() if name.startswith("myriad_chip_seconds{")]
    assert abs(sum(buckets) / values["myriad_capacity_chip_seconds_total"] - 1) < 1e-6
    for name in ("holds", "waits"):
        asked.post(f"/jobs/{name}/cancel")
