"""How often things fail in the course of a site's life: many at first, few in the middle, more at the end.

The bathtub of reliability engineering (Klutke, Kiessler and Wortman, 2003), as a multiplier of every hardware
rate: an infant part that decays, a steady part, and a Weibull wear-out that grows with a power of age.
"""

import math

import msgspec

from myriad.kernel import units

#: Growth of the wear-out part: Weibull hazard t^(k - 1) with shape k = 5. Estimated.
WEAR_POWER = 4.0
DAY_S = 86_400.0


class Age(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A site's age when the simulation begins, and what it does to hardware. The default: no effect."""

    #: How long the nodes have been in service at the start.
    at_start: str = "0d"
    #: The same for pods that were installed at another time: pod name -> span.
    pods: dict[str, str] = {}
    #: Multiplier of a new node over a steady one; 1: no infant mortality. Alibaba's young clusters failed 2.5
    #: to 5 times for 1,000 chip-days where settled ones of others do 0.3 to 0.8 (Aegis, NSDI 2025). Derived.
    infant: float = 1.0
    #: The infant excess falls to 1/e in this time. Estimated: burn-in campaigns last one to three months.
    infant_span: str = "60d"
    #: Multiplier at the end of the life over a steady node; 1: no wear. Estimated.
    wear: float = 1.0
    #: When a node is written off; older ones stay as worn. Five years: common depreciation. Estimated.
    life: str = "1825d"
    #: Whether rates are the mean over a life (they are divided by the mean multiplier) or of steady nodes.
    mean_over_life: bool = True

    def __post_init__(self) -> None:
        for name in ("at_start", "infant_span", "life"):
            units.check_span(name, getattr(self, name))
        for pod, text in self.pods.items():
            units.check_span(f"pods.{pod}", text)
        for name in ("infant", "wear"):
            if not 1 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 1 (no effect) or more, not {getattr(self, name)}")
        for name in ("infant_span", "life"):
            if not units.span_ns(getattr(self, name)):
                raise ValueError(f"{name} must be more than 0, for example 60d")

    @property
    def flat(self) -> bool:
        """Whether age has no effect."""
        return self.infant == 1 and self.wear == 1

    def start_s(self, pod: str) -> float:
        """Age of a pod's nodes at the start, in seconds."""
        return units.seconds(units.span_ns(self.pods.get(pod, self.at_start)))

    def multiplier(self) -> "Bathtub":
        """The multiplier as a function of age."""
        return Bathtub(self)


class Bathtub:
    """`multiplier(age_s)`, and its ceiling over a stretch of time, for thinning."""

    def __init__(self, age: Age) -> None:
        self._infant, self._wear = age.infant - 1.0, age.wear - 1.0
        self._span = units.seconds(units.span_ns(age.infant_span))
        self._life = units.seconds(units.span_ns(age.life))
        self._scale = 1.0 / self._mean() if age.mean_over_life else 1.0

    def _mean(self) -> float:
        early = self._infant * self._span / self._life * -math.expm1(-self._life / self._span)
        return 1.0 + early + self._wear / (WEAR_POWER + 1.0)

    def __call__(self, age_s: float) -> float:
        worn = min(max(age_s, 0.0) / self._life, 1.0)
        early = self._infant * math.exp(-max(age_s, 0.0) / self._span)
        return self._scale * (1.0 + early + self._wear * math.pow(worn, WEAR_POWER))

    def most(self, from_s: float, to_s: float) -> float:
        """An upper bound between two ages: within a life the sum is convex, so it is highest at an end."""
        return max(self(from_s), self(min(to_s, max(self._life, from_s))), self(to_s))
