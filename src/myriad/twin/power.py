"""Power and heat of a simulated site: watts by activity, PUE by season, a cap at the meter that throttles.

The world says how many chips do what; `Plant.draw` answers how many watts that is and how much slower
training runs. Between changes nothing moves but the hour, so `Meter` integrates exactly: watts are whole
numbers, time is whole nanoseconds, and how often somebody looks makes no difference.

    chips by activity -> watts of chips, hosts, network (IT) -> x PUE(outside temperature) -> the meter
    over the cap      -> clocks of training go down (P ~ f^k), then training pauses, then serving slows

Where the numbers come from is said at each field: published, measured, derived or estimated, as in the
catalogue, whose rated power of each chip is the scale of everything here.
"""

import math
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

import msgspec

from myriad.kernel import units
from myriad.kernel.errors import UserError, near
from myriad.kernel.units import HOUR, SECOND, Instant, Span
from myriad.twin.almanac import Almanac, Climate, Local
from myriad.twin.money import Tariff

#: What a chip may be doing, as far as its watts are concerned. `waiting`: held by a gang that starts, loads,
#: saves, hangs or is stopped; `warm`: of a ready replica without requests.
Activity = Literal["training", "waiting", "prefill", "decode", "warm", "idle", "burn_in", "off"]
ACTIVITIES: Final[tuple[str, ...]] = get_args(Activity)
#: Whose clocks go down first under a cap, and whose after them.
_FIRST: Final = ("training", "burn_in")
_LAST: Final = ("prefill", "decode")
_BUSY: Final = (*_FIRST, *_LAST)
#: The slowdown that stands for a standstill: training that a cap leaves no power for.
STANDSTILL: Final = 1000.0


