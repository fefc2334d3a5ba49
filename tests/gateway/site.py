"""A gateway on loopback with a directory and a sink that a test can change and read."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from myriad.gateway.app import Gateway
from myriad.gateway.ports import Caller, ReplicaView, ServiceView
from myriad.gateway.settings import Settings
from myriad.kernel.ids import AttemptId, ServiceId, TenantId
from myriad.protocol.inputs import TokensMetered
from myriad.route.policy import Policy
from myriad.workload.tenants import Rate

ACME, ZETA = TenantId("acme"), TenantId("zeta")
CODER = ServiceId("coder-1")


def replica(number: int, url: str, model: str = "/m/tiny") -> ReplicaView:
    return ReplicaView(attempt=AttemptId(f"{CODER}.{number}"), url=url, upstream_model=model)


def coder(*urls: str, engine: str = "vllm", concurrency: int = 64, note: str = "") -> ServiceView:
    replicas = tuple(replica(number, url) for number, url in enumerate(urls, 1))
    return ServiceView(
        id=CODER,
        name="coder",
        tenant=ACME,
        engine=engine,
        concurrency=concurrency,
        replicas=replicas,
        note=note,
    )


class Directory:
    """Keys, services, and a version that grows when `put` changes them."""

    def __init__(self, *views: ServiceView) -> None:
        self.callers = {
            "acme-key": Caller(role="tenant", tenant=ACME),
            "zeta-key": Caller(role="tenant", tenant=ZETA),
            "op-key": Caller(role="operator"),
            "view-key": Caller(role="viewer"),
        }
        self.views = {view.id: view for view in views}
        self.shared: set[ServiceId] = set()
        self._version = 1
        self._news = asyncio.Event()

    def authenticate(self, bearer: str) -> Caller | None:
        return self.callers.get(bearer)

    def services(self, caller: Caller) -> Sequence[ServiceView]:
        everything = caller.role != "tenant"
        return [
            view
            for view in self.views.values()
            if everything or view.tenant == caller.tenant or view.id in self.shared
        ]

    def service(self, service: ServiceId) -> ServiceView | None:
        return self.views.get(service)

    def version(self) -> int:
        return self._version

    async def changed(self, after: int) -> int:
        while self._version <= after:
            await self._news.wait()
        return self._version

    def put(self, view: ServiceView) -> None:
        self.views[view.id] = view
        self._tell()

    def remove(self, service: ServiceId) -> None:
        del self.views[service]
        self._tell()

    def limit(self, key: str, rate: Rate) -> None:
        caller = self.callers[key]
        self.callers[key] = Caller(role=caller.role, tenant=caller.tenant, rate=rate)

    def _tell(self) -> None:
        self._version += 1
        news, self._news = self._news, asyncio.Event()
        news.set()


class Sink:
    """Keeps everything; `durable` may be cleared to hold back the durability of meters."""

    def __init__(self) -> None:
        self.metered: list[TokensMetered] = []
        self.loads: list[tuple[str, float, int]] = []
        self.failed: list[tuple[str, str]] = []
        self.durable = asyncio.Event()
        self.durable.set()
        self.news = asyncio.Condition()

    async def meter(self, metered: TokensMetered) -> None:
        await self.durable.wait()
        self.metered.append(metered)
        async with self.news:
            self.news.notify_all()

    def load(self, service: ServiceId, in_flight: float, queued: int) -> None:
        self.loads.append((service, in_flight, queued))

    def replica_failed(self, attempt: AttemptId, detail: str) -> None:
        self.failed.append((attempt, detail))

    async def finals(self, count: int) -> list[TokensMetered]:
        """Wait until so many requests have had their last word, and give these."""
        async with self.news:
            await self.news.wait_for(lambda: sum(each.final for each in self.metered) >= count)
        return [each for each in self.metered if each.final]


class Site:
    """A running gateway with a client."""

    def __init__(self, url: str, gateway: Gateway, directory: Directory, sink: Sink) -> None:
        self.url, self.gateway, self.directory, self.sink = url, gateway, directory, sink
        self.client: aiohttp.ClientSession

    def post(self, path: str = "/v1/chat/completions", key: str = "acme-key", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}", **more.pop("headers", {})}
        return self.client.post(self.url + path, headers=headers, **more)

    async def ask(self, *, key: str = "acme-key", headers: dict[str, str] | None = None, **body: Any) -> Any:
        """(status, tree, headers) of a chat request that is not streamed."""
        tree = {"model": "coder", "messages": [{"role": "user", "content": "hello"}], **body}
        async with self.post(json=tree, key=key, headers=headers or {}) as response:
            return response.status, await response.json(), response.headers


@asynccontextmanager
async def running(
    *views: ServiceView, policy: Policy | None = None, settings: Settings | None = None
) -> AsyncIterator[Site]:
    directory, sink = Directory(*views), Sink()
    gateway = Gateway(directory, sink, time.time_ns, policy=policy, settings=settings)
    url = await gateway.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as client:
            site = Site(url, gateway, directory, sink)
            site.client = client
            yield site
    finally:
        await gateway.close()
