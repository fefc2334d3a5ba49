"""A standby: follows the journal of a leader, says who that is, and takes its seat when it falls silent.

While it waits it holds its ports and answers there: health and metrics say `standby`, all else is told
the leader's address. The sockets stay open when it takes over: nobody who connects meanwhile is turned away.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib import metadata
from typing import Any, Final, Literal

import msgspec
from aiohttp import web

from myriad.kernel.errors import UserError
from myriad.server import problems
from myriad.server.plane import Plane
from myriad.server.routes import metrics
from myriad.server.routes.site import Health
from myriad.store.postgres.connection import Trouble
from myriad.store.postgres.seat import Leader, Seat

_POLL_S: Final = 0.2

#: Why it waits no more: it leads, it was asked to stop, or the leader has closed the site.
End = Literal["leads", "stopped", "closed"]


class Standby:
    """Over a plane that only folds."""

    def __init__(self, plane: Plane, seat: Seat, say: Callable[[str], None]) -> None:
        self._plane, self._seat, self._say = plane, seat, say
        self._leader = Leader(0, "", "", "", 0)
        self._trouble = ""

    async def wait(self, listeners: Sequence[socket.socket], asked: asyncio.Future[Any]) -> End:
        """Serve and follow until one of the ends; when it leads, all is folded. Raises UserError."""
        async with AsyncExitStack() as stack:
            runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            for listener in listeners:
                # the site closes its socket, which must go on listening
                await web.SockSite(runner, listener.dup()).start()
            return await self._follow(asked)

    async def _follow(self, asked: asyncio.Future[Any]) -> End:
        followed = False
        while not asked.done():
            try:
                await self._plane.fold()
                taken = await asyncio.to_thread(self._seat.try_take)
                self._leader = self._seat.seen
                if taken:
                    return await self._taken(followed)
                followed = followed or bool(self._leader.holder)
                self._trouble = ""
            except Trouble as error:
                self._tell(error)
            await asyncio.wait([asked], timeout=_POLL_S)
        return "stopped"

    async def _taken(self, followed: bool) -> End:
        begun = time.monotonic()
        entries = await self._plane.fold()
        if followed and self._seat.was_free and not self._plane.state.open:
            return "closed"
        before = f" from {self._leader}" if self._leader.holder else ""
        self._say(
            f"takes over{before}: term {self._seat.term}, the last {entries} entries folded in "
            f"{time.monotonic() - begun:.2f} s"
        )
        return "leads"

    def _tell(self, error: Trouble) -> None:
        """Once for each kind of trouble."""
        if error.problem != self._trouble:
            self._trouble = error.problem
            self._say(f"waits: {error}")

    # ---- what it answers -------------------------------------------------------------------------

    def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/healthz", self._health)
        app.router.add_get(metrics.PATH, self._metrics)
        app.router.add_route("*", "/{path:.*}", self._refuse)
        return app

    async def _metrics(self, _: web.Request) -> web.Response:
        return metrics.standing_by(self._plane, self._plane.folded)

    async def _health(self, _: web.Request) -> web.Response:
        health = Health(
            ok=True,
            version=metadata.version("myriad"),
            site=self._plane.setup.site.name,
            journal_seq=self._plane.folded,
            role="standby",
            term=self._leader.term,
            leader_url=self._leader.api_url,
            leader=self._leader.holder,
        )
        return web.Response(body=msgspec.json.encode(health), content_type="application/json")

    async def _refuse(self, _: web.Request) -> web.Response:
        known = self._leader.api_url
        return problems.response(
            UserError(
                "is another control plane: this one is a standby",
                field="leader",
                value=known or None,
                remedy=f"Ask {known}" if known else "Try again: a leader is being found",
                status=503,
            )
        )
