"""Inference services: serve, look, remove, logs."""

import msgspec
from aiohttp import web

from myriad.control import views
from myriad.control.records import Service
from myriad.kernel.errors import UserError, near
from myriad.protocol.inputs import ApplyService, RemoveService
from myriad.server import logs, models
from myriad.server.routes.jobs import check_tenant
from myriad.server.routing import TEXT, Ask, Done, Route
from myriad.workload import files
from myriad.workload.services import InferenceService


class Application(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service file's content."""

    spec: InferenceService


async def listed(ask: Ask) -> list[views.ServiceView]:
    """Services; a tenant sees its own, and of shared ones what they are called."""
    found = views.services(ask.plane.state, ask.caller.scope)
    return [_public(view) if ask.caller.scope not in (None, view.tenant) else view for view in found]


def _public(view: views.ServiceView) -> views.ServiceView:
    return msgspec.structs.replace(view, model_path="", replicas=(), why="")


async def apply(ask: Ask) -> views.ServiceView:
    """Create a service, or change the one of that name."""
    plane = ask.plane
    tree = (await ask.tree()).get("spec")
    if not isinstance(tree, dict):
        raise UserError("is required", field="spec", remedy='Send {"spec": {...}}, a service file as JSON')
    spec = files.from_tree({"kind": "service", **tree}, "spec")
    if not isinstance(spec, InferenceService):
        raise UserError(
            "is not a service", field="spec: kind", value=tree["kind"], remedy="Use kind: service"
        )
    check_tenant(ask.caller, spec.tenant)
    path = models.resolve(plane.state, plane.home, spec)
    known = [service for service in _live(ask, spec.name) if service.spec.tenant == spec.tenant]
    service = known[0].service if known else plane.names.service(spec.name)
    await plane.ask(ApplyService(at=0, service=service, spec=spec, model_path=path), ask.caller)
    return views.service_view(plane.state, plane.state.services[service])


async def remove(ask: Ask) -> Done:
    """Stop its replicas and forget it."""
    service = _find(ask)
    await ask.plane.ask(RemoveService(at=0, service=service.service), ask.caller)
    return Done()


async def logged(ask: Ask) -> web.StreamResponse:
    """The output of the newest replica."""
    return await logs.stream(
        ask,
        logs.OfService(ask.plane, _find(ask)),
        rank=0,
        tail=ask.number("tail", 100, 1_000_000),
        follow=ask.flag("follow"),
    )


def _live(ask: Ask, name: str) -> list[Service]:
    """Services of that name or id that the caller owns."""
    return [
        service
        for service in ask.plane.state.services.values()
        if name in (service.spec.name, service.service)
        and not service.removed
        and ask.caller.scope in (None, service.spec.tenant)
    ]


def _find(ask: Ask) -> Service:
    name, state = ask.part("name"), ask.plane.state
    found = _live(ask, name)
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(service.service for service in found)
        raise UserError(
            "is served by several tenants",
            field="service",
            value=name,
            remedy=f"Use an id: {ids}",
            status=409,
        )
    mine = [one.spec.name for one in state.services.values() if ask.caller.scope in (None, one.spec.tenant)]
    raise UserError(
        "there is no such service", field="service", value=name, remedy=near(name, mine), status=404
    )


ROUTES = (
    Route("GET", "/api/v1/services", listed, "all", "Services", list[views.ServiceView]),
    Route(
        "POST", "/api/v1/services", apply, "members", "Create or change a service", views.ServiceView,
        Application, status=201,
    ),
    Route("DELETE", "/api/v1/services/{name}", remove, "members", "Remove a service", Done),
    Route(
        "GET", "/api/v1/services/{name}/logs", logged, "all", "The output of its newest replica", TEXT,
        query={"tail": "lines to begin with; 100 by default", "follow": "1: go on until it is removed"},
    ),
)  # fmt: skip
