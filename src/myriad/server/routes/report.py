"""The site's report: one page that stands alone, made from the journal when asked."""

from aiohttp import web

from myriad.ledger.ledger import Ledger
from myriad.protocol import wire
from myriad.server.plane import Plane
from myriad.server.routing import HTML, Ask, Route
from myriad.studies import report
from myriad.studies.story import Story


async def page(ask: Ask) -> web.Response:
    """Where time went, promises, invoices, with plots."""
    plane = ask.plane
    text = await plane.reading(lambda: _rendered(plane, plane.wheel.seq))
    return web.Response(text=text, content_type=HTML)


def _rendered(plane: Plane, last: int) -> str:
    """Folds of its own, off the event loop: the live books go on meanwhile."""
    ledger, story = Ledger(), Story()
    for record in plane.journal.read():
        if record.seq > last:
            break
        for fact in wire.decode(record.body).facts:
            ledger.fold(fact)
            story.fold(fact)
    return report.render(ledger, story, f"Myriad: {plane.setup.site.name}")


ROUTES = (Route("GET", "/api/v1/report.html", page, "site", "The site's report as a page", HTML),)
