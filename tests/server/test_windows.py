"""Reservations, maintenance and the tenant tree over the API: what is kept, what is refused and why."""

import time
from typing import Any

import pytest

from myriad.control import holdings
from myriad.control.core import Core
from myriad.kernel.errors import UserError
from myriad.kernel.ids import NodeId, TenantId
from myriad.kernel.units import HOUR, SECOND
from myriad.protocol.inputs import ApplyTenant, NodeOccupied, SetWindow
from myriad.server import keeping
from myriad.server.keeping import Keep
from tests import build
from tests.control.world import Rig
from tests.server.harness import Server, command


def in_hours(hours: float) -> int:
    return time.time_ns() + int(hours * HOUR)


@pytest.fixture(scope="module", autouse=True)
def _tenants(asked: Server) -> None:
    asked.tenant("holds", chips=4)
    asked.tenant("other", chips=4)


def keep(asked: Server, name: str, **more: Any) -> Any:
    kind = "reservation" if "tenant" in more else "maintenance"
    body = {"name": name, "kind": kind, "start_at": in_hours(1), "end_at": in_hours(2), **more}
    return asked.ask("POST", "/windows", body)


# ---- the API ------------------------------------------------------------------------------------


def test_a_window_is_set_listed_used_and_ended(asked: Server) -> None:
    view = keep(asked, "launch", tenant="holds", rack="p0/r0", reason="the launch").tree
    assert (view["state"], view["nodes"]) == ("planned", ["n0", "n1", "n2"])
    assert keep(asked, "fans", nodes=["n4"]).status == 200
    assert [one["name"] for one in asked.get("/windows")] == ["launch", "fans"]
    # a tenant sees maintenance, and its own
    assert [one["name"] for one in asked.get("/windows", key=asked.tenant_keys["other"])] == ["fans"]
    assert len(asked.get("/windows", key=asked.tenant_keys["holds"])) == 2
    assert asked.ask("POST", "/windows", {}, key=asked.tenant_keys["holds"]).status == 403

    spec = command("sleep", "9", name="uses", tenant="holds", reservation="launch", expected="1m")
    answer = asked.post("/jobs?dry_run=1", {"spec": spec})
    assert answer["explanation"]["reasons"][0]["code"] == "reservation", answer
    spec |= {"reservation": "lunch"}
    refused = asked.ask("POST", "/jobs", {"spec": spec})
    assert refused.status == 422 and "Did you mean launch?" in refused.tree["detail"]
    spec |= {"tenant": "other", "reservation": "launch"}
    assert "other has no reservation launch" in asked.ask("POST", "/jobs", {"spec": spec}).tree["detail"]

    entries = [entry["cause"] for entry in asked.journal()]
    assert any(cause.startswith("SetWindow launch by key-") for cause in entries)
    for name in ("launch", "fans"):
        assert asked.ask("DELETE", f"/windows/{name}").status == 200
    assert asked.get("/windows") == []
    refused = asked.ask("DELETE", "/windows/launch")
    assert refused.status == 404 and refused.tree["field"] == "window"


def test_maintenance_that_begins_now_drains_and_gives_back(asked: Server) -> None:
    view = keep(asked, "now", nodes=["n5"], start_at=0).tree
    assert view["state"] == "open"

    def state() -> str:
        return next(str(node["state"]) for node in asked.get("/nodes") if node["node"] == "n5")

    assert state() in ("draining", "drained")
    asked.ask("DELETE", "/windows/now")
    asked.wait_ready()