class Shares(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Power of a chip by activity, as a share of its rated power."""

    #: Estimated from published node measurements: an 8-GPU H100 node rated 10.2 kW draws 8.4 kW at most, and
    #: 76 % of the rating when it computes hard (Latif et al. 2024; Newkirk et al. 2025).
    training: float = 0.85
    #: Estimated: kernels that spin in a collective, or hosts that read and write.
    waiting: float = 0.35
    #: Measured: 0.92 to 1.09 at the peak, that is in prefill, of A100 (Splitwise's rows, batch 4 and more).
    prefill: float = 1.0
    #: Measured: 0.43 to 0.79 of A100 over an answer at tensor parallelism 8 to 2 (Splitwise's rows); 137 to
    #: 300 W of the 700 W of an H200 (published, 2026).
    decode: float = 0.5
    #: Estimated: weights in memory and a graph ready to run keep memory clocks up.
    warm: float = 0.18
    #: Measured by others: an H200 of 700 W idles at 74 W; older memory and chips idle higher.
    idle: float = 0.12
    #: Estimated: tests of burn-in are made to draw what they can.
    burn_in: float = 0.95
    off: float = 0.0

    def __post_init__(self) -> None:
        for name in ACTIVITIES:
            if not 0 <= getattr(self, name) <= 1.2:
                raise ValueError(f"{name} must be between 0 and 1.2 of the rated power")
        if self.idle > min(getattr(self, name) for name in _BUSY):
            raise ValueError("idle must not be above training, burn_in, prefill and decode")


class Pue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Power at the meter over power of the computers: a floor, and what heat outside adds; or a table.

    The Shaoguan cluster must keep 1.25 over a year (published: the reply of four ministries, 2022-02). Floor
    and slope are estimated so that the defaults with Shaoguan's climate average that.
    """

    #: With free cooling, up to this outside temperature.
    floor: float = 1.18
    free_up_to_c: float = 12.0
    #: Added by each degree above it.
    per_degree: float = 0.0078
    #: Instead of all that: one figure for each month, January first.
    monthly: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.monthly and len(self.monthly) != 12:
            raise ValueError("monthly must have 12 figures")
        if min((self.floor, *self.monthly)) < 1 or self.per_degree < 0:
            raise ValueError("a PUE must be 1 or more, and per_degree 0 or more")

    def at(self, local: Local, outside_c: float) -> float:
        """The PUE at a moment."""
        if self.monthly:
            return self.monthly[local.month - 1]
        return self.floor + self.per_degree * max(0.0, outside_c - self.free_up_to_c)


class CoolingEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For a while the site may draw only this share of its cap (of its rated draw, where it has no cap)."""

    at: str
    lasts: str
    share: float

    def __post_init__(self) -> None:
        units.check_span("at", self.at)
        units.check_span("lasts", self.lasts)
        if not 0 <= self.share <= 1:
            raise ValueError("share must be between 0 and 1")


class Power(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Power and heat of a site."""

    shares: Shares = Shares()
    #: Rated watts of a chip by catalogue name, where they are not those of the catalogue.
    chip_w: dict[str, float] = {}
    #: Of a node besides its chips, without work and with all chips busy. Estimated: 9.5 kW for a node of 16
    #: chips of 400 W; the H100 node above leaves about 2.8 kW for 8 chips' host.
    host_idle_w: float = 1500.0
    host_busy_w: float = 3100.0
    #: Switches and optics for each chip, always on. Estimated: a port of 400 Gb/s takes about 36 W with its
    #: optics; a NIC needs two to three of them in a network that narrows upwards, and serves two chips.
    network_w_per_chip: float = 40.0
    #: Storage, management and the rest of the computers, whatever they do.
    other_w: float = 0.0
    pue: Pue = Pue()
    climate: Climate = Climate()
    #: Most the site may draw at the meter; None: no cap.
    cap_w: float | None = None
    events: tuple[CoolingEvent, ...] = ()
    #: Power above idle goes with this power of the clock. Estimated: Splitwise's rows give capped H100s 1.30
    #: times the time for a prompt and 1.00 for a token, one factor for all rows; that the cap is half of the
    #: power is from memory of the paper. With 0.12 idle: ln(0.432) / ln(1 / 1.30).
    clock_exponent: float = 3.2
    #: Slowest clock, of the full one; below it training pauses for part of the time. Estimated.
    clock_min: float = 0.5
    #: Share of a training step that goes with the clock; the rest waits for memory and network. Estimated.
    clock_share: float = 0.85
    #: Training is slower by this on the hottest hour than on the coolest. Published: 1 to 2 % (Llama 3).
    afternoon_slowdown: float = 0.015

    def __post_init__(self) -> None:
        for name in ("host_idle_w", "network_w_per_chip", "other_w", "afternoon_slowdown"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more")
        if self.host_busy_w < self.host_idle_w:
            raise ValueError("host_busy_w must not be below host_idle_w")
        if self.cap_w is not None and not self.cap_w > 0:
            raise ValueError("cap_w must be more than 0 W; leave it out for a site without a cap")
        if not (self.clock_exponent >= 1 and 0 < self.clock_min <= 1 and 0 <= self.clock_share <= 1):
            raise ValueError("clock_exponent must be 1 or more, clock_min and clock_share between 0 and 1")
        if any(watts <= 0 for watts in self.chip_w.values()):
            raise ValueError("chip_w must be more than 0 W")

    def slowdown(self, clock: float) -> float:
        """How much longer a training step takes at this share of the full clock."""
        return self.clock_share / clock + (1.0 - self.clock_share)


class Draw(NamedTuple):
    """What a site draws, whole watts, and what that does to its work."""

    it_w: int  # chips, hosts, network, storage
    site_w: int  # at the meter
    throttle: float  # a training step takes this many times as long, 1 or more; 1000: standstill
    serving: float  # likewise a step of serving; above 1 only when pausing training is not enough
    cap_w: int | None  # in force
    over_w: int  # above the cap although all that can wait waits: the breaker's business


class _Load(NamedTuple):
    """Watts behind the meter."""

    fixed: float  # what no cap can lower: idle power, hosts, network
    first: float  # what the clocks of training and burn-in add
    last: float  # likewise of serving


class _Weather(NamedTuple):
    pue: float
    slowdown: float  # of training by the heat of the day


class Plant:
    """A site's power, as a function of what its chips do and when. Pure but for `limit`.

    `rated_w`: watts of each kind of chip by name (`chip.power_w.value` of the catalogue). Where a site has
    several kinds, activities are written `h20/training`.
    """

    def __init__(self, power: Power, rated_w: Mapping[str, float], almanac: Almanac | None = None) -> None:
        if not rated_w:
            raise UserError("must name at least one chip", field="power", remedy="Give the site's chips")
        unknown = [name for name in power.chip_w if name not in rated_w]
        if unknown:
            remedy = near(unknown[0], rated_w)
            raise UserError(
                "is not a chip of this site", field="power.chip_w", value=unknown[0], remedy=remedy
            )
        self.power = power
        self.almanac = almanac or Almanac()
        self._kinds = self._watts({**rated_w, **power.chip_w})
        self._weather: dict[int, _Weather] = {}
        self._limits = [
            (units.span_ns(event.at), units.span_ns(event.at) + units.span_ns(event.lasts), event.share)
            for event in power.events
        ]

    def _watts(self, rated_w: Mapping[str, float]) -> dict[str, tuple[str, float, float]]:
        """Activity as written -> what it is, watts that a cap cannot lower, watts that it can."""
        kinds = {}
        for chip, watts in rated_w.items():
            for activity in ACTIVITIES:
                share = getattr(self.power.shares, activity)
                idle = min(share, self.power.shares.idle) if activity in _BUSY else share
                kind = (activity, watts * idle, watts * (share - idle))
                kinds[f"{chip}/{activity}"] = kind
                if len(rated_w) == 1:
                    kinds[activity] = kind
        return kinds

    def draw(self, chips: Mapping[str, int], nodes: int, at: Instant) -> Draw:
        """Watts of `nodes` that are switched on, with so many chips at each activity."""
        weather = self._weather_at(at)
        load = self._load(chips, nodes)
        wanted = load.fixed + load.first + load.last
        cap = self._cap_w(at, chips, nodes)
        if cap is None or wanted * weather.pue <= cap:
            return Draw(
                math.floor(wanted), math.floor(wanted * weather.pue), weather.slowdown, 1.0,
                None if cap is None else math.floor(cap), 0,
            )  # fmt: skip
        budget = cap / weather.pue - load.fixed
        first, throttle = self._governed(load.first, max(0.0, budget - load.last))
        # what is left for serving is all of it, unless training stands still already
        last, serving = self._governed(load.last, max(budget, load.last if first else 0.0))
        it_w = load.fixed + first + last
        site_w, most = math.floor(it_w * weather.pue), math.floor(cap)
        if load.fixed * weather.pue <= cap:
            # the last bits of a float must not trip the breaker
            site_w = min(site_w, most)
        return Draw(
            math.floor(it_w), site_w, min(STANDSTILL, throttle * weather.slowdown), serving, most,
            max(0, site_w - most),
        )  # fmt: skip

    def _governed(self, wanted: float, budget: float) -> tuple[float, float]:
        """Watts above idle that a budget leaves, and how much slower that makes a step."""
        power = self.power
        if wanted <= budget or wanted <= 0:
            return max(0.0, wanted), 1.0
        share = max(0.0, budget) / wanted
        least = power.clock_min**power.clock_exponent
        if share >= least:
            return share * wanted, power.slowdown(share ** (1.0 / power.clock_exponent))
        # clocks at their lowest, and for part of the time nothing at all
        slow = power.slowdown(power.clock_min)
        paused = slow * least / share if share > 0 else STANDSTILL
        return share * wanted, min(STANDSTILL, paused)

    def _load(self, chips: Mapping[str, int], nodes: int) -> _Load:
        power = self.power
        fixed = first = last = 0.0
        busy = count = known = 0
        for name, number in chips.items():
            kind = self._kinds.get(name)
            assert kind is not None and number >= 0, (
                f"{number} chips at {name!r}: none of {list(self._kinds)}"
            )
            activity, idle, above = kind
            known += number
            fixed += number * idle
            if activity == "off":
                continue
            count += number
            if activity in _BUSY:
                busy += number
                if activity in _FIRST:
                    first += number * above
                else:
                    last += number * above
        share = busy / count if count else 0.0
        host = power.host_idle_w + share * (power.host_busy_w - power.host_idle_w)
        fixed += nodes * host + known * power.network_w_per_chip + power.other_w
        return _Load(fixed, first, last)

    def rated_w(self, chips: Mapping[str, int], nodes: int) -> float:
        """At the meter with all these chips in training on the hottest hour of the year: a site's size."""
        training = {name.rpartition("/")[0]: 0 for name in chips}
        for name, number in chips.items():
            training[name.rpartition("/")[0]] += number
        load = self._load({f"{c}/training" if c else "training": n for c, n in training.items()}, nodes)
        climate = self.power.climate
        hottest = climate.mean_c + climate.year_swing_c + climate.day_swing_c
        worst = max(self.power.pue.at(Local(month, 1, 0, 0.0), hottest) for month in range(1, 13))
        return (load.fixed + load.first + load.last) * worst

    def limit(self, at: Instant, lasts: Span, share: float) -> None:
        """A cooling or supply fault that the world met: the site may draw only this share for a while."""
        self._limits.append((at, at + lasts, share))

    def _cap_w(self, at: Instant, chips: Mapping[str, int], nodes: int) -> float | None:
        share = min((share for start, end, share in self._limits if start <= at < end), default=None)
        if share is None:
            return self.power.cap_w
        whole = self.power.cap_w
        return share * (self.rated_w(chips, nodes) if whole is None else whole)

    def next_change(self, at: Instant) -> Instant:
        """The next instant at which the same activity may draw something else: a whole hour, or an event."""
        return min([(at // HOUR + 1) * HOUR, *self.edges(at)])

    def edges(self, after: Instant) -> list[Instant]:
        """When a limit of the supply begins or ends."""
        return [edge for start, end, _ in self._limits for edge in (start, end) if edge > after]

    def pue(self, at: Instant) -> float:
        """Power at the meter over power of the computers."""
        return self._weather_at(at).pue

    def _weather_at(self, at: Instant) -> _Weather:
        """Of the hour that the instant lies in, at its beginning."""
        index = at // HOUR
        found = self._weather.get(index)
        if found is None:
            power, local = self.power, self.almanac.local(index * HOUR)
            heat = (1.0 + power.climate.afternoon(local)) / 2.0
            found = _Weather(
                power.pue.at(local, power.climate.outside_c(local)), 1.0 + power.afternoon_slowdown * heat
            )
            self._weather[index] = found
        return found


class Meter:
    """Integrates a plant's draw, exactly: watts x nanoseconds as integers, hour by hour."""

    def __init__(self, plant: Plant, tariff: Tariff | None = None, at: Instant = 0) -> None:
        self._plant, self._tariff, self._at = plant, tariff, at
        self._chips: Mapping[str, int] = {}
        self._nodes = 0
        self._it = self._site = self._over = self._throttled = 0
        #: Price of a kWh -> watt-nanoseconds bought at it.
        self._bought: dict[float, int] = {}
        self.peak_w = 0

    def set(self, at: Instant, chips: Mapping[str, int], nodes: int) -> Draw:
        """From now on so many chips are at each activity. Returns what the site draws now."""
        self.advance(at)
        self._chips, self._nodes = dict(chips), nodes
        draw = self._plant.draw(self._chips, nodes, at)
        self.peak_w = max(self.peak_w, draw.site_w)
        return draw

    def advance(self, at: Instant) -> None:
        """Count up to now."""
        assert at >= self._at, f"time went back from {self._at} to {at}"
        while self._at < at:
            until = min(at, self._plant.next_change(self._at))
            self._count(self._plant.draw(self._chips, self._nodes, self._at), until - self._at)
            self._at = until

    def _count(self, draw: Draw, span: Span) -> None:
        self._it += draw.it_w * span
        self._site += draw.site_w * span
        self._over += span if draw.over_w else 0
        # the heat of an afternoon is no cap
        capped = draw.cap_w is not None and draw.throttle > 1.0 + self._plant.power.afternoon_slowdown
        self._throttled += span if capped else 0
        self.peak_w = max(self.peak_w, draw.site_w)
        if self._tariff is not None:
            price = self._tariff.price(self._plant.almanac.local(self._at))
            self._bought[price] = self._bought.get(price, 0) + draw.site_w * span

    @property
    def energy_j(self) -> float:
        """At the meter so far, joules."""
        return self._site / SECOND

    @property
    def mean_pue(self) -> float:
        """By energy; 1 before anything was drawn."""
        return self._site / self._it if self._it else 1.0

    @property
    def throttled_ns(self) -> Span:
        """How long a cap slowed training."""
        return self._throttled

    @property
    def over_ns(self) -> Span:
        """How long the site drew more than its cap although everything waited."""
        return self._over

    @property
    def electricity(self) -> float:
        """Money for the energy so far, by the hours it was used in; 0 without a tariff."""
        return math.fsum(price * watts / (HOUR * 1000) for price, watts in self._bought.items())
