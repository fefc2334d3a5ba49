"""Metrics of the brain: the queue by reason, who was sent away, incidents, and what deciding cost."""

from myriad.control import holdings
from myriad.kernel.ids import AttemptId, IncidentId
from myriad.protocol import facts, inputs
from myriad.server.tallies import Tallies
from myriad.workload.tenants import Quota, Tenant
from tests import build
from tests.control.world import Rig
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
    assert 0 < values["myriad_decision_seconds_max"] <= values["myriad_decision_seconds_total"]
    assert values["myriad_inputs_total"] >= values["myriad_turns_total"] > 0
    for name in ("holds", "waits"):
        asked.post(f"/jobs/{name}/cancel")
