"""Who may do what: every route for every role; others' things are as if they were not there."""

import json
import stat

import pytest

from myriad.server.api import ROUTES
from myriad.server.routing import ROLES, Route
from tests.server.harness import Server, command


@pytest.fixture(scope="module")
def keys(asked: Server) -> dict[str, str]:
    """A key of each role; `other` is another tenant's."""
    found = {"operator": asked.key, "viewer": asked.post("/viewers/keys")["key"]}
    for role, name in (("tenant", "ident-a"), ("other", "ident-b")):
        found[role] = asked.tenant(name, chips=1)
    return found


def _concrete(route: Route) -> str:
    parts = {
        "node": "n99",
        "job": "nothing",
        "name": "nothing",
        "tenant": "nobody",
        "key": "key-none",
        "window": "none",
    }
    path = route.path
    for name, value in parts.items():
        path = path.replace("{" + name + "}", value)
    return f"/{path}"


#: A stream without end, and a question that ends the server: asked in tests of their own.
_APART = ("/api/v1/events", "/api/v1/site/close")
_ASKED = [route for route in ROUTES if route.path not in _APART]


@pytest.mark.parametrize("route", _ASKED, ids=lambda route: f"{route.method} {route.path}")
def test_each_route_lets_in_the_roles_of_its_row(asked: Server, keys: dict[str, str], route: Route) -> None:
    if route.path in ("/healthz", "/metrics"):
        assert asked.ask(route.method, _concrete(route), key="").status == 200
        return
    for key in ("", "myr_operator_wrong"):
        assert asked.ask(route.method, _concrete(route), {}, key=key).status == 401
    for role in ("operator", "viewer", "tenant"):
        answer = asked.ask(route.method, _concrete(route), {}, key=keys[role])
        forbidden = role not in ROLES[route.access]
        assert (answer.status == 403) == forbidden, (role, answer.text)
        assert answer.status < 500, answer.text
        if forbidden:
            assert "operator" in answer.tree["remedy"]


def test_a_tenant_sees_its_own_alone(asked: Server, keys: dict[str, str]) -> None:
    spec = command("sleep", "9", name="ident-job", tenant="ident-a")
    job = asked.submit(spec, key=keys["tenant"])
    assert job in [one["job"] for one in asked.get("/jobs", key=keys["viewer"])]
    assert job not in [one["job"] for one in asked.get("/jobs", key=keys["other"])]
    assert job not in [one["job"] for one in asked.get("/jobs?tenant=ident-a", key=keys["other"])]
    for path in (f"/jobs/{job}", f"/jobs/{job}/explain", f"/jobs/{job}/report", f"/jobs/{job}/logs"):
        own, others = asked.ask("GET", path, key=keys["tenant"]), asked.ask("GET", path, key=keys["other"])
        absent = asked.ask("GET", path.replace(job, "absent"), key=keys["other"])
        assert (own.status, others.status) == (200, 404)
        assert others.text.replace(job, "absent") == absent.text, "as if it were not there"
    assert asked.ask("POST", f"/jobs/{job}/cancel", key=keys["other"]).status == 404
    assert [one["tenant"] for one in asked.get("/tenants", key=keys["other"])] == ["ident-b"]
    assert asked.ask("GET", "/invoices/ident-a", key=keys["other"]).status == 404
    assert asked.ask("GET", "/ledger?tenant=ident-a", key=keys["other"]).tree["jobs"] == []
    books = asked.get("/ledger", key=keys["tenant"])
    assert books["site"] is None and {one["tenant"] for one in books["tenants"]} == {"ident-a"}
    asked.post(f"/jobs/{job}/cancel", key=keys["tenant"])


def test_a_tenant_asks_in_its_own_name_alone(asked: Server, keys: dict[str, str]) -> None:
    answer = asked.ask("POST", "/jobs", {"spec": command("true", tenant="ident-a")}, key=keys["other"])
    assert answer.status == 403
    assert answer.tree["field"] == "spec: tenant" and "ident-b" in answer.tree["remedy"]


def test_keys_are_kept_as_hashes_only(asked: Server, keys: dict[str, str]) -> None:
    journal = json.dumps(asked.journal())
    assert "KeySet" in journal
    for key in keys.values():
        assert key not in journal and key.split("_", 2)[2] not in journal
        for suffix in ("", "-wal"):
            assert key.encode() not in (asked.home / f"journal.db{suffix}").read_bytes()


def test_the_operators_key_is_for_its_owner_alone(asked: Server) -> None:
    assert stat.S_IMODE((asked.home / "context.json").stat().st_mode) == 0o600


def test_a_revoked_key_is_good_no_more(asked: Server) -> None:
    asked.tenant("revoked", chips=1)
    issued = asked.post("/tenants/revoked/keys")
    assert asked.ask("GET", "/jobs", key=issued["key"]).status == 200
    assert asked.ask("DELETE", f"/keys/{issued['key_id']}").status == 200
    assert asked.ask("GET", "/jobs", key=issued["key"]).status == 401
    again = asked.ask("DELETE", f"/keys/{issued['key_id']}")
    assert again.status == 404 and again.tree["remedy"]


def test_the_last_operator_key_stays(asked: Server) -> None:
    operators = [
        fact["key"]
        for entry in asked.journal()
        for fact in entry["facts"]
        if fact["type"] == "KeySet" and fact["role"] == "operator"
    ]
    answer = asked.ask("DELETE", f"/keys/{operators[0]}")
    assert answer.status == 409 and "last" in answer.tree["detail"]


def test_intents_carry_who_asked(asked: Server) -> None:
    asked.tenant("audited", chips=1)
    causes = [entry["cause"] for entry in asked.journal()]
    assert any(cause.startswith("ApplyTenant audited by key-") for cause in causes), causes[-5:]
