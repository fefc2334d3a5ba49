"""What one address of the API is: a row of the route table, which also makes the OpenAPI document."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from aiohttp import web

from myriad.kernel import documents
from myriad.kernel.errors import UserError
from myriad.server.identity import Caller
from myriad.server.plane import Plane

T = TypeVar("T", bound=msgspec.Struct)

#: open: no key · all: any key, tenants see their own · members: who may ask for work (operator, tenant)
#: · site: who may see the whole site (operator, viewer) · operator.
Access = Literal["open", "all", "members", "site", "operator"]
ROLES: Mapping[Access, tuple[str, ...]] = {
    "all": ("operator", "viewer", "tenant"),
    "members": ("operator", "tenant"),
    "site": ("operator", "viewer"),
    "operator": ("operator",),
}


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """It is done, durably."""

    ok: bool = True


class Ask:
    """One request, as a handler sees it."""

    def __init__(self, plane: Plane, request: web.Request, caller: Caller | None) -> None:
        self.plane, self.request = plane, request
        self._caller = caller

    @property
    def caller(self) -> Caller:
        """Who asks; every route but the open ones has one."""
        assert self._caller is not None, self.request.path
        return self._caller

    def part(self, name: str) -> str:
        """A part of the address."""
        return self.request.match_info[name]

    def word(self, name: str) -> str:
        """A parameter of the query; empty when it is not there."""
        return self.request.query.get(name, "")

    def number(self, name: str, default: int, most: int = 1 << 62) -> int:
        """A whole number of the query, from 0 to `most`. Raises UserError."""
        text = self.word(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit()) or int(text) > most:
            raise UserError(f"must be a whole number up to {most}", field=name, value=text)
        return int(text)

    def flag(self, name: str) -> bool:
        """A yes or no of the query. Raises UserError."""
        text = self.word(name)
        if text not in ("", "0", "1", "true", "false"):
            raise UserError("must be 1 or 0", field=name, value=text)
        return text in ("1", "true")

    async def tree(self) -> dict[str, Any]:
        """The body as plain mappings. Raises UserError unless it is a JSON object."""
        body = await self.request.read()
        try:
            found = msgspec.json.decode(body or b"{}")
        except msgspec.DecodeError as error:
            raise UserError(
                f"is not JSON: {error}", field="body", remedy="Send a JSON object", status=400
            ) from None
        if not isinstance(found, dict):
            raise UserError("must be a JSON object", field="body", value=type(found).__name__, status=400)
        return found

    async def body(self, type_: type[T]) -> T:
        """The body as a value of a type. Raises UserError naming the field."""
        return documents.convert(await self.tree(), type_, "body")


Handler = Callable[[Ask], Awaitable[object]]


class Route(NamedTuple):
    """One row. `body` and `answer` are the types of the JSON; an answer that is text names its media type."""

    method: str
    path: str
    handler: Handler
    access: Access
    summary: str
    answer: Any
    body: Any = None
    query: Mapping[str, str] = {}
    status: int = 200


#: Answers that are no JSON.
TEXT, EVENTS, HTML = "text/plain", "text/event-stream", "text/html"


class Created(NamedTuple):
    """An answer with a status of its own."""

    status: int
    value: object
