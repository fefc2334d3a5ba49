"""Answers, streamed and whole: the text is the engine's, the names are ours, every token is metered once."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from myriad.gateway.settings import Settings
from myriad.protocol.inputs import TokensMetered
from myriad.workload.tenants import Rate
from tests.gateway.site import ACME, CODER, Site, coder, running
from tests.gateway.upstream import Upstream

STYLES = ["vllm", "transformers", "bare"]
BODY = {"model": "coder", "stream": True, "messages": [{"role": "user", "content": "hello"}]}


async def events(response: aiohttp.ClientResponse) -> list[Any]:
    """The events of a whole stream; [DONE] stays text."""
    assert response.status == 200, await response.text()
    payloads = [event.removeprefix("data: ") for event in (await response.text()).split("\n\n") if event]
    return [each if each == "[DONE]" else json.loads(each) for each in payloads]


async def stream(site: Site, **more: Any) -> list[Any]:
    async with site.post(json={**BODY, **more}) as response:
        return await events(response)


def text(chunks: list[Any]) -> str:
    return "".join(
        choice.get("text") or choice.get("delta", {}).get("content") or ""
        for chunk in chunks
        if chunk != "[DONE]"
        for choice in chunk["choices"]
    )


def counts(metered: TokensMetered) -> tuple[int, int, bool]:
    return metered.prompt_tokens, metered.completion_tokens, metered.final


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("asked", [True, False])
def test_every_engine_streams_alike(style: str, asked: bool) -> None:
    async def play() -> None:
        async with Upstream(style) as upstream, running(coder(upstream.url)) as site:
            options = {"stream_options": {"include_usage": True}} if asked else {}
            chunks = await stream(site, **options)
            assert chunks[-1] == "[DONE]" and text(chunks) == "t0 t1 t2 t3 t4 "
            assert {chunk["model"] for chunk in chunks[:-1]} == {"coder"}
            assert upstream.asked[0]["model"] == "/m/tiny"
            with_usage = [chunk for chunk in chunks[:-1] if "usage" in chunk]
            if asked and style != "bare":
                assert with_usage == [chunks[-2]] and chunks[-2]["choices"] == []
                assert chunks[-2]["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
            else:
                assert not with_usage
            # without the engine's word the prompt is guessed: 5 characters, 4 a token
            assert [counts(each) for each in site.sink.metered] == [(1 if style == "bare" else 5, 5, True)]
            assert site.sink.metered[0].estimated == (style == "bare"), "no usage: our own count"
            assert (site.sink.metered[0].tenant, site.sink.metered[0].service) == (ACME, CODER)

    asyncio.run(play())


def test_completions_stream_too() -> None:
    async def play() -> None:
        async with Upstream("transformers") as upstream, running(coder(upstream.url)) as site:
            tree = {"model": "coder", "prompt": "def f(", "stream": True, "top_k": 3}
            async with site.post("/v1/completions", json=tree) as response:
                assert text(await events(response)) == "t0 t1 t2 t3 t4 "
            assert upstream.asked[0]["prompt"] == "def f(" and upstream.asked[0]["top_k"] == 3
            assert counts(site.sink.metered[0]) == (6, 5, True)

    asyncio.run(play())


@pytest.mark.parametrize("style", STYLES)
def test_a_whole_answer(style: str) -> None:
    async def play() -> None:
        async with Upstream(style) as upstream, running(coder(upstream.url)) as site:
            status, tree, headers = await site.ask(stream_options={"include_usage": True})
            assert (status, tree["model"]) == (200, "coder")
            assert tree["choices"][0]["message"]["content"] == "t0 t1 t2 t3 t4 "
            assert "stream_options" not in upstream.asked[0]
            (metered,) = site.sink.metered
            assert headers["X-Request-Id"] == metered.request and metered.final
            if style != "bare":
                assert counts(metered) == (5, 5, True)
            else:
                assert metered.prompt_tokens > 0 and metered.completion_tokens > 0

    asyncio.run(play())


def test_text_that_looks_like_the_protocol_passes_untouched() -> None:
    """Escapes, other languages and a model's name inside the text are the tenant's own."""

    async def play() -> None:
        said = '"model":"/m/tiny" data: [DONE]\n\n\u2028 你好 \\ "usage"'
        async with Upstream() as upstream, running(coder(upstream.url)) as site:
            await stream(site, messages=[{"role": "user", "content": said}])
            assert upstream.asked[0]["messages"][0]["content"] == said

    asyncio.run(play())


def test_nothing_is_done_before_its_tokens_are_durable() -> None:
    async def play() -> None:
        async with Upstream(tokens=3) as upstream, running(coder(upstream.url)) as site:
            site.sink.durable.clear()
            async with site.post(json=BODY) as response:
                got = b""
                while b'"stop"' not in got:
                    got += await response.content.readany()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.2):
                        got += await response.content.readany()
                assert b"[DONE]" not in got and not site.sink.metered
                site.sink.durable.set()
                assert b"[DONE]" in await response.content.read()
            assert counts(site.sink.metered[-1]) == (5, 3, True)
            assert not site.sink.metered[-1].estimated, "the engine counts as it goes"

    asyncio.run(play())


def test_a_long_stream_is_metered_while_it_goes_on() -> None:
    async def play() -> None:
        settings = Settings(meter_every_s=0.05)
        async with (
            Upstream(tokens=20, pause_s=0.02) as upstream,
            running(coder(upstream.url), settings=settings) as site,
        ):
            await stream(site)
            seen = [each.completion_tokens for each in site.sink.metered]
            assert len(seen) > 3 and seen == sorted(seen) and seen[-1] == 20
            assert [each.final for each in site.sink.metered] == [False] * (len(seen) - 1) + [True]
            assert len({each.request for each in site.sink.metered}) == 1

    asyncio.run(play())


@pytest.mark.parametrize("style", ["vllm", "transformers"])
def test_a_client_that_goes_away_ends_the_work_and_pays_for_what_it_got(style: str) -> None:
    async def play() -> None:
        async with (
            Upstream(style, tokens=100) as upstream,
            running(coder(upstream.url, engine=style)) as site,
        ):
            upstream.permits = asyncio.Semaphore(7)
            async with site.post(json=BODY) as response:
                got = b""
                while b"t6 " not in got:
                    got += await response.content.readany()
            # leaving the block closed the connection in the middle of the answer
            (final,) = await site.sink.finals(1)
            await asyncio.wait_for(upstream.cancelled.wait(), 5)
            assert final.completion_tokens == upstream.sent == 7
            # vLLM counts as it goes; for transformers the prompt is guessed
            assert final.prompt_tokens == (5 if style == "vllm" else 1)

    asyncio.run(play())


def test_guesses_learn_from_the_counts_of_the_same_service() -> None:
    async def play() -> None:
        async with (
            Upstream("transformers") as upstream,
            running(coder(upstream.url, engine="transformers")) as site,
        ):
            await stream(site, messages=[{"role": "user", "content": "x" * 4000}])
            upstream.permits = asyncio.Semaphore(1)
            async with site.post(
                json={**BODY, "messages": [{"role": "user", "content": "y" * 1000}]}
            ) as response:
                await response.content.readany()
            final = (await site.sink.finals(2))[-1]
            assert abs(final.prompt_tokens - 1000) <= 1

    asyncio.run(play())


def test_a_client_that_leaves_the_queue_costs_nothing() -> None:
    async def play() -> None:
        async with Upstream() as upstream, running(coder()) as site:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await stream(site)
            async with site.client.get(site.url + "/healthz") as response:
                assert (await response.json())["queued"] == 0
            site.directory.put(coder(upstream.url))
            await stream(site)
            assert len(upstream.asked) == 1 and len(site.sink.metered) == 1

    asyncio.run(play())


def test_many_streams_some_cut_short_sum_exactly() -> None:
    """What was metered is what the engine wrote, over streams that end, are cut, and are never begun."""

    async def play() -> None:
        async with Upstream(tokens=30, pause_s=0.002) as upstream, running(coder(upstream.url)) as site:
            site.directory.limit("acme-key", Rate(tokens_per_minute=10**9))

            async def one(number: int) -> int:
                seen = 0
                async with site.post(json=BODY) as response:
                    while block := await response.content.readany():
                        seen += block.count(b'"content":"t')
                        if number % 3 == 0 and seen > number % 20:
                            break
                return seen

            seen = await asyncio.gather(*(one(number) for number in range(60)))
            finals = await site.sink.finals(60)
            assert len({each.request for each in finals}) == len(finals) == 60
            metered = sorted(each.completion_tokens for each in finals)
            # a cut stream may have had tokens on the wire that its client no longer read
            assert sum(seen) <= sum(metered) <= upstream.sent
            assert metered.count(30) >= 40
            assert all(each.prompt_tokens == 5 for each in finals)

    asyncio.run(play())


def test_load_is_told_when_it_changes_and_returns_to_nothing() -> None:
    async def play() -> None:
        settings = Settings(load_every_s=0.05)
        async with Upstream() as upstream, running(coder(upstream.url), settings=settings) as site:
            upstream.permits = asyncio.Semaphore(0)
            asks = [asyncio.create_task(stream(site)) for _ in range(3)]
            async with asyncio.timeout(5):
                while (CODER, 3.0, 0) not in site.sink.loads:
                    await asyncio.sleep(0.01)
                told = len(site.sink.loads)
                await asyncio.sleep(0.3)
                assert len(site.sink.loads) == told  # nothing changed, nothing said
                for _ in range(15):
                    upstream.permits.release()
                await asyncio.gather(*asks)
                while site.sink.loads[-1] != (CODER, 0.0, 0):
                    await asyncio.sleep(0.01)

    asyncio.run(play())


def test_traffic_is_counted_by_service_and_never_by_caller() -> None:
    async def play() -> None:
        async with Upstream("vllm") as upstream, running(coder(upstream.url)) as site:
            traffic = site.gateway.traffic
            await stream(site)
            assert (await site.ask())[0] == 200
            assert traffic.requests == {(CODER, 200): 2} and not traffic.broken
            assert traffic.first_token[CODER].count == 1, "only streams have a first token"
            assert traffic.whole[CODER].count == 2 and traffic.whole[CODER].total > 0
            assert (await site.ask(key="nobody"))[0] == 401 and (await site.ask(model="x"))[0] == 404
            assert traffic.requests["", 401] == 1 and traffic.requests["", 404] == 1  # type: ignore[index]
            upstream.breaks_at = 2
            await stream(site)
            assert traffic.broken[CODER] == 1 and traffic.requests[CODER, 200] == 3
            traffic.forget(CODER)
            assert set(traffic.requests) == {("", 401), ("", 404)}
            assert not traffic.whole and not traffic.broken
            assert site.gateway.load() == (0, 0)

    asyncio.run(play())
