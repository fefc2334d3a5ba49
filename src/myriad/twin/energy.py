"""Power of a simulated site: what its chips do becomes watts, a cap slows training, both become money."""

from collections import Counter

from myriad.catalog import chips
from myriad.fleet.site import Site
from myriad.kernel.units import Span
from myriad.twin.almanac import Almanac
from myriad.twin.money import Costs
from myriad.twin.power import Draw, Meter, Plant, Power
from myriad.twin.serving import Serving
from myriad.twin.world import World

#: Training is told of a change of its clocks above this share only. Estimated: below what anybody measures.
_FELT = 0.004
#: What chips in a bucket of the ledger do, as `power` calls it.
_DOES = {
    "productive": "training",
    "checkpoint": "waiting",
    "lost": "training",
    "detect": "waiting",
    "restart": "waiting",
    "straggling": "training",
    "exposed": "training",
    "throttled": "training",
    "burn_in": "burn_in",
    "down": "off",
}


class Energy:
    """The meter of one run, and the hand on the clocks of its chips."""

    def __init__(self, power: Power, costs: Costs | None, world: World, almanac: Almanac) -> None:
        self._world, self._costs = world, costs
        self.plant = Plant(power, _rated(world.site), almanac)
        self.meter = Meter(self.plant, costs.tariff if costs else None, world.now)
        self.draw: Draw | None = None
        self._throttle = 1.0

    def read(self, chips_now: dict[str, int], serving: Serving | None) -> Draw:
        """The site's draw from now on, for chips by bucket of the ledger."""
        does: Counter[str] = Counter()
        for bucket, count in chips_now.items():
            if bucket.startswith("serving"):
                _serving(does, count, serving)
            else:
                does[_DOES.get(bucket, "idle")] += count
        off = does["off"] // max(1, self._world.site.chips_per_node)
        nodes = self._world.site.node_count - off
        self.draw = self.meter.set(self._world.now, does, nodes)
        if abs(self.draw.throttle - self._throttle) > _FELT:
            self._throttle = self.draw.throttle
            self._world.running.throttle(self._throttle)
        return self.draw

    def bill(self, span_ns: Span) -> dict[str, float]:
        """What the span cost, by cause; empty without prices."""
        if self._costs is None:
            return {}
        site = self._world.site
        found = self._costs.bill(
            span_ns,
            nodes=site.node_count,
            chips=site.chip_count,
            electricity=self.meter.electricity,
            peak_w=self.meter.peak_w,
        )
        return {**found._asdict(), "total": found.total}


def _rated(site: Site) -> dict[str, float]:
    return {kind: chips.named(kind).power_w.value for kind in site.kinds()}


def _serving(does: Counter[str], count: int, serving: Serving | None) -> None:
    """Replicas read prompts, write answers, and are warm in between."""
    seen = list(serving.activity.values()) if serving else []
    prefill = sum(one.prefill for one in seen) / len(seen) if seen else 0.0
    decode = sum(one.decode for one in seen) / len(seen) if seen else 0.0
    reading, writing = int(count * prefill), int(count * decode)
    does["prefill"] += reading
    does["decode"] += writing
    does["warm"] += count - reading - writing
