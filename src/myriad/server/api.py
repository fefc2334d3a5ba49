"""The REST API as an aiohttp application: one middleware for identity, durability of reads, and errors."""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from myriad.kernel.errors import UserError
from myriad.server import identity, log, openapi, problems
from myriad.server.identity import Caller
from myriad.server.plane import Plane
from myriad.server.routes import (
    events,
    jobs,
    journal,
    ledger,
    metrics,
    nodes,
    policy,
    report,
    services,
    site,
    tenants,
    windows,
)
from myriad.server.routing import ROLES, Ask, Created, Route

_BODY_BYTES_MAX = 4 * 2**20

ROUTES: tuple[Route, ...] = (
    *site.ROUTES,
    *policy.ROUTES,
    *nodes.ROUTES,
    *jobs.ROUTES,
    *services.ROUTES,
    *tenants.ROUTES,
    *windows.ROUTES,
    *ledger.ROUTES,
    *journal.ROUTES,
    *report.ROUTES,
    *events.ROUTES,
    *metrics.ROUTES,
)

_NOUNS = sorted({"/".join(route.path.split("/")[:4]) for route in ROUTES})

_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(plane: Plane, *, metrics_open: bool) -> web.Application:
    """The application over a plane. `metrics_open`: who scrapes metrics needs no key (loopback)."""
    app = web.Application(client_max_size=_BODY_BYTES_MAX, middlewares=[_errors])
    for route in ROUTES:
        is_open = metrics_open and route.path == metrics.PATH
        shown = route._replace(access="open") if is_open else route
        app.router.add_route(route.method, route.path, _handler(plane, shown))
    document = msgspec.json.encode(openapi.document(ROUTES))

    async def described(_: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    app.router.add_get("/api/v1/openapi.json", described)
    return app


def _handler(plane: Plane, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = None if route.access == "open" else _caller(plane, route, request)
        if request.method == "GET":
            # what anyone reads is on disk: it cannot be taken back by a crash
            await plane.wheel.settled()
        answer = await route.handler(Ask(plane, request, caller))
        if isinstance(answer, web.StreamResponse):
            return answer
        status, value = answer if isinstance(answer, Created) else (route.status, answer)
        return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")

    return handle


def _caller(plane: Plane, route: Route, request: web.Request) -> Caller:
    caller = plane.keys.find(identity.bearer(request.headers.get("Authorization", "")))
    if caller is None:
        raise identity.unknown_key()
    if caller.role not in ROLES[route.access]:
        raise UserError(
            f"is not for keys of role {caller.role}",
            field=f"{request.method} {request.path}",
            remedy=f"Use a key of role {' or '.join(ROLES[route.access])}",
            status=403,
        )
    return caller


@web.middleware
async def _errors(request: web.Request, handler: _Next) -> web.StreamResponse:
    """Every error in one form, ours or the HTTP library's."""
    try:
        return await handler(request)
    except UserError as error:
        failed = error
    except web.HTTPException as error:
        if error.status < 400:
            raise
        failed = problems.of_http(error, request, _NOUNS)
    if failed.status >= 500:
        told = f"{request.method} {request.path} was answered {failed.status}: {failed}"
        log.often("error", "request-failed", told, status=failed.status, method=request.method)
    return problems.response(failed)