@pytest.mark.parametrize(
    ("body", "status", "field", "told"),
    [
        ({"name": "x", "nodes": ["n99"]}, 422, "nodes", "(got 'n99')"),
        ({"name": "x", "pod": "p9"}, 422, "pod", "Known: p0"),
        ({"name": "x", "rack": "r0"}, 422, "rack", "p0/r0"),
        ({"name": "x", "count": 99}, 422, "count", "5 nodes can be kept"),
        ({"name": "x", "count": 1, "chip": "h10"}, 422, "chip", "local-cpu"),
        ({"name": "x"}, 422, "nodes", "exactly one of nodes, pod, rack, count"),
        ({"name": "x", "pod": "p0", "count": 2}, 422, "nodes", "pod and count are given"),
        ({"name": "x", "nodes": ["n0"], "tenant": "hold"}, 422, "tenant", "Did you mean holds?"),
        ({"name": "x", "nodes": ["n0"], "end_at": 5}, 422, "end_at", "has passed"),
        ({"name": "x", "nodes": ["n0"], "end_at": "2h"}, 422, "end_at", "int"),
        ({"name": "X Y", "nodes": ["n0"]}, 422, "body", "lower-case"),
        ({"name": "x", "nodez": ["n0"]}, 422, "nodez", "Did you mean nodes?"),
        ({"name": "x", "nodes": ["n0"], "kind": "repair"}, 422, "kind", "repair"),
        ({"name": "x", "nodes": ["n0"], "kind": "reservation"}, 422, "body", "a reservation has a tenant"),
    ],
)
def test_mistakes_name_the_field_and_the_remedy(
    asked: Server, body: dict[str, Any], status: int, field: str, told: str
) -> None:
    answer = keep(asked, **body)
    assert answer.status == status, answer.text
    assert field in answer.tree["field"] and told in answer.tree["detail"], answer.text


def test_two_windows_cannot_keep_one_node(asked: Server) -> None:
    keep(asked, "first", nodes=["n3"])
    answer = keep(asked, "second", nodes=["n3", "n4"])
    assert answer.status == 409 and "n3 is kept by maintenance first" in answer.tree["detail"]
    assert "n3" not in keep(asked, "third", count=4).tree["nodes"]
    for name in ("first", "third"):
        asked.ask("DELETE", f"/windows/{name}")


# ---- the tree -----------------------------------------------------------------------------------


def tenant(name: str, chips: int, parent: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "quota": {"chips": chips}, "parent": parent, **more}


def test_a_tree_is_applied_in_any_order_all_or_nothing(asked: Server) -> None:
    branch = [tenant("leaf", 2, "mid"), tenant("mid", 3, "top"), tenant("top", 4, weight=2.0)]
    asked.post("/tenants", {"tenants": branch})
    views = {view["tenant"]: view for view in asked.get("/tenants")}
    assert list(views)[-3:] == ["top", "mid", "leaf"]
    assert views["leaf"]["parent"] == "mid" and views["top"]["weight"] == 2.0
    # all shrink at once, whatever the order; and grow again
    for chips in ((2, 1, 1), (6, 4, 3)):
        top, mid, leaf = chips
        asked.post(
            "/tenants",
            {"tenants": [tenant("top", top), tenant("mid", mid, "top"), tenant("leaf", leaf, "mid")]},
        )
    refused = asked.ask("POST", "/tenants", {"tenants": [tenant("fresh", 1), tenant("mid", 9, "top")]})
    assert refused.status == 422
    assert "fresh" not in {view["tenant"] for view in asked.get("/tenants")}


@pytest.mark.parametrize(
    ("spec", "field", "told"),
    [
        (tenant("new", 1, "tpo"), "tenants[0]: parent", "(got 'tpo'). Did you mean top?"),
        (tenant("new", 9, "top"), "tenants[0]: quota.chips", "give at most"),
        (tenant("top", 1), "tenants[0]: quota.chips", "given to its parts"),
        (tenant("top", 9, "leaf"), "tenants[0]: parent", "leaf is itself part of top"),
        (tenant("top", 9, "top"), "tenants[0]", "another tenant"),
        (tenant("new", 1, budget={"amount": "much"}), "tenants[0]: budget", "2500.00"),
        (
            tenant("new", 1, budget={"amount": "10", "every": "30"}),
            "tenants[0]: budget",
            "every: '30' has no unit",
        ),
        (tenant("new", 1, weight=0), "tenants[0]", "weight must be more than 0"),
    ],
)
def test_mistakes_on_the_tree(asked: Server, spec: dict[str, Any], field: str, told: str) -> None:
    test_a_tree_is_applied_in_any_order_all_or_nothing(asked)
    answer = asked.ask("POST", "/tenants", {"tenants": [spec]})
    assert answer.status == 422, answer.text
    assert field in answer.tree["field"] and told in answer.tree["detail"], answer.text


