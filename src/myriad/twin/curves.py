"""How many requests a second come to a service: by hour, weekday, growth, bursts and spikes.

Each day's rates are drawn from a stream of its own, so that what happens on day 40 does not depend on who
asked about day 39. `load` asks for them.
"""

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, Literal

import msgspec

from myriad.kernel import units
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, Instant, Span
from myriad.twin.almanac import Almanac

_NORMAL: Final = NormalDist()
_MONTH: Final = 365.25 / 12 * DAY
#: Days of rates that are kept at hand.
_KEPT: Final = 4


class Bursts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rate wanders about its curve: one factor of mean 1 for each stretch of time.

    Gamma fits BurstGPT's rates, and Gamma and Weibull ServeGen's times between requests (published). Sizes
    are measured: beyond Poisson, Azure's conversations vary by 0.2 from minute to minute at 5 requests/s,
    Mooncake's by 0.1 at 3; large services sum many callers and vary less.
    """

    shape: Literal["gamma", "weibull"] = "gamma"
    #: Coefficient of variation of the factor; 0: none.
    cv: float = 0.1
    lasts: str = "15m"

    def __post_init__(self) -> None:
        units.check_span("lasts", self.lasts)
        if not 0 <= self.cv <= 5:
            raise ValueError("cv must be between 0 and 5")

    def factor(self, chance: Stream) -> float:
        """One draw, of mean 1."""
        if self.cv == 0:
            return 1.0
        if self.shape == "gamma":
            return _gamma(1.0 / self.cv**2, chance) * self.cv**2
        power = _weibull_shape(self.cv)
        return math.pow(chance.exponential(1.0), 1.0 / power) / math.gamma(1.0 + 1.0 / power)


class Spikes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Now and then everybody calls at once, or one caller sends a batch."""

    #: On average; 0: none.
    a_day: float = 0.0
    #: The rate is multiplied by it.
    factor: float = 3.0
    #: On average; each one's own is exponential.
    lasts: str = "10m"

    def __post_init__(self) -> None:
        units.check_span("lasts", self.lasts)
        if not (self.a_day >= 0 and self.factor >= 1):
            raise ValueError("a_day must be 0 or more and factor 1 or more")


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests a second, averaged over a week at the start of the run."""

    mean: float
    #: The busiest hour is above the day's mean, and the quietest below it, by this share. Estimated: public
    #: services see nights at a third of the afternoon.
    diurnal: float = 0.5
    busiest_hour: float = 15.0
    #: Instead: the level of each hour, midnight first, in any unit.
    hours: tuple[float, ...] = ()
    #: Level of Saturdays and Sundays where workdays are 1. Estimated: enterprise callers.
    weekend: float = 0.75
    #: Growth of the mean, a month; 0.05 is 5 %.
    growth: float = 0.0
    bursts: Bursts = Bursts()
    spikes: Spikes = Spikes()
    #: Coefficient of variation of the times between requests within a slot: 1 is Poisson. Measured: 1.09 in
    #: Azure's conversations, drift of the hour included.
    arrivals_cv: float = 1.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and self.mean >= 0):
            raise ValueError("mean must be 0 requests/s or more")
        if not (0 <= self.diurnal <= 1 and 0 <= self.busiest_hour < 24):
            raise ValueError("diurnal must be between 0 and 1, busiest_hour from 0 up to 24")
        if self.hours and (len(self.hours) != 24 or min(self.hours) < 0 or sum(self.hours) <= 0):
            raise ValueError("hours must be 24 levels of 0 or more, not all 0")
        if not (self.weekend >= 0 and self.growth > -1 and 0 <= self.arrivals_cv <= 10):
            raise ValueError("weekend must be 0 or more, growth above -1 and arrivals_cv between 0 and 10")

    def level(self, hour: float, weekday: int) -> float:
        """Of the mean, at a time of the week; 1 on average."""
        week = (5.0 + 2.0 * self.weekend) / 7.0
        day = (self.weekend if weekday >= 5 else 1.0) / week
        if self.hours:
            return day * self.hours[int(hour)] * 24.0 / sum(self.hours)
        wave = math.cos(2.0 * math.pi * (hour - self.busiest_hour) / 24.0)
        return day * (1.0 + self.diurnal * wave)


class Rates:
    """The rates of one run, slot by slot. The same for any order of questions."""

    def __init__(
        self, rate: Rate, every_ns: Span, chance: Stream, almanac: Almanac, profile: Sequence[float] = ()
    ) -> None:
        assert DAY % every_ns == 0, "slots do not fill a day"
        self._rate, self._every, self._chance, self._almanac = rate, every_ns, chance, almanac
        self._profile = profile
        self._slots = DAY // every_ns
        self._days: dict[int, list[float]] = {}

    def slot(self, at: Instant) -> tuple[float, Instant]:
        """Requests/s in the slot of an instant, and when the slot ends."""
        day = self._almanac.day(at)
        rates = self._days.get(day) or self._drawn(day)
        midnight = self._almanac.midnight(day)
        index = (at - midnight) // self._every
        return rates[index], midnight + (index + 1) * self._every

    def _drawn(self, day: int) -> list[float]:
        rate, midnight = self._rate, self._almanac.midnight(day)
        local = self._almanac.local(midnight)
        chance = self._chance.split(f"day {day}")
        shaped = [rate.mean * one for one in self._bursts(chance)]
        for index in range(self._slots):
            at = midnight + index * self._every
            hour = 24.0 * index / self._slots
            grown = (1.0 + rate.growth) ** (max(0, at) / _MONTH) if rate.growth else 1.0
            shaped[index] *= rate.level(hour, local.weekday) * grown
            if self._profile:
                shaped[index] *= self._profile[(day * self._slots + index) % len(self._profile)]
        self._spike(shaped, chance.split("spikes"))
        while len(self._days) >= _KEPT:
            del self._days[next(iter(self._days))]
        self._days[day] = shaped
        return shaped

    def _bursts(self, chance: Stream) -> list[float]:
        bursts = self._rate.bursts
        stretch = max(1, round(units.span_ns(bursts.lasts) / self._every))
        found: list[float] = []
        while len(found) < self._slots:
            found += [bursts.factor(chance)] * stretch
        return found[: self._slots]

    def _spike(self, rates: list[float], chance: Stream) -> None:
        """Spikes begin at random; one that would last beyond midnight ends there."""
        spikes = self._rate.spikes
        if not spikes.a_day:
            return
        lasts = units.span_ns(spikes.lasts)
        covered = [0.0] * self._slots
        start = chance.exponential(DAY / spikes.a_day)
        while start < DAY:
            end = start + chance.exponential(lasts)
            for index in range(int(start // self._every), self._slots):
                low = index * self._every
                if low >= end:
                    break
                covered[index] += min(end, low + self._every) - max(start, low)
            start = end + chance.exponential(DAY / spikes.a_day)
        for index, part in enumerate(covered):
            rates[index] *= 1.0 + (spikes.factor - 1.0) * part / self._every


def _gamma(shape: float, chance: Stream) -> float:
    """A draw of mean `shape`, scale 1 (Marsaglia and Tsang, 2000)."""
    if shape < 1.0:
        return _gamma(shape + 1.0, chance) * math.pow(1.0 - chance.uniform(), 1.0 / shape)
    d = shape - 1.0 / 3.0
    while True:
        normal = _NORMAL.inv_cdf(min(max(chance.uniform(), 1e-16), 1.0 - 1e-16))
        v = (1.0 + normal / math.sqrt(9.0 * d)) ** 3
        if v <= 0.0:
            continue
        if math.log(1.0 - chance.uniform()) < 0.5 * normal * normal + d - d * v + d * math.log(v):
            return d * v


@functools.cache
def _weibull_shape(cv: float) -> float:
    """The shape whose coefficient of variation this is, by bisection."""
    low, high = 0.2, 200.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        first, second = math.lgamma(1.0 + 1.0 / middle), math.lgamma(1.0 + 2.0 / middle)
        if math.sqrt(max(0.0, math.expm1(second - 2.0 * first))) > cv:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)
