"""As much of PromQL as our dashboards and alerts use, parsed: what passes here, Prometheus can read.

Numbers, selectors with label matchers and ranges, functions and aggregations that exist, operators with both
sides, `by`, and comparisons. Returns the selectors, so that a test can ask whether a server exports them.
"""

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r'\s*(?:(\$__rate_interval|\d+[smhdw](?![\w.]))|([a-zA-Z_:][\w:]*)|(\d+\.?\d*(?:e-?\d+)?)|("(?:[^"\\]|\\.)*")'
    r"|(=~|!~|!=|==|>=|<=|[-+*/%^(){}\[\],<>=]))"
)
_FUNCTIONS = {
    "rate": "range",
    "increase": "range",
    "delta": "range",
    "histogram_quantile": "",
    "scalar": "",
    "absent": "",
}
_AGGREGATES = ("sum", "max", "min", "avg", "count")
_OPERATORS = ("+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "and", "or", "unless")


class Wrong(Exception):
    """What is no PromQL."""


class Selector(NamedTuple):
    """A metric as it is asked for."""

    metric: str
    labels: tuple[tuple[str, str, str], ...]  # name, operator, value
    has_range: bool


def parsed(query: str) -> list[Selector]:
    """Every selector of a query. Raises Wrong."""
    parser = _Parser(query)
    parser.expression()
    if parser.next():
        raise Wrong(f"{query}: unexpected {parser.next()!r}")
    return parser.selectors


class _Parser:
    def __init__(self, query: str) -> None:
        self.query, self.selectors = query, []  # type: ignore[var-annotated]
        self._tokens: list[str] = []
        at = 0
        while query[at:].strip():
            if not (match := _TOKEN.match(query, at)):
                raise Wrong(f"{query}: at {query[at : at + 10]!r}")
            self._tokens.append(match.group().strip())
            at = match.end()

    def next(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def take(self, wanted: str = "") -> str:
        if not self._tokens or (wanted and self.next() != wanted):
            raise Wrong(f"{self.query}: {wanted or 'more'} is missing before {self.next() or 'the end'!r}")
        return self._tokens.pop(0)

    def expression(self) -> None:
        self.operand()
        while self.next() in _OPERATORS:
            self.take()
            self.operand()

    def operand(self) -> None:
        token = self.take()
        if token == "(":
            self.expression()
            self.take(")")
        elif token in _AGGREGATES:
            self.grouping()
            self.take("(")
            self.expression()
            self.take(")")
            self.grouping()
        elif token in _FUNCTIONS:
            self.call(token)
        elif re.fullmatch(r"[a-zA-Z_:][\w:]*", token) and token not in _OPERATORS and self.next() != "(":
            self.selector(token)
        elif not re.fullmatch(r"\d+\.?\d*(e-?\d+)?", token):
            raise Wrong(f"{self.query}: {token!r} is no operand")

    def call(self, name: str) -> None:
        self.take("(")
        before = len(self.selectors)
        self.expression()
        while self.next() == ",":
            self.take()
            self.expression()
        self.take(")")
        ranges = [one.has_range for one in self.selectors[before:]]
        if _FUNCTIONS[name] == "range" and ranges != [True]:
            raise Wrong(f"{self.query}: {name} is of one metric over a range")

    def grouping(self) -> None:
        if self.next() not in ("by", "without"):
            return
        self.take()
        self.take("(")
        while re.fullmatch(r"[a-zA-Z_]\w*", self.take()) and self.next() == ",":
            self.take(",")
        self.take(")")

    def selector(self, metric: str) -> None:
        labels = []
        if self.next() == "{":
            self.take()
            while self.next() != "}":
                name, operator, value = self.take(), self.take(), self.take()
                if operator not in ("=", "!=", "=~", "!~") or not value.startswith('"'):
                    raise Wrong(f"{self.query}: {name}{operator}{value}")
                if "~" in operator:
                    re.compile(value[1:-1])
                labels.append((name, operator, value[1:-1]))
                if self.next() != "}":
                    self.take(",")
            self.take("}")
        has_range = self.next() == "["
        if has_range:
            self.take()
            if not re.fullmatch(r"\$__rate_interval|\d+[smhdw]", self.take()):
                raise Wrong(f"{self.query}: no range")
            self.take("]")
        self.selectors.append(Selector(metric, tuple(labels), has_range))
