"""Facts as they happen, as server-sent events."""

from aiohttp import web

from myriad.server.routing import EVENTS, Ask, Route


async def stream(ask: Ask) -> web.StreamResponse:
    """Facts from now on. One that cannot keep up is dropped, and told so."""
    events = ask.plane.events
    subscriber = events.join()
    response = web.StreamResponse(headers={"Content-Type": EVENTS, "Cache-Control": "no-store"})
    try:
        await response.prepare(ask.request)
        await response.write(b": facts from now on\n\n")
        async for piece in subscriber.read():
            await response.write(piece)
        await response.write_eof()
    except ConnectionError:
        pass  # the client has gone, as clients of a stream do
    finally:
        events.leave(subscriber)
    return response


ROUTES = (Route("GET", "/api/v1/events", stream, "site", "Facts as they happen", EVENTS),)