def test_a_budget_is_shown_as_it_is_spent(asked: Server) -> None:
    asked.post("/tenants", {"tenants": [tenant("pays", 1, budget={"amount": "100"})]})
    view = next(view for view in asked.get("/tenants") if view["tenant"] == "pays")
    assert view["budget"]["spent"] == "0.00" and view["budget"]["until"] > time.time_ns()


# ---- which nodes --------------------------------------------------------------------------------


def test_a_tenant_does_not_see_what_others_run_in_a_window() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=2, spares=0))
    rig.submit(nodes=2, config={"steps": 100_000})
    rig.give(ApplyTenant(at=rig.world.now, tenant=build.tenant("other")))
    now = rig.world.now
    given = Keep(name="w", kind="maintenance", pod="p0", start_at=now + HOUR, end_at=now + 2 * HOUR)
    rig.give(SetWindow(at=now, window=keeping.window(rig.core.state, given, now)))
    for tenant, seen in ((None, 1), (TenantId("acme"), 1), (TenantId("other"), 0)):
        (view,) = holdings.windows(rig.core.state, now, tenant)
        assert len(view.attempts) == seen


def chosen(core: Core, count: int, **more: Any) -> tuple[NodeId, ...]:
    now = core.state.now
    given = Keep(
        name="w", kind="maintenance", count=count, start_at=now + HOUR, end_at=now + 2 * HOUR, **more
    )
    return keeping.window(core.state, given, now).nodes


def test_nodes_that_others_use_then_are_kept_last() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=4, spares=0))
    now = rig.world.now
    for node, until in (("n0", 0), ("n1", now + 3 * HOUR), ("n2", now + HOUR // 2)):
        rig.give(NodeOccupied(at=now, node=NodeId(node), by="others", until=until))
    assert set(chosen(rig.core, 1)) == {"n3"}
    # whose limit ends before the window begins will be free by then
    assert set(chosen(rig.core, 2)) == {"n2", "n3"}
    assert len(chosen(rig.core, 4)) == 4


def test_so_many_nodes_are_those_where_fewest_must_leave() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=4, pods=2, spares=0))
    rig.submit(nodes=2, config={"steps": 10_000_000}, expected="50h")
    rig.pass_s(20)
    held = set(rig.nodes_of("train-1"))
    pod = {"n0", "n1", "n2", "n3"}
    other = pod if not held <= pod else {"n4", "n5", "n6", "n7"}
    assert set(chosen(rig.core, 4)) == other
    assert not set(chosen(rig.core, 2)) & held
    # the tightest pod that needs nobody to leave
    assert set(chosen(rig.core, 2)) == ({f"n{k}" for k in range(8)} - other - held)
    # no pod has so many: the whole of one, then of the next
    assert len(chosen(rig.core, 6)) == 6
    window = keeping.window(
        rig.core.state,
        Keep(
            name="launch", kind="reservation", tenant=TenantId("acme"), pod="p1",
            end_at=rig.core.state.now + 9 * HOUR,
        ),
        rig.core.state.now,
    )  # fmt: skip
    rig.give(SetWindow(at=rig.world.now, window=window))
    rig.pass_s(1)
    assert set(chosen(rig.core, 4)) == pod
    with pytest.raises(UserError, match="4 nodes can be kept"):
        chosen(rig.core, 5)
    assert rig.core.state.now > 20 * SECOND
