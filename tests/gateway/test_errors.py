"""Every refusal is OpenAI's error object, has the right status, and says what to do."""

import asyncio
import socket
import time
from typing import Any

import pytest

from myriad.gateway.app import Gateway
from myriad.gateway.settings import Settings
from myriad.kernel.errors import UserError
from myriad.kernel.ids import ServiceId
from myriad.route.policy import Policy
from myriad.workload.tenants import Rate
from tests.gateway.site import ZETA, Directory, Sink, coder, running
from tests.gateway.upstream import Upstream

CHAT = {"model": "coder", "messages": [{"role": "user", "content": "hi"}]}


def _bad(tree: Any, path: str = "/v1/chat/completions", **more: Any) -> tuple[int, dict[str, Any]]:
    async def play() -> tuple[int, dict[str, Any]]:
        async with running(coder()) as site:
            given = {"data": tree} if isinstance(tree, bytes) else {"json": tree}
            async with site.post(path, **given, **more) as response:
                return response.status, (await response.json())["error"]

    return asyncio.run(play())


@pytest.mark.parametrize(
    ("tree", "param"),
    [
        ({"messages": CHAT["messages"]}, "model"),
        ({"model": "coder"}, "messages"),
        ({**CHAT, "messages": []}, "messages"),
        ({**CHAT, "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({**CHAT, "messages": [{"content": "x"}]}, "messages[0].role"),
        ({**CHAT, "max_tokens": "many"}, "max_tokens"),
        ({**CHAT, "max_tokens": 0}, "max_tokens"),
        ({**CHAT, "temperature": "hot"}, "temperature"),
        ({**CHAT, "stream": "yes"}, "stream"),
        ({**CHAT, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ([], None),
    ],
)
def test_a_wrong_field_is_named(tree: Any, param: str | None) -> None:
    status, error = _bad(tree)
    assert (status, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert (param or "body") in error["message"]


def test_a_completion_needs_a_prompt() -> None:
    status, error = _bad({"model": "coder"}, "/v1/completions")
    assert (status, error["param"]) == (400, "prompt")


@pytest.mark.parametrize("body", [b"", b"{", b'{"model": "\xff"}', b"hello"])
def test_a_body_that_is_no_json_is_said_to_be_none(body: bytes) -> None:
    status, error = _bad(body)
    assert (status, error["code"]) == (400, "invalid_json")


def test_keys() -> None:
    status, error = _bad(CHAT, key="nobody")
    assert (status, error["code"], error["type"]) == (401, "invalid_api_key", "authentication_error")
    status, error = _bad(CHAT, headers={"Authorization": ""})
    assert (status, error["code"]) == (401, "missing_api_key")
    status, error = _bad(CHAT, key="view-key")
    assert status == 403


def test_an_unknown_model_has_near_misses() -> None:
    status, error = _bad({**CHAT, "model": "codr"})
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "Did you mean coder?" in error["message"]


def test_another_tenants_model_is_unknown() -> None:
    status, error = _bad(CHAT, key="zeta-key")
    assert (status, error["code"]) == (404, "model_not_found")
    assert "coder," not in error["message"] and "mean coder" not in error["message"]


def test_an_unknown_path_lists_the_endpoints() -> None:
    status, error = _bad(CHAT, "/v1/embeddings")
    assert status == 404 and "/v1/chat/completions" in error["message"]


def test_a_body_too_large() -> None:
    async def play() -> None:
        async with (
            running(coder(), settings=Settings(body_bytes_max=1000)) as site,
            site.post(json={**CHAT, "user": "x" * 2000}) as response,
        ):
            assert response.status == 413
            assert "1000 bytes" in (await response.json())["error"]["message"]

    asyncio.run(play())


def test_a_model_that_is_down_is_said_to_be_after_the_deadline() -> None:
    async def play() -> None:
        async with running(coder(note="waits for free chips")) as site:
            start = time.monotonic()
            status, tree, headers = await site.ask(headers={"x-myriad-deadline-ms": "200"})
            assert 0.2 <= time.monotonic() - start < 5
            assert (status, headers["Retry-After"]) == (503, "5")
            assert tree["error"]["code"] == "model_not_ready"
            assert "waits for free chips" in tree["error"]["message"]

    asyncio.run(play())


def test_a_bad_deadline_is_named() -> None:
    status, error = _bad(CHAT, headers={"x-myriad-deadline-ms": "soon"})
    assert (status, error["param"]) == (400, "x-myriad-deadline-ms")


def test_a_full_queue_refuses_at_once() -> None:
    async def play() -> None:
        async with running(coder(), policy=Policy(queue_max=1)) as site:
            waiting = asyncio.create_task(site.ask(headers={"x-myriad-deadline-ms": "3000"}))
            while not site.sink.loads:  # told at once that somebody waits for a model at zero
                await asyncio.sleep(0.01)
            status, tree, _ = await site.ask()
            assert status == 503 and "wait already" in tree["error"]["message"]
            site.directory.remove(coder().id)
            status, tree, _ = await waiting
            assert status == 404 and "removed" in tree["error"]["message"]

    asyncio.run(play())


def test_the_rate_of_requests() -> None:
    async def play() -> None:
        async with Upstream() as upstream, running(coder(upstream.url)) as site:
            site.directory.limit("acme-key", Rate(requests_per_minute=2))
            assert [(await site.ask())[0] for _ in range(2)] == [200, 200]
            status, tree, headers = await site.ask()
            assert (status, tree["error"]["type"]) == (429, "rate_limit_error")
            assert 25 <= int(headers["Retry-After"]) <= 30
            assert (await site.ask(key="op-key"))[0] == 200

    asyncio.run(play())


def test_the_rate_of_tokens_is_charged_after_the_fact() -> None:
    async def play() -> None:
        async with Upstream(tokens=20) as upstream, running(coder(upstream.url)) as site:
            site.directory.limit("acme-key", Rate(tokens_per_minute=10))
            assert (await site.ask())[0] == 200
            status, tree, headers = await site.ask()
            assert status == 429 and "10 tokens a minute" in tree["error"]["message"]
            assert 60 < int(headers["Retry-After"]) <= 96  # 25 tokens used, 10 were there

    asyncio.run(play())


def test_what_an_engine_finds_wrong_is_passed_on_in_our_words() -> None:
    async def play() -> None:
        async with Upstream() as upstream, running(coder(upstream.url)) as site:
            upstream.status, upstream.refusal = 422, {"detail": "/m/tiny does not know {'foo'}"}
            status, tree, _ = await site.ask(foo=1)
            assert (status, tree["error"]["message"]) == (422, "coder does not know {'foo'}")
            assert len(upstream.asked) == 1 and not site.sink.failed
            upstream.status = 404
            assert (await site.ask())[1]["error"]["code"] == "not_supported"

    asyncio.run(play())


def test_names_own_before_shared() -> None:
    async def play() -> None:
        async with Upstream() as upstream, running(coder(upstream.url)) as site:
            site.directory.shared.add(coder().id)
            other = coder(upstream.url)
            site.directory.put(type(other)(id=ServiceId("coder-2"), name="coder", tenant=ZETA))
            headers = {"Authorization": "Bearer zeta-key"}
            async with site.client.get(site.url + "/v1/models", headers=headers) as response:
                tree = await response.json()
            assert [(each["id"], each["owned_by"]) for each in tree["data"]] == [
                ("acme/coder", "acme"),
                ("coder", "zeta"),
            ]
            async with site.client.get(site.url + "/v1/models/acme/coder", headers=headers) as response:
                assert (await response.json())["id"] == "acme/coder"
            status, tree, _ = await site.ask(key="zeta-key", model="acme/coder")
            assert (status, tree["model"]) == (200, "acme/coder")
            assert (await site.sink.finals(1))[0].tenant == ZETA

    asyncio.run(play())


def test_a_port_in_use_is_named() -> None:
    async def play() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            gateway = Gateway(Directory(), Sink(), time.time_ns)
            with pytest.raises(UserError, match="gateway address"):
                await gateway.start("127.0.0.1", taken.getsockname()[1])
            await gateway.close()

    asyncio.run(play())


def test_health_needs_no_key() -> None:
    async def play() -> None:
        async with running(coder()) as site, site.client.get(site.url + "/healthz") as response:
            assert (await response.json())["status"] == "ok"

    asyncio.run(play())
