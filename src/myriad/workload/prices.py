"""The price book: what a chip-hour of each type and a million tokens cost. Exact, never floats."""

from decimal import Decimal

import msgspec


class TokenPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money for a million tokens."""

    prompt: Decimal
    completion: Decimal


class PriceBook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Prices of a site. Amounts are written as text (`"1.20"`) so that they stay exact."""

    currency: str = "CNY"
    #: Chip type -> money for one chip for one hour, training and replicas alike.
    chip_hour: dict[str, Decimal] = {}
    #: For callers of other tenants' shared services; a tenant's own service is paid by its chips.
    tokens: TokenPrice = TokenPrice(prompt=Decimal(0), completion=Decimal(0))
    #: What a kWh costs the site (for TCO, never invoiced as such).
    energy_kwh: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if any(price < 0 for price in (*self.chip_hour.values(), self.energy_kwh)):
            raise ValueError("prices must be 0 or more")
