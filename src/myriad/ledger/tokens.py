"""Tokens of requests: reports are cumulative, may repeat and come out of order, and count once."""

from typing import NamedTuple

from myriad.kernel.ids import RequestId, ServiceId, TenantId
from myriad.protocol.facts import TokensServed

#: Finished requests that are remembered, so that a late repeat is not counted again.
_REMEMBERED = 100_000


class Tokens(NamedTuple):
    """What a model read and wrote, and in how many requests."""

    prompt: int = 0
    completion: int = 0
    requests: int = 0


class Line(NamedTuple):
    """Whose tokens: caller, service, and the terms of price under which they flowed."""

    tenant: TenantId
    service: ServiceId
    terms: int


class _Request(NamedTuple):
    prompt: int = 0
    completion: int = 0
    estimated: bool = False


_NEW = _Request()


class Meter:
    """Sums by line."""

    def __init__(self) -> None:
        self.lines: dict[Line, Tokens] = {}
        #: Of them, tokens that no model counted: of answers that were cut, or that still go on.
        self.estimated: dict[Line, int] = {}
        self._open: dict[RequestId, _Request] = {}
        self._final: dict[RequestId, _Request] = {}

    def served(self, fact: TokensServed, terms: int) -> None:
        """Book what this report adds to what was known of the request: reports only ever grow."""
        over = self._final.get(fact.request)
        known = over or self._open.get(fact.request) or _NEW
        estimated = known.estimated if over and not fact.final else fact.estimated
        now = _Request(
            max(known.prompt, fact.prompt_tokens), max(known.completion, fact.completion_tokens), estimated
        )
        line = Line(fact.tenant, fact.service, terms)
        have = self.lines.get(line, Tokens())
        self.lines[line] = Tokens(
            have.prompt + now.prompt - known.prompt,
            have.completion + now.completion - known.completion,
            have.requests + (known is _NEW),
        )
        if now.estimated or known.estimated:
            change = _guessed(now) - _guessed(known)
            self.estimated[line] = self.estimated.get(line, 0) + change
        self._remember(fact.request, now, fact.final)

    def _remember(self, request: RequestId, now: _Request, final: bool) -> None:
        if final or request in self._final:
            self._open.pop(request, None)
            self._final[request] = now
            if len(self._final) > _REMEMBERED:
                del self._final[next(iter(self._final))]
        else:
            self._open[request] = now


def _guessed(request: _Request) -> int:
    return request.prompt + request.completion if request.estimated else 0
