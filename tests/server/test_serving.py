"""A service end to end: replicas as real processes, the gateway before them, tokens in the books."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.server.harness import ROOT, Answer, Server, members_of, python, running, wait_for


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A site on which a program named vllm is installed, and a model folder to give it."""
    tmp_path = tmp_path_factory.mktemp("serving")
    tools = tmp_path / "tools"
    tools.mkdir()
    program = tools / "vllm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests/server/fake_vllm.py"} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
        server = stack.enter_context(running(tmp_path / "home"))
        server.wait_ready()
        yield server


@pytest.fixture
def serving(site: Server) -> Iterator[Server]:
    """The site, with no service before the test and none after it."""
    yield site
    site.ask("DELETE", "/services/coder")
    wait_for(lambda: site.get("/services") == [] and not members_of(site.home))


def _spec(server: Server, **more: Any) -> dict[str, Any]:
    model = {"path": str(server.home.parent / "model")}
    return {"name": "coder", "tenant": "acme", "engine": "vllm", "model": model, **more}


def _chat(server: Server, key: str, said: str = "hello") -> Answer:
    body = {"model": "coder", "messages": [{"role": "user", "content": said}]}
    headers = {"Authorization": f"Bearer {key}"}
    return Answer(server.client.post(f"{server.gateway}/v1/chat/completions", json=body, headers=headers))


def _ready(server: Server) -> int:
    return int(server.get("/services")[0]["ready"])


def test_served_metered_and_billed(serving: Server) -> None:
    key, other = serving.tenant(), serving.tenant("globex", chips=1)
    view = serving.post(
        "/services", {"spec": _spec(serving, replicas={"min": 2, "max": 2}, shared=True)}, key=key
    )
    service = view["service"]
    assert service.startswith("coder-") and view["wanted"] == 2
    wait_for(lambda: _ready(serving) == 2)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: _chat(serving, (key, other)[number % 2]), range(20)))
    assert all(answer.status == 200 for answer in answers), [answer.text for answer in answers]
    assert {answer.tree["model"] for answer in answers} == {"coder"}
    assert _chat(serving, "myr_tenant_wrong").status == 401
    # every answer that came has its tokens in the journal: a crash right now loses none
    serving.kill()
    serving.start()
    tokens = {one["tenant"]: one["tokens"][service] for one in serving.get("/ledger")["tenants"]}
    assert tokens["acme"] == tokens["globex"] == [50, 50, 10], "prompt, completion, requests"
    lines = serving.get("/invoices/globex", key=other)["lines"]
    assert {line["unit"] for line in lines} == {"million tokens"}
    # the replicas ran on meanwhile, and are found again
    wait_for(lambda: _ready(serving) == 2)
    assert _chat(serving, key).status == 200
    assert all(replica["attempt"][-1] in "12" for replica in serving.get("/services")[0]["replicas"])
    shown = serving.get("/services", key=other)[0]
    assert shown["name"] == "coder" and shown["replicas"] == [] and shown["model_path"] == ""
    assert serving.ask("GET", "/services/coder/logs", key=other).status == 404
    assert "serving on" in serving.ask("GET", "/services/coder/logs", key=key).text
    assert serving.ask("DELETE", "/services/coder", key=key).status == 200
    wait_for(lambda: not members_of(serving.home))
    wait_for(lambda: serving.get("/services") == [])
    assert serving.post("/journal/verify")["equal"]


def test_a_replica_that_dies_is_replaced_and_nobody_notices(serving: Server) -> None:
    key = serving.tenant()
    serving.post("/services", {"spec": _spec(serving, replicas={"min": 2, "max": 2})})
    wait_for(lambda: _ready(serving) == 2)
    victim = int(_chat(serving, key).tree["choices"][0]["message"]["content"].split()[1])
    with ThreadPoolExecutor(4) as pool:
        asks = [pool.submit(_chat, serving, key) for _ in range(30)]
        os.kill(victim, signal.SIGKILL)
        assert all(ask.result().status == 200 for ask in asks)
    wait_for(lambda: _ready(serving) == 2 and len(serving.get("/services")[0]["replicas"]) == 2)


def test_a_wedged_replica_gets_no_requests(serving: Server) -> None:
    key = serving.tenant()
    serving.post("/services", {"spec": _spec(serving)})
    wait_for(lambda: _ready(serving) == 1)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(_chat, serving, key, "hang")
        wait_for(lambda: serving.get("/services")[0]["replicas"][0]["state"] == "stalled")
        assert serving.ask("DELETE", "/services/coder").status == 200
        assert hanging.result().status >= 400


def test_a_command_job_exports_no_model(serving: Server) -> None:
    serving.tenant()
    job = serving.submit(python("pass", name="plain"))
    serving.wait_state(job, "succeeded")
    answer = serving.ask("POST", "/services", {"spec": _spec(serving, model={"job": "plain"})})
    assert answer.status == 422 and "recipe" in answer.tree["remedy"]


def test_the_report_page(serving: Server) -> None:
    serving.tenant()
    serving.wait_state(serving.submit(python("pass")), "succeeded")
    page = serving.ask("GET", "/report.html")
    assert page.headers["content-type"].startswith("text/html") and "laptop" in page.text
