"""The journal: read it, and prove that it folds to what is live."""

from itertools import islice

import msgspec

from myriad.control.apply import fold
from myriad.protocol import wire
from myriad.protocol.facts import AnyFact
from myriad.server.plane import Plane
from myriad.server.routing import Ask, Route

_LIMIT, _LIMIT_MAX = 1000, 10_000


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One entry."""

    seq: int
    cause: str
    facts: tuple[AnyFact, ...]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Entries after a number, and the number of the last there is."""

    entries: list[Line]
    last: int


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk over the journal found, and whether it folds to the live state."""

    records: int
    digest: str
    problem: str
    state_digest_live: str
    state_digest_folded: str
    equal: bool


async def read(ask: Ask) -> Page:
    """Entries in their order."""
    plane = ask.plane
    after, limit = ask.number("after", 0), ask.number("limit", _LIMIT, _LIMIT_MAX)
    last = plane.wheel.seq
    return Page(entries=await plane.reading(lambda: _page(plane, after, limit)), last=last)


def _page(plane: Plane, after: int, limit: int) -> list[Line]:
    found: list[Line] = []
    for record in plane.journal.read(after):
        if len(found) >= limit:
            break
        entry = wire.decode(record.body)
        found.append(Line(seq=record.seq, cause=entry.cause, facts=entry.facts))
    return found


async def verify(ask: Ask) -> Verified:
    """Check the chain of digests and fold everything again, up to the instant of asking."""
    plane = ask.plane
    await plane.wheel.settled()
    live, last = plane.state.digest(), plane.wheel.seq
    found = await plane.reading(plane.journal.verify)
    folded = "" if found.problem else await plane.reading(lambda: _folded(plane, last))
    return Verified(
        records=found.records,
        digest=found.digest,
        problem=found.problem,
        state_digest_live=live,
        state_digest_folded=folded,
        equal=live == folded,
    )


def _folded(plane: Plane, last: int) -> str:
    return fold(wire.decode(record.body) for record in islice(plane.journal.read(), last)).digest()


ROUTES = (
    Route(
        "GET", "/api/v1/journal", read, "site", "Entries of the journal", Page,
        query={"after": "entries with a greater number", "limit": f"at most {_LIMIT_MAX}"},
    ),
    Route("POST", "/api/v1/journal/verify", verify, "site", "Check the journal against the state", Verified),
)  # fmt: skip
