"""What cannot be done is refused with the field, the value, the problem and the remedy; never with a 500."""

import contextlib
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.server.harness import Server, command

_HUGE = {"layers": 96, "hidden": 12288, "heads": 96, "kv_heads": 8}
RECIPE = {"name": "bad", "tenant": "errs", "nodes": 2, "recipe": "pretrain"}


@pytest.fixture(scope="module", autouse=True)
def _tenant(asked: Server) -> None:
    asked.tenant("errs", chips=2)


def _service(**more: Any) -> dict[str, Any]:
    return {"spec": {"name": "svc", "tenant": "errs", "model": {"job": "nothing"}, **more}}


@pytest.mark.parametrize(
    ("path", "body", "status", "field", "told"),
    [
        ("/jobs", {"spec": {**RECIPE, "recipe": "pretrian"}}, 422, "recipe", "Did you mean pretrain?"),
        ("/jobs", {"spec": {**RECIPE, "nodez": 2}}, 422, "spec: nodez", "Did you mean nodes?"),
        ("/jobs", {"spec": {**RECIPE, "nodes": "two"}}, 422, "spec: nodes", "two"),
        ("/jobs", {"spec": {**RECIPE, "expected": 5}}, 422, "spec: expected", "5s"),
        ("/jobs", {"spec": {**RECIPE, "checkpoint": {"every": "5"}}}, 422, "checkpoint", "25 steps"),
        ("/jobs", {"spec": {**RECIPE, "config": {"stepz": 5}}}, 422, "config: stepz", "Did you mean steps"),
        ("/jobs", {"spec": {**RECIPE, "config": {"steps": 0}}}, 422, "config: steps", "more than 0"),
        (
            "/jobs",
            {"spec": {**RECIPE, "config": {"data": {"corpus": "/nothing/here"}}}},
            422,
            "config: data.corpus",
            "every node can read",
        ),
        (
            "/jobs",
            {"spec": {**RECIPE, "config": {"global_batch_sequences": 7, "micro_batch_sequences": 1}}},
            422,
            "global_batch_sequences",
            "multiple of 2",
        ),
        (
            "/jobs",
            {"spec": {**RECIPE, "config": {"model": _HUGE}}},
            422,
            "bad-",
            "smaller model",
        ),
        ("/jobs", {"spec": command("true", name="q", tenant="errs", nodes=3)}, 422, "q-", "quota"),
        ("/jobs", {"spec": command("true", name="x", tenant="errz")}, 422, "x-", "errs"),
        ("/jobs", {"spec": command("true", name="x", tenant="errs", nodes=9)}, 422, "x-", "nodes: 5"),
        ("/jobs", {"spec": {**RECIPE, "deadline": "36"}}, 422, "spec", "deadline: '36' has no unit"),
        ("/jobs", {"spec": {**RECIPE, "within": "pdo"}}, 422, "spec: within", "Did you mean pod"),
        ("/jobs", {"spec": {**RECIPE, "priority": "top"}}, 422, "spec: priority", "Known: high, low, normal"),
        ("/jobs", {"spec": {**RECIPE, "nodes": {"min": 3}}}, 422, "spec: nodes.max", "Add it"),
        ("/jobs", {"spec": {**RECIPE, "nodes": {"min": 3, "max": 2}}}, 422, "spec: nodes", "1 <= min <= max"),
        ("/jobs", {"spec": {**RECIPE, "budget": 5}}, 422, "spec: budget", "quote it"),
        ("/jobs", {"spec": {**RECIPE, "budget": "-5"}}, 422, "spec", "more than 0"),
        ("/jobs", {"spec": {**RECIPE, "chip": "h10"}}, 422, "chip", "h10"),
        ("/jobs", {}, 422, "spec", "job file"),
        ("/jobs", {"spec": {"kind": "service"}}, 422, "spec", ""),
        ("/services", _service(), 422, "model: job", ""),
        ("/services", _service(model={"path": "relative"}), 422, "model: path", "absolute"),
        ("/services", _service(model={"path": "/nothing"}), 422, "model: path", "config.json"),
        ("/services", _service(slo={"ttft": "2"}), 422, "slo", "unit"),
        ("/tenants", {"tenants": [{"name": "A b", "quota": {"chips": 1}}]}, 422, "tenants[0]", "lower-case"),
        ("/tenants", {"tenants": [{"name": "x", "quota": {"chipz": 1}}]}, 422, "quota.chipz", "chips"),
        ("/nodes/n99/drain", {}, 404, "n99", "n0"),
        ("/site/close", {"grace_s": -1}, 422, "grace_s", ""),
    ],
)  # fmt: skip
def test_the_error_names_the_thing_and_the_remedy(
    asked: Server, path: str, body: dict[str, Any], status: int, field: str, told: str
) -> None:
    before = asked.get("//healthz")["journal_seq"]
    answer = asked.ask("POST", path, body)
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.tree
    assert problem["status"] == status and problem["title"] and problem["type"].startswith("urn:myriad:")
    assert field in problem["field"] + problem["detail"], problem
    assert told in problem["detail"], problem
    assert asked.get("//healthz")["journal_seq"] <= before + 1, "at most the refusal is on record"


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", "/nothing", 404, "/api/v1/jobs"),
        ("GET", "//nothing", 404, "/api/v1/jobs"),
        ("PUT", "/jobs", 405, "POST"),
        ("GET", "/jobs/nothing", 404, "no such job"),
        ("GET", "/journal?limit=many", 422, "limit"),
        ("POST", "/jobs/nothing/cancel", 404, "no such job"),
        ("DELETE", "/services/nothing", 404, "no such service"),
        ("GET", "/invoices/nobody", 404, "no such tenant"),
        ("POST", "/tenants/nobody/keys", 404, "no tenant nobody"),
    ],
)
def test_what_is_not_there_says_so(asked: Server, method: str, path: str, status: int, told: str) -> None:
    answer = asked.ask(method, path)
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert told in answer.text


