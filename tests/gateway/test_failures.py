"""Replicas that fail: before the first token nobody notices, after it the client is told."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from aiohttp import web

from myriad.gateway.settings import Settings
from myriad.route.policy import Policy
from tests.gateway.site import Site, coder, replica, running
from tests.gateway.test_streams import BODY, stream, text
from tests.gateway.upstream import Upstream

WHOLE = "t0 t1 t2 t3 t4 "
NOWHERE = "http://127.0.0.1:1"  # nothing listens on port 1


@asynccontextmanager
async def pair(policy: Policy | None = None, settings: Settings | None = None) -> AsyncIterator[Any]:
    """(bad, good, site): the bad one is preferred by the prompt that all these tests send."""
    async with (
        Upstream() as one,
        Upstream() as two,
        running(coder(one.url, two.url), policy=policy, settings=settings) as site,
    ):
        await stream(site)
        bad, good = (one, two) if one.asked else (two, one)
        bad.asked.clear()
        site.sink.metered.clear()
        yield bad, good, site


async def _error_inside(response: web.StreamResponse, _: web.Request) -> None:
    await response.write(b'data: {"error": "out of "memory""}\n\n')


async def _nothing(_: web.StreamResponse, __: web.Request) -> None:
    await asyncio.sleep(30)


async def _end(_: web.StreamResponse, __: web.Request) -> None:
    return


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("way", ["reset", "garbage", "status", "dead", "busy", "silent", "ends"])
def test_before_the_first_token_another_replica_takes_over(way: str, whole: bool) -> None:
    async def play() -> None:
        # only where it is waited for: the good replica must keep it too
        settings = Settings(first_byte_s=1, answer_s=1) if way == "silent" else Settings()
        async with pair(settings=settings) as (bad, good, site):
            bad.breaks_at = 0
            if way in ("status", "dead", "busy"):
                bad.status = {"status": 500, "dead": 503, "busy": 429}[way]
            elif way == "garbage":
                bad.breaks = _error_inside
            elif way == "silent":
                bad.breaks = _nothing
            elif way == "ends":
                bad.breaks = _end
            if whole:
                status, tree, _ = await site.ask()
                assert (status, tree["choices"][0]["message"]["content"]) == (200, WHOLE)
            else:
                assert text(await stream(site)) == WHOLE
            assert len(bad.asked) == 1 and len(good.asked) == 1
            assert len(site.sink.metered) == 1 and site.sink.metered[0].completion_tokens == 5
            # one server error may be the request's own fault; a broken connection is not
            lives = way in ("status", "busy", "garbage") or (whole and way == "ends")
            assert len(site.sink.failed) == (0 if lives else 1)

    asyncio.run(play())


def test_a_replica_that_refuses_connections_is_left_alone_for_a_while_and_comes_back() -> None:
    async def play() -> None:
        async with pair(Policy(cool_down="2s")) as (bad, _, site):
            port = int(bad.url.rsplit(":", 1)[1])
            await bad.runner.cleanup()
            assert [text(await stream(site)) for _ in range(5)] == [WHOLE] * 5
            assert len(site.sink.failed) == 1
            await bad.start(port)
            async with asyncio.timeout(20):
                while not bad.asked:
                    await stream(site)
            assert len(site.sink.failed) == 1

    asyncio.run(play())


def test_a_replica_on_trial_gets_one_request_only() -> None:
    async def play() -> None:
        async with Upstream() as upstream, running(coder(NOWHERE), policy=Policy(cool_down="100ms")) as site:
            first = asyncio.create_task(stream(site))
            async with asyncio.timeout(5):
                while not site.sink.failed:
                    await asyncio.sleep(0.01)
                upstream.permits = asyncio.Semaphore(0)
                # the same replica, mended: it is listed at another address
                site.directory.put(coder(upstream.url))
                rest = [asyncio.create_task(stream(site)) for _ in range(4)]
                while not upstream.asked:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
                assert len(upstream.asked) == 1
                for _ in range(25):
                    upstream.permits.release()
                assert [text(each) for each in await asyncio.gather(first, *rest)] == [WHOLE] * 5

    asyncio.run(play())


def test_server_errors_in_a_row_take_a_replica_out() -> None:
    async def play() -> None:
        async with pair(Policy(errors_max=3)) as (bad, _, site):
            bad.status = 500
            for _ in range(5):
                assert text(await stream(site)) == WHOLE
            assert len(bad.asked) == 3 and len(site.sink.failed) == 1

    asyncio.run(play())


def test_a_request_that_fails_everywhere_is_given_up_and_says_why() -> None:
    async def play() -> None:
        async with pair() as (bad, good, site):
            bad.status = good.status = 500
            bad.refusal = good.refusal = {"error": {"message": "assertion failed in /m/tiny"}}
            status, tree, _ = await site.ask()
            assert status == 502 and "HTTP 500: assertion failed in coder" in tree["error"]["message"]
            assert len(bad.asked) + len(good.asked) == 3
            bad.status = good.status = 429
            status, tree, headers = await site.ask()
            assert (status, tree["error"]["code"], headers["Retry-After"]) == (503, "overloaded", "5")

    asyncio.run(play())


@pytest.mark.parametrize("way", ["reset", "error", "silent", "ends"])
def test_after_the_first_token_the_client_is_told(way: str) -> None:
    async def play() -> None:
        settings = Settings(stall_s=1) if way == "silent" else Settings()
        async with pair(settings=settings) as (bad, good, site):
            bad.breaks_at = 3
            counts = way != "reset"
            bad.style = "vllm" if counts else "transformers"  # which tells usage with the last chunk alone
            bad.breaks = {"reset": bad.breaks, "error": _error_inside, "silent": _nothing, "ends": _end}[way]
            chunks = await stream(site)
            assert chunks[-1]["error"]["code"] == "replica_failed"
            assert text(chunks[:-1]) == "t0 t1 t2 "
            assert not good.asked
            metered = [(each.completion_tokens, each.estimated) for each in site.sink.metered]
            assert metered == [(3, not counts)]
            client = openai.AsyncOpenAI(base_url=site.url + "/v1", api_key="acme-key", max_retries=0)
            bad.breaks_at, good.breaks_at, good.breaks = 2, 2, _end
            async with client:
                with pytest.raises(openai.APIError, match="broke off"):
                    async for _ in await client.chat.completions.create(**BODY):
                        pass

    asyncio.run(play())


def test_requests_wait_for_a_replica_that_comes() -> None:
    async def play() -> None:
        async with Upstream() as upstream, running(coder()) as site:
            asks = [asyncio.create_task(stream(site)) for _ in range(8)]
            async with asyncio.timeout(5):
                while not site.sink.loads:
                    await asyncio.sleep(0.01)
            assert site.sink.loads[0][1:] == (0.0, 1)  # told at once, not at the next second
            site.directory.put(coder(upstream.url))
            assert [text(each) for each in await asyncio.gather(*asks)] == [WHOLE] * 8

    asyncio.run(play())


def test_a_request_whose_only_replica_dies_waits_for_the_next_one() -> None:
    async def play() -> None:
        async with Upstream() as dying, Upstream() as fresh, running(coder(dying.url)) as site:
            dying.breaks_at = 0
            asked = asyncio.create_task(stream(site))
            async with asyncio.timeout(5):
                while not site.sink.failed:
                    await asyncio.sleep(0.01)
            view = coder()
            site.directory.put(type(view)(**{**_fields(view), "replicas": (replica(2, fresh.url),)}))
            assert text(await asked) == WHOLE

    asyncio.run(play())


def test_the_queue_is_served_in_order_of_arrival_and_replicas_are_not_overfilled() -> None:
    async def play() -> None:
        policy = Policy(overcommit=1.0)
        async with (
            Upstream(tokens=1) as upstream,
            running(coder(upstream.url, concurrency=2), policy=policy) as site,
        ):
            upstream.permits = asyncio.Semaphore(0)
            asks = []
            for number in range(6):
                tree = {**BODY, "messages": [{"role": "user", "content": str(number)}]}
                asks.append(asyncio.create_task(_posted(site, tree)))
                await _in_flight(site, number + 1)
            assert len(upstream.asked) == 2
            for _ in range(6):
                upstream.permits.release()
            await asyncio.gather(*asks)
            assert [each["messages"][0]["content"] for each in upstream.asked] == list("012345")

    asyncio.run(play())


def test_one_prefix_stays_on_one_replica() -> None:
    async def play() -> None:
        async with Upstream() as one, Upstream() as two, running(coder(one.url, two.url)) as site:
            for turn in range(4):
                talk = [{"role": "user", "content": "how?"}]
                talk += [{"role": "assistant", "content": "so"}, {"role": "user", "content": "and?"}] * turn
                await stream(site, messages=talk)
            assert sorted((len(one.asked), len(two.asked))) == [0, 4]

    asyncio.run(play())


def test_closing_lets_a_stream_end() -> None:
    async def play() -> None:
        async with Upstream(pause_s=0.05) as upstream, running(coder(upstream.url)) as site:
            asked = asyncio.create_task(stream(site))
            async with asyncio.timeout(5):
                while not upstream.sent:
                    await asyncio.sleep(0.01)
            start = time.monotonic()
            await site.gateway.close()
            assert text(await asked) == WHOLE and time.monotonic() - start < 4

    asyncio.run(play())


async def _posted(site: Site, tree: Any) -> None:
    async with site.post(json=tree) as response:
        await response.read()


async def _in_flight(site: Site, count: int) -> None:
    async with asyncio.timeout(5):
        while True:
            async with site.client.get(site.url + "/healthz") as response:
                tree = await response.json()
            if tree["in_flight"] + tree["queued"] == count:
                return


def _fields(view: Any) -> dict[str, Any]:
    return {name: getattr(view, name) for name in view.__struct_fields__}
