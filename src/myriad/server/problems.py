"""Errors as application/problem+json (RFC 9457): what is wrong with which field, and how to mend it."""

from collections.abc import Sequence
from http import HTTPStatus

import msgspec
from aiohttp import web

from myriad.control.core import Step
from myriad.kernel.errors import UserError
from myriad.protocol import facts
from myriad.protocol.values import Reason


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error."""

    #: `urn:myriad:<word>`: the reason's code, or the status in words.
    type: str
    title: str
    status: int
    #: The whole in one sentence; then its parts.
    detail: str
    problem: str
    field: str = ""
    value: str | int | float | bool | None = None
    remedy: str = ""


#: A refusal's status by its code; what fits the state is 409, what could never fit is 422.
_STATUS = {"unknown": 404, "not_allowed": 403, "site_closed": 409, "ended": 409, "backoff": 409}
#: Intents whose subject is not in the address: an unknown name in their body is the body's fault.
_IN_BODY = ("SubmitJob", "ApplyService", "SetWindow", "ApplyTenant")


class Refusal(UserError):
    """The core said no."""

    def __init__(self, intent: str, subject: str, reason: Reason) -> None:
        status = 422 if intent in _IN_BODY and reason.code == "unknown" else _STATUS.get(reason.code, 422)
        if intent == "SetWindow" and reason.code == "not_allowed":
            status = 409  # another window keeps the node in that time
        super().__init__(reason.text, remedy=reason.remedy, status=status)
        self.subject, self.code = subject, reason.code


def check(step: Step) -> Step:
    """The step, unless the core refused what was asked. Raises Refusal."""
    for fact in step.facts:
        if isinstance(fact, facts.Refused):
            raise Refusal(fact.intent, fact.subject, fact.reason)
    return step


def response(error: UserError) -> web.Response:
    """The HTTP answer to an error."""
    title = HTTPStatus(error.status).phrase
    code = error.code if isinstance(error, Refusal) else title.lower().replace(" ", "-")
    problem = Problem(
        type=f"urn:myriad:{code}",
        title=title,
        status=error.status,
        detail=str(error),
        problem=error.problem,
        field=error.field or (error.subject if isinstance(error, Refusal) else ""),
        value=_plain(error.value),
        remedy=error.remedy,
    )
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.status == 503:
        headers["Retry-After"] = "5"
    return web.Response(
        status=error.status,
        body=msgspec.json.encode(problem),
        content_type="application/problem+json",
        headers=headers,
    )


def of_http(error: web.HTTPException, request: web.Request, known: Sequence[str]) -> UserError:
    """What the HTTP library refused by itself, in the same form."""
    if error.status == 413:
        most = request.client_max_size
        return UserError(f"is larger than {most} bytes", field="body", remedy="Send less", status=413)
    if error.status == 405 and isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return UserError(
            f"{request.path} does not know it", field="method", value=request.method,
            remedy=f"Known: {allowed}", status=405,
        )  # fmt: skip
    if error.status == 404:
        remedy = "Known: " + ", ".join(known)
        return UserError(
            "there is nothing at this address", field="path", value=request.path, remedy=remedy, status=404
        )
    return UserError(error.reason, field="request", status=error.status)


def _plain(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
