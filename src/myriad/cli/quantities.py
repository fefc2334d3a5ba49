"""What people write after the options of `myriad plan`: counts, batches, prices, promises, with units.

Each function names the option in its error, with what was written and how to write it.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Final, NamedTuple

from myriad.kernel import units
from myriad.kernel.errors import UserError, near

_BATCH: Final = re.compile(r"(?P<number>.+?)[-_ ]?(?P<unit>tokens?|sequences?|seqs?)")
_PRICE: Final = re.compile(r"(?P<amount>\d+(\.\d+)?)\s*(?P<currency>[A-Z]{3})")
_RATE: Final = re.compile(r"(?P<number>\d+(\.\d+)?)\s*/\s*(?P<unit>s|min|h)")
_SECONDS: Final = {"s": 1.0, "min": 60.0, "h": 3600.0}
_COUNT: Final = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<suffix>[kMBT]?)")
#: Currencies in which prices of chips are commonly told, by their ISO 4217 codes.
CURRENCIES: Final = (
    "AED", "AUD", "BRL", "CAD", "CHF", "CNY", "DKK", "EUR", "GBP", "HKD", "ILS", "INR", "JPY", "KRW",
    "NOK", "NZD", "PLN", "SAR", "SEK", "SGD", "TWD", "USD",
)  # fmt: skip


_PROMISES: Final = {"ttft": "ttft=1s", "tpot": "tpot=50ms", "percentile": "percentile=0.9"}


class Price(NamedTuple):
    """Of a chip-hour."""

    amount: float
    currency: str


def whole(text: str, field: str, example: str) -> int:
    """A whole number above zero: `16384`, `16,384`."""
    digits = text.replace(",", "").replace("_", "")
    if not digits.isdigit() or int(digits) < 1:
        raise UserError(
            "must be a whole number above zero", field=field, value=text, remedy=f"Write {example}"
        )
    return int(digits)


def count(text: str, field: str, example: str) -> int:
    """A whole number above zero that may be written short: `16384`, `16,384`, `16k`."""
    found = _exact(text.replace(",", "").replace("_", ""))
    if found is None:
        remedy = f"Write {example} (suffixes: k, M, B, T)"
        problem = "must be a whole number above zero"
        if re.fullmatch(r"[0-9.]+[eE][+]?[0-9]+|[0-9.]{30,}", text):
            problem = "must be written out in figures, and be a number that can be counted to"
        raise UserError(problem, field=field, value=text, remedy=remedy)
    if found < 1 or found.denominator > 1:
        raise UserError(
            "must be a whole number above zero", field=field, value=text, remedy=f"Write {example}"
        )
    return int(found)


def _exact(text: str) -> Fraction | None:
    """The exact value of a count; None where it is none."""
    match = _COUNT.fullmatch(text.strip())
    if not match or len(text) > 40:
        return None
    return Fraction(match["number"]) * units.COUNTS[match["suffix"]]


def tokens(text: str, field: str) -> int:
    """A number of tokens: `15.6T`."""
    try:
        found = units.count(text)
    except ValueError:
        found = 0
    if found < 1:
        remedy = "Write for example 15.6T (suffixes: k, M, B, T)"
        raise UserError("is not a number of tokens", field=field, value=text, remedy=remedy)
    return found


def batch(text: str) -> tuple[int | None, float | None]:
    """A global batch in sequences, or in tokens: `2048-sequences`, `16M-tokens`."""
    match = _BATCH.fullmatch(text)
    remedy = "Write for example 16M-tokens or 2048-sequences"
    if not match:
        known = text.replace(".", "").rstrip("kMBT").isdigit()
        problem = "has no unit" if known else "is not understood"
        raise UserError(problem, field="global-batch", value=text, remedy=remedy)
    number = _exact(match["number"])
    if number is None or number <= 0:
        raise UserError("must be more than zero", field="global-batch", value=text, remedy=remedy)
    if number.denominator > 1:
        raise UserError("must be a whole number", field="global-batch", value=text, remedy=remedy)
    return (None, float(number)) if match["unit"].startswith("token") else (int(number), None)


def price(text: str) -> Price:
    """The price of a chip-hour: `2.50USD`."""
    match = _PRICE.fullmatch(text)
    if not match:
        remedy = "Write an amount and a currency, for example 2.50USD (for a chip-hour)"
        raise UserError("is not a price", field="price", value=text, remedy=remedy)
    if match["currency"] not in CURRENCIES:
        remedy = near(match["currency"], CURRENCIES)
        raise UserError("is not a known currency", field="price", value=match["currency"], remedy=remedy)
    if not float(match["amount"]) > 0:
        remedy = "Write for example 2.50USD, or leave it out"
        raise UserError("must be more than zero", field="price", value=text, remedy=remedy)
    return Price(float(match["amount"]), match["currency"])


def rate(text: str, field: str) -> float:
    """Requests a second: `10/s`, `90/min`."""
    match = _RATE.fullmatch(text)
    if not match or not float(match["number"]) > 0:
        raise UserError("is not a rate", field=field, value=text, remedy="Write for example 10/s")
    return float(match["number"]) / _SECONDS[match["unit"]]


def promise(text: str) -> dict[str, float]:
    """What callers are promised, by name: `ttft=1s,tpot=50ms`, and `percentile=0.9` if it is not that."""
    readers: dict[str, Callable[[str], float]] = {"ttft": _seconds, "tpot": _seconds, "percentile": float}
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in readers:
            raise UserError("is not a promise", field="slo", value=name, remedy=near(name, readers))
        if name in found:
            raise UserError("is said twice", field=f"slo: {name}", value=value, remedy="Leave one out")
        try:
            found[name] = readers[name](value)
        except ValueError:
            remedy = "Write for example ttft=1s,tpot=50ms"
            raise UserError("is not understood", field=f"slo: {name}", value=value, remedy=remedy) from None
        if not found[name] > 0:
            remedy = f"Write for example {_PROMISES[name]}"
            raise UserError("must be more than zero", field=f"slo: {name}", value=value, remedy=remedy)
    for name in ("ttft", "tpot"):
        if name not in found:
            raise UserError("is missing", field=f"slo: {name}", remedy="Write for example ttft=1s,tpot=50ms")
    return found


def _seconds(text: str) -> float:
    return units.seconds(units.span_ns(text))
