"""Local time and outside temperature of a simulated site: what power, prices and callers go by.

Instants of the world count from the scenario's start. Pure arithmetic on the calendar; the lowest module of
`power`, `money` and `load`.
"""

import datetime
import math
from typing import Final, NamedTuple

import msgspec

from myriad.kernel.errors import UserError
from myriad.kernel.units import DAY, HOUR, Instant

_TURN: Final = 2.0 * math.pi
_YEAR_DAYS: Final = 365.25


class Local(NamedTuple):
    """A moment on the site's own calendar."""

    month: int  # 1 to 12
    day: int  # of the year, 1 to 366
    weekday: int  # Monday is 0
    hour: float  # 0 to 24


class Almanac:
    """From instants to local time. `start` is the local date (and whole hour) of instant 0: `2026-04-08`."""

    def __init__(self, start: str | datetime.date = "2026-01-01") -> None:
        self.start = _start(start)
        self._hours: dict[int, Local] = {}

    def local(self, at: Instant) -> Local:
        """The moment at an instant."""
        index, rest = divmod(at, HOUR)
        whole = self._hours.get(index) or self._whole(index)
        return whole._replace(hour=whole.hour + rest / HOUR) if rest else whole

    def _whole(self, index: int) -> Local:
        when = self.start + datetime.timedelta(hours=index)
        local = Local(when.month, when.timetuple().tm_yday, when.weekday(), float(when.hour))
        self._hours[index] = local
        return local

    def midnight(self, day: int) -> Instant:
        """When the day with this number begins; day 0 is the one that instant 0 lies in."""
        return day * DAY - self.start.hour * HOUR

    def day(self, at: Instant) -> int:
        """Number of the day that an instant lies in."""
        return (at + self.start.hour * HOUR) // DAY


def _start(start: str | datetime.date) -> datetime.datetime:
    if isinstance(start, str):
        try:
            start = datetime.datetime.fromisoformat(start)
        except ValueError:
            remedy = "Write 2026-04-08, or 2026-04-08T06:00"
            raise UserError("is not a date", field="start", value=start, remedy=remedy) from None
    if not isinstance(start, datetime.datetime):
        start = datetime.datetime(start.year, start.month, start.day)
    if start.minute or start.second or start.microsecond or start.tzinfo:
        remedy = "Write the local date, and an hour if need be: 2026-04-08T06:00"
        raise UserError("must be a whole hour of local time", field="start", value=str(start), remedy=remedy)
    return start


class Climate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Outside temperature, degrees Celsius: a year's wave and a day's wave. Defaults: Shaoguan, Guangdong.

    Published climate summaries of Shaoguan: about 20 C over the year, 10 to 11 C in January and 28 to 29 C
    in July; the swing within a day is estimated.
    """

    mean_c: float = 20.0
    #: Half of the difference between the warmest and the coldest time of the year.
    year_swing_c: float = 9.5
    #: Half of the difference between afternoon and dawn.
    day_swing_c: float = 4.0
    #: Day of the year and hour of the day that are warmest.
    warmest_day: int = 205
    warmest_hour: float = 15.0

    def __post_init__(self) -> None:
        if self.year_swing_c < 0 or self.day_swing_c < 0:
            raise ValueError("year_swing_c and day_swing_c must be 0 or more")
        if not (1 <= self.warmest_day <= 366 and 0 <= self.warmest_hour < 24):
            raise ValueError("warmest_day must be 1 to 366 and warmest_hour 0 to 24")

    def outside_c(self, local: Local) -> float:
        """The temperature at a moment."""
        season = math.cos(_TURN * (local.day - self.warmest_day) / _YEAR_DAYS)
        return self.mean_c + self.year_swing_c * season + self.day_swing_c * self.afternoon(local)

    def afternoon(self, local: Local) -> float:
        """1 at the warmest hour of a day, -1 at the coldest."""
        return math.cos(_TURN * (local.hour - self.warmest_hour) / 24.0)
