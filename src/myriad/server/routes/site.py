"""The site as a whole: health, one look, closing."""

from importlib import metadata
from typing import Literal

import msgspec

from myriad.control import views
from myriad.kernel.units import SECOND
from myriad.protocol.inputs import CloseSite
from myriad.server.routing import Ask, Route

_GRACE_S, _GRACE_S_MAX = 60.0, 24 * 3600.0
#: Beyond what gangs are given to leave: for the last words to arrive.
_MARGIN_S = 5.0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """It is up. Where several control planes share a journal, one leads, and the others name it."""

    ok: bool
    version: str
    site: str
    journal_seq: int
    role: Literal["leader", "standby"] = "leader"
    #: Goes up whenever another one takes over; 0 where there is but one.
    term: int = 0
    #: The leader's address, and who it is; empty: it is this one, or nobody knows.
    leader_url: str = ""
    leader: str = ""


class Site(views.SiteView, frozen=True, kw_only=True):
    """The site in one look, and where it listens."""

    api_url: str
    gateway_url: str
    started_at: int


class Close(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long training may take to checkpoint."""

    grace_s: float = _GRACE_S

    def __post_init__(self) -> None:
        if not 0 <= self.grace_s <= _GRACE_S_MAX:
            raise ValueError(f"grace_s must be 0 to {_GRACE_S_MAX:.0f} seconds")


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """The site is closed; gangs that would not stop in time are killed with their nodes."""

    gangs_left: tuple[str, ...]


async def health(ask: Ask) -> Health:
    """Whether the control plane is up and its journal can be written."""
    plane = ask.plane
    return Health(
        ok=True,
        version=metadata.version("myriad"),
        site=plane.setup.site.name,
        journal_seq=plane.wheel.seq,
        term=plane.term,
    )


async def look(ask: Ask) -> Site:
    """The site; a tenant sees its shape, and of the work only its own."""
    plane = ask.plane
    view = views.site(plane.state)
    if (tenant := ask.caller.scope) is not None:
        state = plane.state
        mine = [gang for gang in state.gangs.values() if gang.tenant == tenant]
        view = msgspec.structs.replace(
            view,
            nodes_by_state={},
            chips_free=0,
            idle_reason="",
            jobs_waiting=sum(state.jobs[job].spec.tenant == tenant for job in state.waiting),
            jobs_running=sum(bool(gang.job) for gang in mine),
            gangs_live=len(mine),
        )
    fields = msgspec.structs.asdict(view)
    return Site(**fields, api_url=plane.api_url, gateway_url=plane.gateway_url, started_at=plane.started_at)


async def close(ask: Ask) -> Closed:
    """Let everything checkpoint and leave, then end the nodes and this server."""
    plane = ask.plane
    given = await ask.body(Close)
    await plane.ask(CloseSite(at=0, grace_ns=int(given.grace_s * SECOND)), ask.caller)
    recover = plane.setup.policy.recover
    patience_s = given.grace_s + recover.ns("stop_timeout") / SECOND + _MARGIN_S
    await plane.changes.until(lambda: not plane.state.gangs, patience_s)
    plane.closed.set()
    return Closed(gangs_left=tuple(plane.state.gangs))


ROUTES = (
    Route("GET", "/healthz", health, "open", "Whether the control plane is up", Health),
    Route("GET", "/api/v1/site", look, "all", "The site in one look", Site),
    Route(
        "POST", "/api/v1/site/close", close, "operator", "Close the site and end the server", Closed, Close
    ),
)
