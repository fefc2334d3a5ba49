"""What the site costs whoever pays the book's price for all of it, and what an hour of use comes to."""

from decimal import Decimal
from fractions import Fraction

from myriad.kernel.units import HOUR, Span
from myriad.ledger.books import Books
from myriad.ledger.buckets import USEFUL, total
from myriad.ledger.views import View, energy_kwh


class Cost(View, frozen=True, kw_only=True):
    """Every chip-hour of capacity, used or not, at the price book's price, and the electricity."""

    currency: str
    chips: Decimal
    #: kWh x the book's price of one. The kWh are the ledger's estimate unless better ones were given.
    energy: Decimal
    total: Decimal
    useful_chip_ns: Span
    #: None: nothing was useful yet.
    per_useful_chip_hour: Decimal | None


def cost(books: Books, kwh: float | None = None) -> Cost:
    """Of the whole site so far. `kwh`: what was metered or simulated, in place of the estimate.

    Electricity is paid at the price that holds now.
    """
    chips, useful = Fraction(0), 0
    for number, times in books.by_terms().items():
        terms = books.terms[number]
        price = terms.prices.chip_hour.get(terms.chip, Decimal(0))
        chips += Fraction(price) * sum(times.values()) / HOUR
        useful += total(times, USEFUL)
    prices = books.terms[books.term].prices
    used = energy_kwh(books, books.by_terms()) if kwh is None else kwh
    energy = Fraction(prices.energy_kwh) * Fraction(used)
    return Cost(
        currency=prices.currency,
        chips=_rounded(chips, 2),
        energy=_rounded(energy, 2),
        total=_rounded(chips + energy, 2),
        useful_chip_ns=useful,
        per_useful_chip_hour=_rounded((chips + energy) * HOUR / useful, 4) if useful else None,
    )


def _rounded(exact: Fraction, places: int) -> Decimal:
    """Half to even."""
    return Decimal(round(exact * 10**places)).scaleb(-places)
