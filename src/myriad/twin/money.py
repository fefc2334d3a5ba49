"""What running a site costs: electricity by the hour, hardware worn out, building, people.

`power.Meter` prices energy with a `Tariff`; `Costs.bill` adds the rest for a span, and a bill over useful
chip-time is the figure that compares sites and policies. These are costs of the operator; what tenants pay
is the price book's business (`workload.prices`).
"""

from typing import Final, NamedTuple

import msgspec

from myriad.kernel.units import DAY, HOUR, Span
from myriad.twin.almanac import Local

_YEAR_HOURS: Final = 365.25 * 24
_MONTH_HOURS: Final = _YEAR_HOURS / 12


class Band(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours that cost more or less: `[[10, 12], [14, 19]]`, an end not included."""

    factor: float
    hours: tuple[tuple[int, int], ...]
    #: 1 to 12; none: the whole year.
    months: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.factor < 0:
            raise ValueError("factor must be 0 or more")
        if any(not 0 <= start < end <= 24 for start, end in self.hours):
            raise ValueError("hours must be pairs such as [10, 12] between 0 and 24")
        if any(not 1 <= month <= 12 for month in self.months):
            raise ValueError("months must be 1 to 12")

    def covers(self, local: Local) -> bool:
        """Whether a moment lies in it."""
        hour = local.hour
        return (not self.months or local.month in self.months) and any(s <= hour < e for s, e in self.hours)


#: Published: Guangdong's development and reform commission, 2021-08-31: peak 10-12 and 14-19, valley 0-8,
#: peak to flat to valley as 1.7 to 1 to 0.38; a quarter more than peak at 11-12 and 15-17 from July to
#: September (and on days of 35 C and more, which are left out here).
GUANGDONG: Final = (
    Band(factor=1.7, hours=((10, 12), (14, 19))),
    Band(factor=0.38, hours=((0, 8),)),
    Band(factor=1.7 * 1.25, hours=((11, 12), (15, 17)), months=(7, 8, 9)),
)


class Tariff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Price of electricity by the hour. Defaults: Guangdong's bands on a price for Shaoguan."""

    currency: str = "CNY"
    #: Of a kWh in an hour of no band. Estimated: about 0.68 in the Pearl River delta for industry at 10 kV
    #: and more; Shaoguan pays 0.134 less (published, 2026-02).
    kwh: float = 0.55
    #: The last one that covers an hour counts.
    bands: tuple[Band, ...] = GUANGDONG
    #: For each kW of the highest draw of a month. Estimated: the order of Guangdong's tariff in two parts.
    kw_month: float = 35.0

    def __post_init__(self) -> None:
        if self.kwh < 0 or self.kw_month < 0:
            raise ValueError("kwh and kw_month must be 0 or more")

    def price(self, local: Local) -> float:
        """Of a kWh at a moment."""
        for band in reversed(self.bands):
            if band.covers(local):
                return self.kwh * band.factor
        return self.kwh


class Bill(NamedTuple):
    """What a span cost, by cause."""

    energy: float
    demand: float  # the part of the tariff for the highest draw
    hardware: float  # amortised
    building: float  # amortised
    upkeep: float  # spare parts, contracts
    staff: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self)


class Costs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a site costs besides energy, in the tariff's currency. All estimated: vendors tell no prices."""

    tariff: Tariff = Tariff()
    #: Of one chip, and of a node without chips.
    chip: float = 60_000.0
    node: float = 250_000.0
    #: Fabric and storage, as a share of chips and nodes.
    network_share: float = 0.18
    hardware_years: float = 5.0
    #: Building, power supply and cooling for each watt at the meter.
    building_w: float = 18.0
    building_years: float = 15.0
    #: Of the price of the hardware, a year.
    upkeep_share: float = 0.04
    #: A year: so many for the site, and for each 1,000 nodes.
    staff: float = 12_000_000.0
    staff_per_1000_nodes: float = 4_000_000.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not value >= 0:
                raise ValueError(f"{name} must be 0 or more")
        if not (self.hardware_years > 0 and self.building_years > 0):
            raise ValueError("hardware_years and building_years must be more than 0")

    def hardware(self, nodes: int, chips: int) -> float:
        """Price of the hardware as bought."""
        return (nodes * self.node + chips * self.chip) * (1.0 + self.network_share)

    def bill(self, span_ns: Span, *, nodes: int, chips: int, electricity: float, peak_w: float) -> Bill:
        """Of a span: `electricity` and `peak_w` are a meter's (`power.Meter`)."""
        years = span_ns / HOUR / _YEAR_HOURS
        bought = self.hardware(nodes, chips)
        return Bill(
            energy=electricity,
            demand=self.tariff.kw_month * peak_w / 1000.0 * span_ns / HOUR / _MONTH_HOURS,
            hardware=bought / self.hardware_years * years,
            building=self.building_w * peak_w / self.building_years * years,
            upkeep=bought * self.upkeep_share * years,
            staff=(self.staff + self.staff_per_1000_nodes * nodes / 1000.0) * years,
        )


def per_useful_chip_hour(bill: Bill, useful_chip_ns: int) -> float | None:
    """Cost of an hour that a chip was useful (trained productively or served); None if none was."""
    return bill.total / (useful_chip_ns / HOUR) if useful_chip_ns > 0 else None


def annual(bill: Bill, span_ns: Span) -> float:
    """What a year at this pace costs."""
    return bill.total * 365.25 * DAY / span_ns if span_ns else 0.0
