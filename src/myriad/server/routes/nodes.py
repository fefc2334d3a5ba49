"""Nodes: list, drain, give back."""

import msgspec

from myriad.control import views
from myriad.kernel.ids import NodeId
from myriad.protocol.inputs import DrainNode, UndrainNode
from myriad.server.routing import Ask, Route


class Drain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the node should be empty."""

    reason: str = ""


async def listed(ask: Ask) -> list[views.NodeView]:
    """Every node of the site."""
    return views.nodes(ask.plane.state)


async def drain(ask: Ask) -> views.NodeView:
    """What runs there checkpoints, then moves."""
    node = NodeId(ask.part("node"))
    reason = (await ask.body(Drain)).reason
    await ask.plane.ask(DrainNode(at=0, node=node, by=ask.caller.role, reason=reason), ask.caller)
    return _view(ask, node)


async def undrain(ask: Ask) -> views.NodeView:
    """Back into service, after burn-in."""
    node = NodeId(ask.part("node"))
    await ask.plane.ask(UndrainNode(at=0, node=node), ask.caller)
    return _view(ask, node)


def _view(ask: Ask, node: NodeId) -> views.NodeView:
    return next(view for view in views.nodes(ask.plane.state) if view.node == node)


async def incidents(ask: Ask) -> list[views.IncidentView]:
    """Incidents that are open, newest first, then the last that are over."""
    return views.incidents(ask.plane.state)


ROUTES = (
    Route("GET", "/api/v1/nodes", listed, "site", "Every node", list[views.NodeView]),
    Route(
        "POST", "/api/v1/nodes/{node}/drain", drain, "operator", "Empty a node and keep it out of service",
        views.NodeView, Drain,
    ),
    Route(
        "POST", "/api/v1/nodes/{node}/undrain", undrain, "operator", "Give a node back to service",
        views.NodeView,
    ),
    Route(
        "GET", "/api/v1/incidents", incidents, "site", "Events that took many nodes at once",
        list[views.IncidentView],
    ),
)  # fmt: skip
