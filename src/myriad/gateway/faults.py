"""What a client is told when its request cannot be served: OpenAI's error object, with the remedy in it."""

import msgspec
from aiohttp import web

from myriad.kernel.units import SECOND, Span

#: OpenAI's `type` for each status.
_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class Refusal(Exception):
    """The answer to a request that is not served."""

    def __init__(
        self, status: int, message: str, *, code: str, param: str | None = None, retry_ns: Span = 0
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.param, self.retry_ns = param, retry_ns

    def body(self) -> bytes:
        """`{"error": {...}}`, as OpenAI's clients read it."""
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})

    def response(self) -> web.Response:
        """The whole HTTP answer. Retry-After is whole seconds, rounded up."""
        headers = {"Retry-After": str(-(-self.retry_ns // SECOND))} if self.retry_ns else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return web.Response(
            status=self.status, body=self.body(), content_type="application/json", headers=headers
        )

    def event(self) -> bytes:
        """The same inside a stream that has begun: OpenAI's clients raise at it."""
        return b"data: " + self.body() + b"\n\n"
