"""A replica's process is killed with SIGKILL under load of the real `openai` client."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import openai

from myriad.route.policy import Policy
from tests.gateway.site import Site, coder, running

TOKENS = 40
#: Requests that a replica has at once.
PLACES = 6


@asynccontextmanager
async def process(pause_s: float) -> AsyncIterator[tuple[Process, str]]:
    """An upstream of its own, and its address."""
    command = ("-m", "tests.gateway.upstream", "--tokens", str(TOKENS), "--pause", str(pause_s))
    child = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE)
    try:
        assert child.stdout is not None
        yield child, (await child.stdout.readline()).decode().strip()
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


class Load:
    """Clients that stream one request after another, and what became of each."""

    def __init__(self, site: Site) -> None:
        self._client = openai.AsyncOpenAI(base_url=site.url + "/v1", api_key="acme-key", max_retries=0)
        self.whole: list[int] = []
        self.broken: list[int] = []
        self.untouched_failures: list[openai.APIError] = []
        self.stop = False
        self.streaming = 0

    async def __aenter__(self) -> "Load":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    @property
    def under_way(self) -> int:
        """Streams that have begun to bring something, and have not ended."""
        return self.streaming - len(self.whole) - len(self.broken)

    async def client(self, number: int) -> None:
        while not self.stop:
            await self._one(f"client {number}, request {len(self.whole)}")

    async def _one(self, prompt: str) -> None:
        pieces = 0
        try:
            answer = await self._client.chat.completions.create(
                model="coder", messages=[{"role": "user", "content": prompt}], stream=True
            )
            async for chunk in answer:
                if chunk.choices and chunk.choices[0].delta.content:
                    pieces += 1
                    self.streaming += pieces == 1
            self.whole.append(pieces)
        except openai.APIError as error:
            if pieces:
                self.broken.append(pieces)
            else:
                self.untouched_failures.append(error)


def test_no_request_that_had_not_streamed_a_byte_fails() -> None:
    async def play() -> None:
        policy = Policy(overcommit=1.0)  # so that some requests wait here when the replica dies
        async with process(0.01) as (victim, first), process(0.01) as (_, second):
            view = coder(first, second, concurrency=PLACES)
            async with running(view, policy=policy) as site, Load(site) as load:
                clients = [asyncio.create_task(load.client(number)) for number in range(16)]
                async with asyncio.timeout(90):
                    while len(load.whole) < 20:
                        await asyncio.sleep(0.02)
                    # all streams are in step: without this the victim may be between two at the kill
                    os.kill(victim.pid, signal.SIGUSR1)
                    held = len(load.whole) + 2 * PLACES
                    while len(load.whole) < held or load.under_way <= PLACES:
                        await asyncio.sleep(0.02)
                    os.kill(victim.pid, signal.SIGKILL)
                    await victim.wait()
                    after = len(load.whole)
                    while len(load.whole) < after + 40:
                        await asyncio.sleep(0.02)
                    load.stop = True
                    await asyncio.gather(*clients)
                assert not load.untouched_failures
                assert set(load.whole) == {TOKENS}
                # what was on the dead replica's wire is told to be broken, no more than it had places
                assert 1 <= len(load.broken) <= PLACES
                assert [attempt for attempt, _ in site.sink.failed][:1] == ["coder-1.1"]
                finals = await site.sink.finals(len(load.whole) + len(load.broken))
                assert len(finals) == len({each.request for each in finals})
                assert sum(each.completion_tokens for each in finals) == sum(load.whole + load.broken)

    asyncio.run(play())