def test_bodies_that_are_no_json_objects(asked: Server) -> None:
    for content in ("{", "[]", '"x"', "\xff\xfe"):
        answer = asked.ask("POST", "/jobs", content=content.encode("latin-1"))
        assert answer.status == 400 and "body" in answer.tree["field"], answer.text
    big = asked.ask("POST", "/jobs", content=b"x" * (5 << 20))
    assert big.status == 413 and big.tree["remedy"]


def test_a_model_of_a_job_that_is_not_over(asked: Server) -> None:
    job = asked.submit(command("sleep", "99", name="unfinished", tenant="errs"))
    answer = asked.ask("POST", "/services", _service(model={"job": "unfinished"}))
    assert (
        answer.status == 409
        and "has not finished" in answer.tree["detail"]
        and "Wait" in answer.tree["remedy"]
    )
    asked.post(f"/jobs/{job}/cancel")
    asked.wait_state(job, "cancelled")
    answer = asked.ask("POST", "/services", _service(model={"job": "unfinished"}))
    assert answer.status == 409 and "has not succeeded" in answer.tree["detail"]


# ---- before it starts -----------------------------------------------------------------------------


def _refused(home: Path, *options: str) -> str:
    server = Server(home)
    process = server.spawn("--engine", "memory", *options)
    assert process.wait(20) == 2, server.said()
    assert "Traceback" not in server.said()
    return server.said()


@pytest.mark.parametrize("option", ["--port", "--gateway-port"])
def test_a_port_in_use(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = _refused(tmp_path, option, port)
    assert port in said and "port" in said and "end what listens there" in said
    assert not (tmp_path / "context.json").exists()


def test_a_home_that_is_held(asked: Server) -> None:
    process = asked.spawn("--engine", "memory")
    assert process.wait(20) == 2
    assert f"(pid {asked.process.pid})" in asked.said() and "myriad down" in asked.said()
    assert asked.get("//healthz")["ok"], "the one that runs is left alone"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\nchip: local-cpu\npods: [{name: p, racks: 1, nodes_per_rack: 1}]\npolicyy: {}", "policy?"),
        ("name: x\nchip: local-cpuu\npods: [{name: p, racks: 1, nodes_per_rack: 2}]", "local-cpu"),
        (
            "name: x\nchip: local-cpu\npods: [{name: p, racks: 1, nodes_per_rack: 2}]\n"
            "policy: {recover: {silence: 5}}",
            "5s",
        ),
        (
            "name: x\nchip: local-cpu\npods: [{name: p, racks: 1, nodes_per_rack: 2}]\n"
            "prices: {chip_hour: {local-cpu: -1}}",
            "prices",
        ),
        ("name: [", "line"),
    ],
)
def test_a_bad_site_file(tmp_path: Path, text: str, told: str) -> None:
    site = tmp_path / "my-site.yaml"
    site.write_text(text)
    said = _refused(tmp_path / "home", "--site", str(site))
    assert "my-site.yaml" in said or "chip" in said, said
    assert told in said


def test_a_site_that_does_not_fit_the_journal(server: Server, tmp_path: Path) -> None:
    server.stop()
    site = tmp_path / "other.yaml"
    site.write_text(
        "name: x\nchip: local-cpu\nchips_per_node: 2\npods: [{name: p, racks: 1, nodes_per_rack: 2}]"
    )
    process = server.spawn("--engine", "memory", "--site", str(site))
    assert process.wait(20) == 2
    assert "new home folder" in server.said()


def test_a_damaged_journal(server: Server) -> None:
    server.stop()
    with contextlib.closing(sqlite3.connect(server.home / "journal.db")) as journal, journal:
        changed = journal.execute(
            "UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), 'SiteOpened', 'SiteOpenee') AS BLOB)"
            " WHERE seq = 1"
        )
        assert changed.rowcount == 1
    process = server.spawn("--engine", "memory")
    assert process.wait(20) == 2
    assert "journal" in server.said() and "--repair" in server.said()
