"""The gateway as a server: its endpoints, who may call them, and the tasks that follow directory and load."""

import asyncio
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine

import aiohttp
import msgspec
from aiohttp import web

from myriad.gateway.asks import Ask, Endpoint
from myriad.gateway.exchange import Exchange
from myriad.gateway.faults import Refusal
from myriad.gateway.meter import Guess, Meter
from myriad.gateway.pool import Pool
from myriad.gateway.ports import Caller, Directory, ServiceView, Sink
from myriad.gateway.settings import Settings
from myriad.gateway.traffic import Traffic
from myriad.kernel.errors import UserError, near
from myriad.kernel.ids import RequestId, ServiceId, TenantId
from myriad.kernel.units import MILLISECOND, SECOND, Instant, Span, show_span
from myriad.route.admit import Limiter
from myriad.route.policy import Policy

_DEADLINE = "x-myriad-deadline-ms"
_ENDPOINTS = "GET /v1/models, POST /v1/chat/completions, POST /v1/completions, GET /healthz"


class Gateway:
    """One OpenAI-compatible endpoint for every service of the site."""

    def __init__(
        self,
        directory: Directory,
        sink: Sink,
        clock: Callable[[], Instant],
        *,
        policy: Policy | None = None,
        settings: Settings | None = None,
    ) -> None:
        """`clock` gives the instants that metered tokens carry; waits are timed by the machine."""
        self._directory, self._sink, self._clock = directory, sink, clock
        self._policy, self._settings = policy or Policy(), settings or Settings()
        self._limiter = Limiter(self._policy)
        self._deadline_ns = self._policy.ns("queue_deadline")
        self._pools: dict[ServiceId, Pool] = {}
        self._guesses: dict[ServiceId, Guess] = {}
        self.traffic = Traffic()
        self._told: dict[ServiceId, tuple[float, int]] = {}
        self._index: dict[tuple[str, TenantId], dict[str, ServiceView]] = {}
        self._index_version = -1
        self._tasks: set[asyncio.Task[None]] = set()
        self._followers: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession

    # ---- life

    async def start(self, host: str, port: int, listener: socket.socket | None = None) -> str:
        """Listen (port 0: any free one) and return the base URL. Raises UserError when the port is taken.

        `listener`: listens there already.
        """
        app = web.Application(client_max_size=self._settings.body_bytes_max, middlewares=[_as_openai])
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{model:.+}", self._model)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completion)
        # a handler whose client has gone is cancelled, and with it the work upstream
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=self._settings.close_s
        )
        await runner.setup()
        site = web.SockSite(runner, listener) if listener else web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise UserError(
                error.strerror or str(error),
                field="gateway address",
                value=f"{host}:{port}",
                remedy="Give another port, or end what listens there",
            ) from None
        self._runner = runner
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=self._settings.keepalive_s),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._followers = [asyncio.create_task(self._follow()), asyncio.create_task(self._report())]
        return f"http://{host}:{runner.addresses[0][1]}"

    async def close(self) -> None:
        """Let requests in progress end, meter what was streamed, and stop. Idempotent."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        await runner.cleanup()
        for follower in self._followers:
            follower.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)
        await self._session.close()
        await asyncio.gather(*self._tasks)

    def load(self) -> tuple[int, int]:
        """Requests at replicas, and those that wait for a place."""
        pools = self._pools.values()
        return sum(pool.gauge.count for pool in pools), sum(pool.queued for pool in pools)

    async def _follow(self) -> None:
        """Hand every change of the directory to the pools."""
        version = self._directory.version()
        while True:
            version = await self._directory.changed(version)
            for service in list(self._pools):
                view = self._directory.service(service)
                self._pools[service].update(view)
                if view is None:
                    del self._pools[service]
                    self._guesses.pop(service, None)
                    self.traffic.forget(service)

    async def _report(self) -> None:
        """Tell each service's load when it has changed."""
        while True:
            await asyncio.sleep(self._settings.load_every_s)
            for service in list(self._pools):
                self._tell(service)

    def _tell(self, service: ServiceId) -> None:
        pool = self._pools[service]
        load = (round(pool.gauge.mean(time.monotonic_ns()), 1), pool.queued)
        if self._told.get(service, (0.0, 0)) != load:
            self._told[service] = load
            self._sink.load(service, *load)

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- who may call what

    def _caller(self, request: web.Request) -> Caller:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            message = "No API key was given. Send the header `Authorization: Bearer <key>`."
            raise Refusal(401, message, code="missing_api_key")
        caller = self._directory.authenticate(key.strip())
        if caller is None:
            message = "The API key is not known here, or was revoked. Ask the site's operator for a new one."
            raise Refusal(401, message, code="invalid_api_key")
        return caller

    def _services(self, caller: Caller) -> dict[str, ServiceView]:
        """What the caller may use, by `name` and by `tenant/name`; its own come before shared ones."""
        if self._index_version != self._directory.version():
            self._index.clear()
            self._index_version = self._directory.version()
        if (known := self._index.get((caller.role, caller.tenant))) is not None:
            return known
        names: dict[str, ServiceView] = {}
        views = sorted(self._directory.services(caller), key=lambda view: view.tenant != caller.tenant)
        for view in views:
            names.setdefault(view.name, view)
            names[f"{view.tenant}/{view.name}"] = view
        self._index[caller.role, caller.tenant] = names
        return names

    def _service(self, caller: Caller, model: str) -> ServiceView:
        names = self._services(caller)
        if (view := names.get(model)) is None:
            message = f"The model {model!r} does not exist or is not yours to use. "
            message += near(model, [name for name in names if "/" not in name])
            raise Refusal(404, message, code="model_not_found", param="model")
        return view

    def _patience_ns(self, request: web.Request) -> Span:
        asked = request.headers.get(_DEADLINE)
        if asked is None:
            return self._deadline_ns
        if not asked.isascii() or not asked.isdigit():
            message = f"The header {_DEADLINE} must be a whole number of milliseconds (got {asked!r})."
            raise Refusal(400, message, code="invalid_type", param=_DEADLINE)
        return min(int(asked) * MILLISECOND, self._deadline_ns)

    async def _admit(self, caller: Caller, patience_ns: Span) -> None:
        decision = self._limiter.decide(time.monotonic_ns(), caller.tenant, caller.rate, patience_ns)
        if decision.verdict == "refuse":
            rate = caller.rate
            most = rate.tokens_per_minute if decision.limit == "tokens" else rate.requests_per_minute
            message = f"The limit of {most} {decision.limit} a minute is reached. "
            message += f"Try again in {show_span(decision.wait_ns)}."
            raise Refusal(429, message, code="rate_limit_exceeded", retry_ns=decision.wait_ns)
        if decision.wait_ns:
            await asyncio.sleep(decision.wait_ns / SECOND)

    # ---- endpoints

    async def _health(self, _: web.Request) -> web.Response:
        in_flight, queued = self.load()
        return _json({"status": "ok", "in_flight": in_flight, "queued": queued})

    async def _models(self, request: web.Request) -> web.Response:
        names = self._services(self._caller(request))
        data = [
            # a shared service whose name an own one has is called by its long name
            _model(view.name if names[view.name] is view else name, view)
            for name, view in sorted(names.items())
            if "/" in name
        ]
        return _json({"object": "list", "data": data})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["model"]
        return _json(_model(name, self._service(self._caller(request), name)))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, "chat/completions")

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, "completions")

    async def _serve(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        began = time.monotonic()
        try:
            caller, view, ask = await self._understood(request, endpoint)
        except Refusal as refusal:
            self.traffic.refused(refusal.status)
            raise
        status = 499  # the client went away before there was an answer
        try:
            answer = await self._exchanged(request, caller, view, ask)
            status = answer.status
            return answer
        except Refusal as refusal:
            status = refusal.status
            raise
        finally:
            self.traffic.ended(view.id, status, time.monotonic() - began)

    async def _understood(self, request: web.Request, endpoint: Endpoint) -> tuple[Caller, ServiceView, Ask]:
        caller = self._caller(request)
        if caller.role == "viewer":
            message = "This key may look but not call models. Use a key of role tenant or operator."
            raise Refusal(403, message, code="role_viewer")
        ask = Ask(endpoint, await request.read(), self._policy.affinity_chars)
        return caller, self._service(caller, ask.model), ask

    async def _exchanged(
        self, request: web.Request, caller: Caller, view: ServiceView, ask: Ask
    ) -> web.StreamResponse:
        patience_ns = self._patience_ns(request)
        await self._admit(caller, patience_ns)
        name = RequestId(f"req-{secrets.token_hex(8)}")
        exchange = Exchange(
            name=name,
            request=request,
            ask=ask,
            pool=self._pool(view),
            meter=self._meter(name, caller, view),
            guess=self._guesses.setdefault(view.id, Guess()),
            session=self._session,
            settings=self._settings,
            policy=self._policy,
            traffic=self.traffic,
            later=self._later,
        )
        return await exchange.run(patience_ns)

    def _pool(self, view: ServiceView) -> Pool:
        pool = self._pools.get(view.id)
        if pool is None:
            pool = Pool(view, self._policy, self._sink.replica_failed, lambda: self._tell(view.id))
            self._pools[view.id] = pool  # from now on `_follow` keeps it up to date
        return pool

    def _meter(self, name: RequestId, caller: Caller, view: ServiceView) -> Meter:
        def charge(tokens: int) -> None:
            self._limiter.charge(time.monotonic_ns(), caller.tenant, caller.rate, tokens)

        # an operator without a tenant tries a service out at its owner's expense
        tenant = caller.tenant or view.tenant
        every_s = self._settings.meter_every_s
        return Meter(
            request=name,
            tenant=tenant,
            service=view.id,
            sink=self._sink,
            clock=self._clock,
            charge=charge,
            every_s=every_s,
        )


def _json(tree: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(tree), content_type="application/json")


def _model(name: str, view: ServiceView) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": view.tenant}


@web.middleware
async def _as_openai(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Every refusal, ours or the HTTP server's own, in OpenAI's form."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return refusal.response()
    except web.HTTPRequestEntityTooLarge:
        most = request.client_max_size
        message = f"The request is larger than the {most} bytes allowed. Send a shorter prompt."
        return Refusal(413, message, code="request_too_large").response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        message = f"{request.method} {request.path}: {error.reason}. There are: {_ENDPOINTS}."
        return Refusal(error.status, message, code="unknown_endpoint").response()
