"""Reservations and maintenance: nodes kept for a tenant, or free of work, between two instants."""

from myriad.control import holdings
from myriad.kernel.errors import UserError, near
from myriad.protocol.inputs import EndWindow, SetWindow
from myriad.server import keeping
from myriad.server.keeping import Keep
from myriad.server.routing import Ask, Done, Route


async def listed(ask: Ask) -> list[holdings.WindowView]:
    """Windows by their start; a tenant sees maintenance, and reservations that its jobs may name."""
    return holdings.windows(ask.plane.state, ask.plane.wheel.now(), ask.caller.scope)


async def keep(ask: Ask) -> holdings.WindowView:
    """Keep nodes; the same name again changes the window."""
    plane = ask.plane
    found = keeping.window(plane.state, await ask.body(Keep), plane.wheel.now())
    await plane.ask(SetWindow(at=0, window=found, by=ask.caller.role), ask.caller)
    return holdings.window(plane.state, plane.state.windows[found.name], plane.wheel.now())


async def end(ask: Ask) -> Done:
    """Give the nodes back now, or forget a window that has not begun."""
    name, known = ask.part("window"), ask.plane.state.windows
    if name not in known:
        raise UserError(
            "there is no such window", field="window", value=name, remedy=near(name, known), status=404
        )
    await ask.plane.ask(EndWindow(at=0, name=name), ask.caller)
    return Done()


ROUTES = (
    Route("GET", "/api/v1/windows", listed, "all", "Reservations and maintenance", list[holdings.WindowView]),
    Route(
        "POST", "/api/v1/windows", keep, "operator", "Reserve nodes, or keep them for maintenance",
        holdings.WindowView, Keep,
    ),
    Route("DELETE", "/api/v1/windows/{window}", end, "operator", "End a window", Done),
)  # fmt: skip
