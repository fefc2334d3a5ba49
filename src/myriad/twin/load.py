"""The load of an inference service in the simulated world: what its gateway reports, and what was served.

    Rate (hour, weekday, bursts) or a trace -> requests/s by slot (`curves`, `requests`)
    ready replicas x their rating           -> in flight, time to first token, late, busy (`replicas`)
    beyond what they can do                 -> the gateway's queue, as a fluid, and what it refuses

`Demand.observe` covers the time since the last call, during which the number of ready replicas did not
change: call it before each change and when `next_at` says. Rates do not depend on when it is called, so the
world may look seldom while nothing happens.
"""

import dataclasses
import math
from pathlib import Path
from typing import NamedTuple

import msgspec

from myriad.catalog.shelf import Catalog
from myriad.kernel import units
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, SECOND, Instant, Span
from myriad.performance.serving import Lengths
from myriad.twin import replicas, requests
from myriad.twin.almanac import Almanac
from myriad.twin.curves import Bursts, Rate, Rates
from myriad.twin.replicas import Planned, Replica, Served
from myriad.workload.services import InferenceService, Replicas


class Tokens(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lengths of prompts or answers, tokens: log-normal with this mean and coefficient of variation."""

    mean: float
    cv: float = 1.0

    def __post_init__(self) -> None:
        if not (self.mean >= 1 and 0 <= self.cv <= 10):
            raise ValueError("mean must be 1 token or more and cv between 0 and 10")


class Gateway(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long requests wait where no replica takes them, and how often the gateway tells of its load."""

    #: As the defaults of the routing policy.
    queue_deadline: str = "30s"
    queue_max: int = 1000
    #: Time between reports, and the slot in which the rate is steady. A day holds a whole number of them.
    every: str = "5m"
    #: While the rate is within `change` of what was reported last, reports may be this far apart.
    at_most: str = "1h"
    change: float = 0.15

    def __post_init__(self) -> None:
        for name in ("queue_deadline", "every", "at_most"):
            units.check_span(name, getattr(self, name))
        every = units.span_ns(self.every)
        if not every or DAY % every or units.span_ns(self.at_most) < every:
            raise ValueError("every must divide a day and at_most be no less: write 5m and 1h")
        if self.queue_max < 0 or not 0 <= self.change <= 1:
            raise ValueError("queue_max must be 0 or more and change between 0 and 1")


class ServiceLoad(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service of the scenario, who calls it, and what its replicas can do."""

    service: InferenceService
    #: With a trace it may be left out: then requests come as in the trace, over and over.
    rate: Rate | None = None
    #: A file of requests (Azure CSV, Mooncake JSON lines); its course from slot to slot multiplies the curve.
    trace: str = ""
    skip_bad_rows: bool = False
    #: Where a trace is given they are those of the trace.
    prompt: Tokens | None = None
    answer: Tokens | None = None
    #: Share of prompt tokens that need no reading because a replica still holds them.
    cached: float = 0.0
    #: What a replica can do: numbers, or names for the performance model. Exactly one.
    replica: Replica | None = None
    plan: Planned | None = None
    gateway: Gateway = Gateway()

    def __post_init__(self) -> None:
        if (self.replica is None) == (self.plan is None):
            raise ValueError("give exactly one of replica and plan")
        if self.rate is None and not self.trace:
            raise ValueError("give a rate, a trace, or both")
        if not self.trace and (self.prompt is None or self.answer is None):
            raise ValueError("give prompt and answer, or a trace that has them")
        if not 0 <= self.cached < 1:
            raise ValueError("cached must be 0 or more and below 1")


class Observation(NamedTuple):
    """A service since the last call. Shares and means are over the whole time; 0 where nothing came."""

    in_flight: float  # requests inside replicas, on average over the last slot
    queued: int  # requests at the gateway, now
    busy: float  # share in use of what the ready replicas can take with the promise kept
    requests: int  # served
    refused: int  # waited too long, or found the queue full
    tokens_in: int
    tokens_out: int
    ttft_s: float  # mean, waiting at the gateway included
    late: float  # share of all requests whose first token missed the promise; refused ones count
    prefill: float  # share of the replicas' time in reading prompts ...
    decode: float  # ... in writing answers only; the rest they are warm


class Demand:
    """The load of one service in one run. Deterministic: the same stream and calls give the same answers."""

    def __init__(
        self,
        load: ServiceLoad,
        replica: Replica,
        chance: Stream,
        almanac: Almanac,
        trace: requests.RequestTrace | None,
    ) -> None:
        rate, profile = _rate(load, trace)
        self.load, self.replica = load, replica
        self._prompt, self._answer = lengths(load, trace)
        every = units.span_ns(load.gateway.every)
        self._rates = Rates(rate, every, chance, almanac, profile)
        self._served = Served(
            replica, load.service.slo, self._answer.mean, load.service.concurrency, rate.arrivals_cv
        )
        self._every, self._at_most = every, units.span_ns(load.gateway.at_most)
        self._deadline_s = units.seconds(units.span_ns(load.gateway.queue_deadline))
        self._at: Instant = 0
        self._ready = 0
        self._backlog = 0.0
        #: Of all time: what was counted, and what of it was told as whole numbers.
        self._count = _Count()
        self._told = (0, 0)
        self._shown = self._served.seen(0.0)

    def observe(self, at: Instant, ready: int) -> Observation:
        """From the last call to `at`, with so many ready replicas all the while."""
        assert at >= self._at and ready >= 0, f"{ready} replicas from {self._at} to {at}"
        before = dataclasses.replace(self._count)
        span_s = (at - self._at) / SECOND
        while self._at < at:
            rate, end = self._rates.slot(self._at)
            end = min(end, at)
            self._pass(rate, (end - self._at) / SECOND, ready)
            self._at = end
        self._ready = ready
        return self._told_since(before, span_s, ready)

    def _pass(self, rate: float, span_s: float, ready: int) -> None:
        """A piece of one slot: the queue as a fluid, then the replicas at the rate that reaches them."""
        most = ready * self._served.most
        room = min(float(self.load.gateway.queue_max), self._deadline_s * (most if ready else rate))
        queue = _fluid(self._backlog, rate - most, room, span_s)
        served = max(0.0, rate * span_s + self._backlog - queue.end - queue.refused)
        self._backlog = queue.end
        count, waited_s = self._count, queue.mean / most if most else 0.0
        count.refused += queue.refused
        count.arrived += rate * span_s
        count.missed += queue.refused
        if not ready:
            self._shown = self._served.seen(0.0)
            return
        each = served / span_s / ready
        seen = self._served.seen(each, waited_s)
        count.served += served
        count.ttft += served * seen.ttft_s
        count.missed += served * seen.late
        count.busy += span_s * min(1.0, each / self._served.rate)
        count.reading += span_s * min(seen.reading, seen.working)
        count.writing += span_s * max(0.0, seen.working - seen.reading)
        self._shown = seen

    def _told_since(self, before: "_Count", span_s: float, ready: int) -> Observation:
        count = self._count
        served, refused = round(count.served), round(count.refused)
        new = served - self._told[0]
        ended = count.served - before.served
        dealt = ended + count.refused - before.refused
        told = Observation(
            in_flight=self._shown.in_flight * ready,
            queued=round(self._backlog),
            busy=min(1.0, _over(count.busy - before.busy, span_s)),
            requests=new,
            refused=refused - self._told[1],
            tokens_in=round(served * self._prompt.mean) - round(self._told[0] * self._prompt.mean),
            tokens_out=round(served * self._answer.mean) - round(self._told[0] * self._answer.mean),
            ttft_s=_over(count.ttft - before.ttft, ended),
            late=min(1.0, _over(count.missed - before.missed, dealt)),
            prefill=_over(count.reading - before.reading, span_s),
            decode=_over(count.writing - before.writing, span_s),
        )
        self._told = served, refused
        return told

    def next_at(self) -> Instant:
        """When to look again: the load, as far as it has changed by then, will be told from there."""
        now = self._at
        # the slot that was just observed, if `now` is at its end
        reference, _ = self._rates.slot(max(0, now - 1))
        rate, end = self._rates.slot(now)
        if not self._ready and rate > 0:
            # nobody serves: the gateway tells of its first waiting request at once
            return min(end, now + max(SECOND, int(SECOND / rate)))
        most = self._ready * self._served.rate
        limit = now + self._at_most
        while end < limit:
            changed = abs(rate - reference) > self.load.gateway.change * reference
            if changed or self._backlog > 0.5 or (rate > most >= reference):
                return end
            rate, end = self._rates.slot(end)
        return limit

    def rate(self, at: Instant) -> float:
        """Requests/s that come at an instant."""
        return self._rates.slot(at)[0]


@dataclasses.dataclass(slots=True)
class _Count:
    """Sums since the beginning."""

    arrived: float = 0.0
    served: float = 0.0
    refused: float = 0.0
    missed: float = 0.0  # refused, or late
    ttft: float = 0.0  # of all that were served, seconds
    busy: float = 0.0  # seconds, of one replica
    reading: float = 0.0
    writing: float = 0.0


class _Queue(NamedTuple):
    end: float
    mean: float
    refused: float


def _fluid(start: float, net: float, room: float, span_s: float) -> _Queue:
    """A queue that grows by `net` a second, between 0 and `room`; what finds it full is refused."""
    refused = max(0.0, start - room)
    start = min(start, room)
    end = start + net * span_s
    if 0.0 <= end <= room:
        return _Queue(end, (start + end) / 2.0, refused)
    edge = 0.0 if end < 0 else room
    # a straight line to the edge, then along it
    moving_s = (edge - start) / net
    mean = ((start + edge) / 2.0 * moving_s + edge * (span_s - moving_s)) / span_s
    return _Queue(edge, mean, refused + max(0.0, end - room))


def _over(total: float, by: float) -> float:
    return total / by if by > 0 else 0.0


def lengths(load: ServiceLoad, trace: requests.RequestTrace | None) -> tuple[Lengths, Lengths]:
    """Of prompts and answers, as the replicas' rating takes them."""
    found = []
    for given, column in (
        (load.prompt, trace.prompt if trace else None), (load.answer, trace.answer if trace else None)
    ):  # fmt: skip
        if given is not None:
            found.append(Lengths(mean=given.mean, cv=given.cv))
        else:
            assert column is not None, "checked when the file was read"
            mean = max(1.0, float(column.mean()))
            found.append(Lengths(mean=mean, cv=float(column.std()) / mean))
    return found[0], found[1]


def _rate(load: ServiceLoad, trace: requests.RequestTrace | None) -> tuple[Rate, tuple[float, ...]]:
    if trace is None:
        assert load.rate is not None, "checked when the file was read"
        return load.rate, ()
    profile = trace.profile(units.seconds(units.span_ns(load.gateway.every)))
    if load.rate is not None:
        return load.rate, profile
    cv = trace.interarrival_cv()
    flat = Rate(mean=trace.rate, diurnal=0.0, weekend=1.0, bursts=Bursts(cv=0.0), arrivals_cv=min(10.0, cv))
    return flat, profile


def demand(
    load: ServiceLoad,
    chance: Stream,
    *,
    almanac: Almanac | None = None,
    catalog: Catalog | None = None,
    folder: Path | None = None,
) -> Demand:
    """The load as a scenario gives it. `folder` is where its traces lie. Raises UserError."""
    trace = None
    if load.trace:
        trace = requests.read((folder or Path()) / load.trace, skip_bad_rows=load.skip_bad_rows)
    replica = load.replica
    if replica is None:
        assert load.plan is not None, "checked when the file was read"
        prompt, answer = lengths(load, trace)
        unread = dataclasses.replace(prompt, mean=max(1.0, prompt.mean * (1.0 - load.cached)))
        replica = replicas.rated(load.plan, load.service, unread, answer, catalog or Catalog.shipped())
    return Demand(load, replica, chance.split(load.service.name), almanac or Almanac(), trace)


def wanted_replicas(demand: Demand, over_ns: Span, at: Instant = 0) -> int:
    """Replicas that the mean rate of a span fills to their rating: a first guess of a service's size."""
    every = units.span_ns(demand.load.gateway.every)
    slots = max(1, over_ns // every)
    mean = sum(demand.rate(at + index * every) for index in range(slots)) / slots
    return math.ceil(mean / demand.replica.requests_per_s)


class Services(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The services of a scenario by name, and one knob for the size of the site."""

    #: Multiplies all rates and limits of replicas: 10 makes them the services of a site ten times as large.
    scale: float = 1.0
    loads: dict[str, ServiceLoad] = {}

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError("scale must be more than 0")
        for name, load in self.loads.items():
            if load.service.name != name:
                raise ValueError(f"loads.{name}: service.name must be {name!r} too")

    def scaled(self) -> tuple[ServiceLoad, ...]:
        """The services at that scale."""
        return tuple(_scaled(load, self.scale) for load in self.loads.values())


def _scaled(load: ServiceLoad, scale: float) -> ServiceLoad:
    if scale == 1.0:
        return load
    least, most = load.service.replicas.min, load.service.replicas.max
    few = math.ceil(least * scale)
    limits = Replicas(min=few, max=max(1, few, math.ceil(most * scale)))
    service = msgspec.structs.replace(load.service, replicas=limits)
    rate = load.rate and msgspec.structs.replace(load.rate, mean=load.rate.mean * scale)
    return msgspec.structs.replace(load, service=service, rate=rate)
