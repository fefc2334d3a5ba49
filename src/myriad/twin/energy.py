"""Power of a simulated site: what its chips do becomes watts, a cap slows training, both become money."""

from collections import Counter

from myriad.catalog import chips
from myriad.fleet.site import Site
from myriad.kernel.units import Instant, Span
from myriad.ledger.books import Books
from myriad.ledger.buckets import BUCKET_OF
from myriad.twin.almanac import Almanac
from myriad.twin.money import Bill, Costs
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
        self._kinds = world.site.kinds()
        self.plant = Plant(power, _rated(world.site), almanac)
        self.meter = Meter(self.plant, costs.tariff if costs else None, world.now)
        self._throttle = 1.0
        # until it is read for the first time, the site idles
        idle = {self._name(kind, "idle"): _chips(world.site, kind) for kind in self._kinds}
        self.draw: Draw = self.meter.set(world.now, idle, world.site.node_count)

    def _name(self, kind: str, activity: str) -> str:
        """As `power` writes it: with the kind of chip where there are several."""
        return activity if len(self._kinds) == 1 else f"{kind}/{activity}"

    def read(self, books: Books, serving: Serving | None) -> Draw:
        """The site's draw from now on, for what its chips do by the ledger."""
        chips: dict[str, int] = {}
        nodes = self._world.site.node_count
        for kind, does in _activities(books, serving).items():
            nodes -= does["off"] // max(1, self._kinds[kind][1])
            for activity, count in does.items():
                chips[self._name(kind, activity)] = count
        self.draw = self.meter.set(self._world.now, chips, nodes)
        if abs(self.draw.throttle - self._throttle) > _FELT:
            self._throttle = self.draw.throttle
            self._world.running.throttle(self._throttle)
        return self.draw

    def next_look(self, after: Instant, every: Span) -> Instant:
        """When to read again: after so long, or when a limit of the supply begins or ends."""
        return min([after + every, *self.plant.edges(after)])

    def bill(self, span_ns: Span) -> Bill | None:
        """What the span cost; None without prices."""
        if self._costs is None:
            return None
        site = self._world.site
        return self._costs.bill(
            span_ns,
            nodes=site.node_count,
            chips=site.chip_count,
            electricity=self.meter.electricity,
            peak_w=self.meter.peak_w,
        )


def _rated(site: Site) -> dict[str, float]:
    return {kind: chips.named(kind).power_w.value for kind in site.kinds()}


def _chips(site: Site, kind: str) -> int:
    """How many of a kind the site has."""
    pods = [pod for pod in site.pods if (pod.chip or site.chip) == kind]
    return sum(pod.node_count * site.chips_in(pod) for pod in pods)


def _activities(books: Books, serving: Serving | None) -> dict[str, Counter[str]]:
    """Kind of chip -> activity -> chips."""
    found: dict[str, Counter[str]] = {}
    for terms, page in zip(books.terms, books.pages, strict=True):
        for slot, count in enumerate(page.chips):
            if not count:
                continue
            does, bucket = found.setdefault(terms.chip, Counter()), BUCKET_OF[slot]
            if bucket.startswith("serving"):
                _serving(does, count, serving)
            else:
                does[_DOES.get(bucket, "idle")] += count
    return found


def _serving(does: Counter[str], count: int, serving: Serving | None) -> None:
    """Replicas read prompts, write answers, and are warm in between."""
    prefill, decode = serving.shares() if serving else (0.0, 0.0)
    reading, writing = int(count * prefill), int(count * decode)
    does["prefill"] += reading
    does["decode"] += writing
    does["warm"] += count - reading - writing
