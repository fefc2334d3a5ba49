"""The next fault of a whole site: one Poisson process, thinned; a draw costs the same at every size.

The hazards of all nodes and domains add up to one rate (superposition); the waiting time is exponential at
its highest value in the stretch ahead, the kind and the row are chosen by weight, and a candidate is kept
with the share of its rate now in that highest (thinning: Lewis and Shedler, 1979). Below: `weights`, `ages`,
`causes`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from myriad.fleet.site import NodePlace
from myriad.kernel import units
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, SECOND, Instant
from myriad.twin.faults.causes import CAUSES, Cause, Scope, Symptom, mix_of
from myriad.twin.faults.config import MONTH_DAYS, Faults
from myriad.twin.faults.laws import Law
from myriad.twin.faults.weights import Weights

#: Rates are taken at their highest over so long, then anew. Any value gives the same law.
_STRETCH: Final = 30 * DAY
#: Never: an instant after every other.
NEVER: Final[Instant] = 2**62


class Fault(NamedTuple):
    """One fault: what it does (`symptom`), to whom, and what is seen of it when."""

    cause: str  # a name in `causes.CAUSES`, or switch, pod, power, cooling, slow, flap, false alarm
    scope: Scope
    symptom: Symptom
    #: Row of the node (chip, host, link), index of the rack, pod or feed; -1 for software: any node of the
    #: job.
    where: int
    chip: int  # which of the node's chips, from 0; -1: not one of them
    detect_s: float  # from the fault until it is noticed
    diagnose_s: float  # from then until a node is named
    blamed: bool  # whether the right node is named; else a healthy one of the job, or none
    permanent: bool  # whether the node needs repair; else a restart (of the node, if `down`) is enough
    factor: float = 1.0  # how many times as long steps take (slow, flap); 1: not at all
    lasts_s: float = math.inf  # until it passes by itself; inf: until repaired
    luck: float = 0.0  # uniform draw of this fault, for `Hazards.holds`


class Terrain(NamedTuple):
    """What of a site matters here: rows in site order, and the names of its domains."""

    chips: Sequence[int]  # chips of each node
    rack: Sequence[int]  # index of each node's rack, pod and feed
    pod: Sequence[int]
    power: Sequence[int]
    racks: Sequence[str]
    pods: Sequence[str]
    feeds: Sequence[str]

    @classmethod
    def of(cls, places: Iterable[NodePlace]) -> "Terrain":
        """The terrain of a site's places, in their order."""
        kept = list(places)
        rack, racks = _indices(place.rack for place in kept)
        pod, pods = _indices(place.pod for place in kept)
        power, feeds = _indices(place.power or place.pod for place in kept)
        return cls([place.chips for place in kept], rack, pod, power, racks, pods, feeds)

    @classmethod
    def plain(cls, nodes: int, chips_per_node: int, nodes_per_rack: int = 4) -> "Terrain":
        """So many equal nodes in one pod."""
        racks = [row // nodes_per_rack for row in range(nodes)]
        names = [f"pod/r{rack}" for rack in range(racks[-1] + 1)]
        same = [0] * nodes
        return cls([chips_per_node] * nodes, racks, same, same, names, ["pod"], ["pod"])


def _indices(names: Iterable[str]) -> tuple[list[int], list[str]]:
    index: dict[str, int] = {}
    rows = [index.setdefault(name, len(index)) for name in names]
    return rows, list(index)


class _Kind(NamedTuple):
    """One term of the sum."""

    name: str
    rows: Weights | int  # by weight, or so many alike
    per_day: float  # events a day of one unit of weight
    ages: bool
    make: Callable[[int], Fault]


class Hazards:
    """Faults of one site in the order of time. The same stream and calls give the same faults."""

    def __init__(self, faults: Faults, terrain: Terrain, stream: Stream, start: Instant = 0) -> None:
        self.faults, self.terrain = faults, terrain
        self._stream, self._start = stream.split("hazards"), start
        self._mix = {scope: _Mix(faults, scope) for scope in ("chip", "host", "link")}
        self._bath = faults.age.multiplier()
        self._ages = [faults.age.start_s(pod) for pod in terrain.pods]
        self._distinct = sorted(dict.fromkeys(self._ages))
        self._flat = faults.age.flat
        nodes = len(terrain.chips)
        #: Rows of the lemons, in order, and of the nodes that are always slow.
        self.lemons = _some(nodes, faults.lemons.share, stream.split("lemons"))
        self.slow = _some(nodes, faults.slow.share, stream.split("slow"))
        #: Rate of a healthy node over the fleet's mean, which is what rates are.
        self._healthy = nodes / (nodes + len(self.lemons) * (faults.lemons.factor - 1.0))
        self._factors = [self._healthy] * nodes
        for row in self.lemons:
            self._factors[row] *= faults.lemons.factor
        chips = list(terrain.chips)
        by_chip = [count * factor for count, factor in zip(chips, self._factors, strict=True)]
        self._by_chip, self._by_node = Weights(by_chip), Weights(list(self._factors))
        #: Weights that no factor changes.
        self._by_link = Weights([float(count) for count in chips])
        self._kinds = self._terms()
        self._domains: dict[Scope, list[list[int]]] = {}

    # ---- what is asked ---------------------------------------------------------------------------

    def next(self, now: Instant) -> tuple[Instant, Fault]:
        """The next fault after `now`; `NEVER` if nothing can fail.

        The process has no memory: a change of a factor counts from the next call on, and whoever wants it
        to count at once may call again and forget the earlier answer.
        """
        while True:
            end = now + _STRETCH
            most = self._most(now, end)
            rates = [self._rate(kind) * (most if kind.ages else 1.0) for kind in self._kinds]
            total = sum(rates)
            if total <= 0:
                return NEVER, _nothing()
            at = now + max(int(self._stream.exponential(DAY / total)), 1)
            if at > end:
                now = end
                continue
            kind = self._kinds[_chosen(rates, total * self._stream.uniform())]
            row = self._row(kind)
            if not kind.ages or self._kept(row, at, most):
                return at, kind.make(row)
            now = at

    def rows_of(self, fault: Fault) -> Sequence[int]:
        """Rows of the nodes of a rack, pod or feed that a fault is of."""
        if fault.scope not in self._domains:
            terrain = self.terrain
            of = {"rack": terrain.rack, "power": terrain.power}.get(fault.scope, terrain.pod)
            rows: list[list[int]] = [[] for _ in range(max(of) + 1)]
            for row, domain in enumerate(of):
                rows[domain].append(row)
            self._domains[fault.scope] = rows
        return self._domains[fault.scope][fault.where]

    def holds(self, fault: Fault, *, serving: bool = True, busy: bool = True) -> bool:
        """Whether a fault strikes a node as it is when the time has come: one out of service does not fail.

        Thinning by the state of the node: an idle one fails `hardware.idle` times as often as a busy one.
        """
        if not serving:
            return False
        hardware = fault.scope in ("chip", "host") and fault.symptom not in ("slow", "false_alarm")
        return busy or not hardware or fault.luck < self.faults.hardware.idle

    def per_day(self, at: Instant) -> float:
        """Mean faults a day at an instant, of all kinds (exact where all pods are of one age)."""
        now = self._multiplier(0, at)
        return sum(self._rate(kind) * (now if kind.ages else 1.0) for kind in self._kinds)

    def factor(self, row: int) -> float:
        """How often a node fails, over a healthy one."""
        return self._factors[row] / self._healthy

    def set_factor(self, row: int, factor: float) -> None:
        """From now on a node fails `factor` times as often as a healthy one."""
        value = factor * self._healthy
        self._factors[row] = value
        self._by_chip.set(row, value * self.terrain.chips[row])
        self._by_node.set(row, value)

    # ---- the terms -------------------------------------------------------------------------------

    def _terms(self) -> list[_Kind]:
        """Every kind of event with its rate a day."""
        faults, terrain = self.faults, self.terrain
        network, plant, slow = faults.network, faults.plant, faults.slow
        racks, pods, feeds = len(terrain.racks), len(terrain.pods), len(terrain.feeds)
        nodes, ports = len(terrain.chips), network.links_per_chip
        switches = network.switches / 100 / MONTH_DAYS * network.switches_per_rack
        terms = (
            _Kind("chip", self._by_chip, faults.hardware.chip / 1000, True, self._of("chip")),
            _Kind("host", self._by_node, faults.hardware.host / 1000, True, self._of("host")),
            _Kind("link", self._by_chip, network.links / 100 / MONTH_DAYS * ports, True, self._of("link")),
            _Kind("flap", self._by_link, network.flaps * network.flap_harms * ports, False, self._flap),
            _Kind("switch", racks, switches, False, self._switch),
            _Kind("pod", pods, plant.pods / 1000, False, self._pod),
            _Kind("power", feeds, plant.power / 1000, False, self._power),
            _Kind("cooling", pods, plant.cooling / 1000, False, self._cooling),
            _Kind("slow node", nodes, slow.nodes / 1000, False, self._slow_node),
            _Kind("slow link", nodes, slow.links / 1000, False, self._slow_link),
            _Kind("false alarm", nodes, faults.false_alarms / 1000, False, self._false_alarm),
        )
        return [kind for kind in terms if kind.per_day > 0 and self._possible(kind)]

    def _possible(self, kind: _Kind) -> bool:
        """Raises ValueError where a rate has no cause to be drawn from."""
        mix = self._mix.get(kind.name)
        if mix is not None and not mix.total:
            raise ValueError(f"mix names no cause of scope {kind.name}: name one, or set the rate of it to 0")
        return True

    def _rate(self, kind: _Kind) -> float:
        units_ = kind.rows if isinstance(kind.rows, int) else kind.rows.total
        return kind.per_day * units_

    def _row(self, kind: _Kind) -> int:
        share = self._stream.uniform()
        return int(share * kind.rows) if isinstance(kind.rows, int) else kind.rows.choose(share)

    # ---- ages ------------------------------------------------------------------------------------

    def _multiplier(self, pod: int, at: Instant) -> float:
        return self._bath(self._ages[pod] + units.seconds(at - self._start))

    def _most(self, now: Instant, end: Instant) -> float:
        if self._flat:
            return 1.0
        begin_s, end_s = units.seconds(now - self._start), units.seconds(end - self._start)
        return max(self._bath.most(age + begin_s, age + end_s) for age in self._distinct)

    def _kept(self, row: int, at: Instant, most: float) -> bool:
        if self._flat:
            return True
        return self._stream.happens(self._multiplier(self.terrain.pod[row], at) / most)

    # ---- what each is like -----------------------------------------------------------------------

    def _of(self, scope: Scope) -> Callable[[int], Fault]:
        mix = self._mix[scope]

        def make(row: int) -> Fault:
            name = mix.draw(self._stream)
            chip = self._stream.integer(0, self.terrain.chips[row] - 1) if scope == "chip" else -1
            return drawn(name, self.faults, self._stream, row, chip)

        return make

    def _flap(self, row: int) -> Fault:
        network = self.faults.network
        return self._passing("flap", "link", "flap", row, network.flap_factor, network.flap_lasts)

    def _switch(self, rack: int) -> Fault:
        network = self.faults.network
        if network.dual:
            return self._passing("switch", "rack", "slow", rack, network.half, network.switch_lasts)
        return self._passing("switch", "rack", "down", rack, 1.0, network.switch_lasts, detect_s=60)

    def _pod(self, pod: int) -> Fault:
        return self._passing("pod", "pod", "down", pod, 1.0, self.faults.plant.pod_lasts)

    def _power(self, feed: int) -> Fault:
        return self._passing("power", "power", "down", feed, 1.0, self.faults.plant.power_lasts)

    def _cooling(self, pod: int) -> Fault:
        plant = self.faults.plant
        return self._passing("cooling", "cooling", "slow", pod, plant.cooling_factor, plant.cooling_lasts)

    def _slow_node(self, row: int) -> Fault:
        slow = self.faults.slow
        return self._passing("slow", "host", "slow", row, slow.node_factor, slow.node_lasts)

    def _slow_link(self, row: int) -> Fault:
        slow = self.faults.slow
        return self._passing("slow", "link", "slow", row, slow.link_factor, slow.link_lasts)

    def _false_alarm(self, row: int) -> Fault:
        return self._passing("false alarm", "host", "false_alarm", row, 1.0, "0s")

    def _passing(
        self,
        cause: str,
        scope: Scope,
        symptom: Symptom,
        index: int,
        factor: float,
        lasts: str,
        detect_s: float = 10,
    ) -> Fault:
        """What passes by itself: exponential times, as their sources give means only."""
        mean_s = units.span_ns(lasts) / SECOND
        lasts_s = self._stream.exponential(mean_s) if mean_s else 0.0
        luck = self._stream.uniform()
        return Fault(cause, scope, symptom, index, -1, detect_s, 0.0, True, False, factor, lasts_s, luck)


class _Mix:
    """The causes of one scope, by count."""

    def __init__(self, faults: Faults, scope: str) -> None:
        counts = mix_of(faults.mix)
        self.names = [name for name, count in counts.items() if CAUSES[name].scope == scope and count > 0]
        self._counts = [float(counts[name]) for name in self.names]
        self.total = sum(self._counts)

    def draw(self, stream: Stream) -> str:
        return self.names[_chosen(self._counts, self.total * stream.uniform())]


def draw_cause(faults: Faults, scope: Scope, stream: Stream) -> str:
    """A cause of a scope by the counts of the mix; "" if the mix names none."""
    mix = _Mix(faults, scope)
    return mix.draw(stream) if mix.total else ""


def drawn(name: str, faults: Faults, stream: Stream, index: int, chip: int = -1) -> Fault:
    """A fault of a cause, with its own times and luck."""
    cause = CAUSES[name]
    detect_s, diagnose_s, blamed = _seen(cause, faults, stream)
    slow = cause.symptom == "slow"
    permanent = stream.happens(cause.permanent)
    luck = stream.uniform()
    factor = faults.slow.node_factor if slow else 1.0
    symptom = cause.symptom
    return Fault(
        name,
        cause.scope,
        symptom,
        index,
        chip,
        detect_s,
        diagnose_s,
        blamed,
        permanent,
        factor,
        math.inf,
        luck,
    )


def _seen(cause: Cause, faults: Faults, stream: Stream) -> tuple[float, float, bool]:
    """Until it is noticed, until a node is named, and whether it is the right one."""
    detection = faults.detection
    named, spread = cause.blamed, detection.spread
    detect = Law(cause.detect_s, spread)
    diagnose = Law(cause.diagnose_s, spread, cause.diagnose_most_s)
    if not detection.monitors:
        timeout_s, by_hand_s = (
            units.span_ns(text) / SECOND for text in (detection.timeout, detection.by_hand)
        )
        exit_s = units.span_ns(detection.exit) / SECOND
        waits = cause.symptom in ("hang", "down") or cause.scope == "link"
        slowly = cause.symptom in ("slow", "corrupt")
        detect = (
            Law(timeout_s, 0.0)
            if waits
            else Law(max(cause.detect_s, timeout_s) if slowly else exit_s, spread)
        )
        diagnose = Law(max(by_hand_s, cause.diagnose_s), spread)
        named = min(cause.blamed, detection.by_hand_blamed)
    times = detection.factor * detect.draw(stream), detection.factor * diagnose.draw(stream)
    return *times, stream.happens(named)


def _chosen(weights: Sequence[float], left: float) -> int:
    """The index at which the running sum of a short list passes `left`."""
    for index, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return index
    return max(index for index, weight in enumerate(weights) if weight > 0)


def _some(nodes: int, share: float, stream: Stream) -> tuple[int, ...]:
    """Rows of this share of the nodes, in order; what is left over after whole nodes is one by chance."""
    count = min(int(share * nodes + stream.uniform()), nodes)
    # the first draws of a shuffle that is never done in full
    moved: dict[int, int] = {}
    rows = []
    for place in range(count):
        other = stream.integer(place, nodes - 1)
        rows.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    return tuple(sorted(rows))


def _nothing() -> Fault:
    return Fault("nothing", "software", "false_alarm", -1, -1, 0.0, 0.0, True, False)
