"""What the gateway adds to a stream, and how many streams it carries, against the upstream asked directly.

Three processes on loopback: this one makes the load, one is the upstream (32 chunks in one burst, which
is harder on a proxy than the pace of a model), one is the gateway on one core with one event loop. Rounds
of both alternate, so that a busy machine disturbs both alike. The load generator and the upstream share
the machine with the gateway, so streams per second are a floor; processor time per stream is the gateway's
own and steadier. The sink keeps meters in memory: durability costs what the journal's benchmark says.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web

from bench import report
from myriad.gateway.app import Gateway
from myriad.gateway.ports import Caller, ReplicaView, ServiceView
from myriad.kernel.ids import AttemptId, ServiceId, TenantId
from myriad.protocol.inputs import TokensMetered
from myriad.workload.tenants import Rate

CHUNKS = 32
MODEL = "coder"
ASK = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "def fibonacci(n):"}]}
KEY = "benchmark"


# ---- the other two processes


def _burst() -> bytes:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "/models/coder"}
    choices = [{"index": 0, "delta": {"content": " token"}, "finish_reason": None}]
    last = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 6, "completion_tokens": CHUNKS, "total_tokens": CHUNKS + 6}
    trees = [{**base, "choices": choices}] * CHUNKS
    trees += [{**base, "choices": last}, {**base, "choices": [], "usage": usage}]
    return b"".join(b"data: " + json.dumps(tree).encode() + b"\n\n" for tree in trees) + b"data: [DONE]\n\n"


async def _upstream() -> None:
    events = [event + b"\n\n" for event in _burst().split(b"\n\n")[:-1]]

    async def chat(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(event)
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await _until_closed(f"http://127.0.0.1:{runner.addresses[0][1]}")


class _Directory:
    """One caller, one service, one replica."""

    def __init__(self, upstream: str) -> None:
        replica = ReplicaView(attempt=AttemptId("coder.1"), url=upstream, upstream_model="/models/coder")
        tenant = TenantId("acme")
        self._view = ServiceView(
            id=ServiceId("coder"), name=MODEL, tenant=tenant, concurrency=1000, replicas=(replica,)
        )
        rate = Rate(requests_per_minute=10**9, tokens_per_minute=10**12)
        self._caller = Caller(role="tenant", tenant=tenant, rate=rate)

    def authenticate(self, bearer: str) -> Caller | None:
        return self._caller if bearer == KEY else None

    def services(self, _: Caller) -> Sequence[ServiceView]:
        return [self._view]

    def service(self, _: ServiceId) -> ServiceView:
        return self._view

    def version(self) -> int:
        return 1

    async def changed(self, after: int) -> int:
        await asyncio.Event().wait()
        return after


class _Sink:
    """Counts tokens, so that the benchmark can tell that all were metered."""

    def __init__(self) -> None:
        self.tokens = 0

    async def meter(self, metered: TokensMetered) -> None:
        self.tokens += metered.completion_tokens * metered.final

    def load(self, service: ServiceId, in_flight: float, queued: int) -> None: ...

    def replica_failed(self, attempt: AttemptId, detail: str) -> None: ...


async def _gateway(upstream: str) -> None:
    sink = _Sink()
    gateway = Gateway(_Directory(upstream), sink, time.time_ns)
    await _until_closed(await gateway.start("127.0.0.1", 0))
    await gateway.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    told = {"tokens": sink.tokens, "rss_mib": used.ru_maxrss / 1024}
    print(json.dumps(told), flush=True)


async def _until_closed(url: str) -> None:
    """Say where we are, and stay until the parent closes our input."""
    print(url, flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await reader.read()


# ---- the load


class Process:
    """One of the two, its address, and the processor time it has used."""

    def __init__(self, child: asyncio.subprocess.Process, url: str) -> None:
        self._child, self.url = child, url
        self.said = b""

    def cpu_s(self) -> float:
        """User and system time so far, from the kernel."""
        fields = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def end(self) -> None:
        self.said, _ = await self._child.communicate(b"")  # closes its input


@asynccontextmanager
async def _process(*arguments: str) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.gateway", *arguments, stdin=PIPE, stdout=PIPE
    )
    assert child.stdout is not None
    process = Process(child, (await child.stdout.readline()).decode().strip())
    try:
        yield process
    finally:
        await process.end()


async def _stream(session: aiohttp.ClientSession, url: str) -> float:
    """Seconds of one whole stream."""
    begun = time.perf_counter()
    headers = {"Authorization": f"Bearer {KEY}"}
    async with session.post(url + "/v1/chat/completions", json=ASK, headers=headers) as response:
        body = await response.read()
    taken = time.perf_counter() - begun
    if body.count(b'" token"') != CHUNKS or not body.endswith(b"data: [DONE]\n\n"):
        raise SystemExit(f"a stream was not whole: {body[-300:]!r}")
    return taken


async def _load(session: aiohttp.ClientSession, url: str, clients: int, seconds: float) -> list[float]:
    """The seconds of each stream of so many clients, each asking again and again."""
    end = time.perf_counter() + seconds

    async def client() -> list[float]:
        taken = []
        while time.perf_counter() < end:
            taken.append(await _stream(session, url))
        return taken

    return [each for many in await asyncio.gather(*(client() for _ in range(clients))) for each in many]


def _at(values: list[float], percent: int) -> float:
    """A percentile in milliseconds."""
    return statistics.quantiles(values, n=100)[percent - 1] * 1000


async def _measure(rounds: int, seconds: float) -> None:
    async with (
        _process("--role", "upstream") as upstream,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        async with _process("--role", "gateway", "--upstream", upstream.url) as gateway:
            single: dict[str, list[float]] = {upstream.url: [], gateway.url: []}
            rates: dict[str, list[float]] = {upstream.url: [], gateway.url: []}
            tails: list[float] = []
            cpu_s = streams = through = 0.0
            for url in single:
                through += len(await _load(session, url, 4, 0.3)) * (url == gateway.url)  # warm up
            for number in range(rounds):
                for url in single:
                    taken = await _load(session, url, 1, seconds)
                    single[url] += taken
                    begun, used = time.perf_counter(), gateway.cpu_s()
                    many = await _load(session, url, 32, seconds)
                    rates[url].append(len(many) / (time.perf_counter() - begun))
                    if url == gateway.url:
                        cpu_s, streams = cpu_s + gateway.cpu_s() - used, streams + len(many)
                        through += len(taken) + len(many)
                        tails += many
                print(f"round {number + 1}: {[round(each[-1]) for each in rates.values()]} streams/s")
        told = json.loads(gateway.said)
    ours, direct = single[gateway.url], single[upstream.url]
    if told["tokens"] != through * CHUNKS:
        raise SystemExit(f"{through * CHUNKS:.0f} tokens were streamed, {told['tokens']} were metered")
    report.finish(
        "gateway_stream_p50_c1",
        _at(ours, 50),
        "ms a stream of 32 chunks, one client",
        "the upstream asked directly",
        _at(direct, 50),
        better="lower",
        added_p50_ms=round(_at(ours, 50) - _at(direct, 50), 3),
        added_p99_ms=round(_at(ours, 99) - _at(direct, 99), 3),
        streams_per_s_c32=report.spread(rates[gateway.url]),
        direct_streams_per_s_c32=report.spread(rates[upstream.url]),
        p99_ms_c32=round(_at(tails, 99), 2),
        cpu_us_per_stream_c32=round(cpu_s / streams * 1e6),
        rss_mib=round(told["rss_mib"], 1),
        tokens_metered=told["tokens"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=["measure", "upstream", "gateway"], default="measure")
    parser.add_argument("--upstream", default="", help="where the gateway's upstream listens")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load in each round")
    given = parser.parse_args()
    roles = {
        "measure": lambda: _measure(given.rounds, given.seconds),
        "upstream": _upstream,
        "gateway": lambda: _gateway(given.upstream),
    }
    uvloop.run(roles[given.role]())


if __name__ == "__main__":
    main()
