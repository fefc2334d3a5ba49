"""What one replica can do, and what callers see at any load: a closed form that the promise calibrates.

A replica is rated: so many requests/s with its promise (SLO) just kept, so many requests inside it then, and
its times without load. The rating is `myriad plan --serve`'s, or plain numbers. Between nothing and that,

* all time in the replica grows with the requests in it, as steps grow with the batch: T = T0 + s b, and by
  Little's law b = rate x T, so b = rate T0 / (1 - rate s);
* the wait for the first token is that of a single server (M/M/1, stretched by the burstiness of arrivals as
  Kingman does), scaled so that at the rated load just the allowed share of requests is late.

Above it the replica still serves more, late, up to its saturation; what comes beyond waits at the gateway
(`load`).
"""

import functools
import math
from typing import Final, NamedTuple

import msgspec
import numpy as np

from myriad.catalog.shelf import Catalog
from myriad.kernel import units
from myriad.kernel.errors import UserError
from myriad.performance.serving import Lengths, Slo, serve_plan, shapes, times
from myriad.performance.serving.machine import machine_of
from myriad.workload.services import InferenceService, ServiceLevel

#: The steady state of a queue says nothing of loads nearer to saturation than this within a few minutes.
_NEAR: Final = 0.97


class Replica(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rating of one replica."""

    #: Most that it takes with the promise kept.
    requests_per_s: float
    #: Requests inside it then; 0: the service's `concurrency`.
    in_flight: float = 0.0
    #: Time to the first token, and from token to token, of a request alone.
    ttft: str = "300ms"
    tpot: str = "20ms"
    #: The most it can do at all, over `requests_per_s`. Estimated.
    saturation: float = 1.15
    #: Share of its time in reading prompts, at the rated load.
    reading: float = 0.5
    #: Share of requests that may be late by the promise: what the rating allows.
    late: float = 0.1

    def __post_init__(self) -> None:
        units.check_span("ttft", self.ttft)
        units.check_span("tpot", self.tpot)
        if not self.requests_per_s > 0 or self.in_flight < 0:
            raise ValueError("requests_per_s must be more than 0 and in_flight 0 or more")
        if not 1 < self.saturation <= 10:
            raise ValueError("saturation must be above 1, at most 10")
        if not 0 <= self.reading <= 1:
            raise ValueError("reading must be between 0 and 1")
        if not 0 < self.late < 1 / self.saturation:
            raise ValueError("late must be above 0 and below 1 / saturation")


class Planned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names of the catalogue that the performance model makes a rating of."""

    model: str
    chip: str
    #: "": what the chip usually hangs on.
    fabric: str = ""
    stack: str = "vllm-2025"
    precision: str = "bf16"
    late: float = 0.1


def rated(
    plan: Planned, spec: InferenceService, prompt: Lengths, answer: Lengths, catalog: Catalog
) -> Replica:
    """The best rating of a replica of `spec.chips_per_replica`. About half a second, then remembered.

    Raises UserError when no layout of so many chips keeps the promise.
    """
    slo = Slo(ttft_s=_s(spec.slo.ttft), tpot_s=_s(spec.slo.tpot), percentile=1.0 - plan.late)
    found = _planned(plan, spec.chips_per_replica, slo, prompt, answer, catalog)
    if isinstance(found, str):
        raise UserError(
            "no layout of a replica keeps the promise",
            field=f"service {spec.name}: plan",
            value=f"{plan.model} on {spec.chips_per_replica} {plan.chip}: {found}",
            remedy="Give it more chips_per_replica, narrower weights, or a slower slo",
        )
    return found


@functools.lru_cache(maxsize=64)
def _planned(
    plan: Planned, chips: int, slo: Slo, prompt: Lengths, answer: Lengths, catalog: Catalog
) -> Replica | str:
    chip, stack = catalog.chip(plan.chip), catalog.stack(plan.stack)
    fabric_name = plan.fabric or chip.fabric
    fabric = catalog.fabric(fabric_name) if fabric_name else None
    model = catalog.model(plan.model)
    answered = serve_plan(
        model, chip, fabric, stack, slo, prompt, answer, weights=plan.precision, replica_chips=chips
    )
    if not answered.options:
        return answered.refused[-1].reason if answered.refused else "nothing fits"
    # smaller engines side by side are a replica too
    best = max(
        answered.options, key=lambda one: (chips // one.chips_per_replica) * one.capacity_requests_per_s
    )
    copies = chips // best.chips_per_replica
    layout = shapes.layouts([best.layout.tp], [best.layout.pp], [best.layout.ep])
    shape, machine = shapes.shape_of(model, plan.precision, "bf16"), machine_of(chip, fabric, stack)
    read = times.prefill(shape, machine, layout, prompt=prompt.mean)
    step = times.decode(
        shape, machine, layout, batch=np.array([1.0]), context=prompt.mean + answer.mean / 2.0
    )
    rate = copies * best.capacity_requests_per_s
    # half of the promised percentile stands for the mean time to the first token
    inside = copies * best.batch + rate * (float(read[0]) + best.ttft_s) / 2.0
    return Replica(
        requests_per_s=rate,
        in_flight=inside,
        ttft=f"{float(read[0]) * 1e6:.0f}us",
        tpot=f"{float(step[0]) * 1e6:.0f}us",
        reading=best.reading_share,
        late=plan.late,
    )


def _s(text: str) -> float:
    return units.seconds(units.span_ns(text))


class Seen(NamedTuple):
    """What one replica does and its callers see at a steady load."""

    in_flight: float
    ttft_s: float  # mean, from its arrival at the replica
    late: float  # share of requests whose first token misses the promise
    reading: float  # share of the time in steps that read prompts
    working: float  # share of the time with any request inside


class Served:
    """One replica in numbers."""

    def __init__(
        self, replica: Replica, slo: ServiceLevel, answer_tokens: float, concurrency: int, arrivals_cv: float
    ) -> None:
        self.rate = replica.requests_per_s
        self._ttft_s, tpot_s = _s(replica.ttft), _s(replica.tpot)
        self.slo_s = _s(slo.ttft)
        if not self._ttft_s < self.slo_s:
            raise UserError(
                "is promised faster than a replica can do it alone",
                field="slo.ttft",
                value=slo.ttft,
                remedy=f"Promise more than {replica.ttft}, or correct replica.ttft",
            )
        self._reading, self._late = replica.reading, replica.late
        alone = self._ttft_s + max(0.0, answer_tokens - 1.0) * tpot_s
        full = max(alone, (replica.in_flight or float(concurrency)) / self.rate)
        self._alone_s = alone
        #: Seconds that each request inside adds to every other's time.
        self._crowd_s = (full - alone) / (full * self.rate)
        # nearer to where the crowd grows without end the form says nothing
        most = _NEAR / (self.rate * self._crowd_s) if self._crowd_s > 0 else math.inf
        self.saturation = max(1.0, min(replica.saturation, most))
        self.most = self.rate * self.saturation
        load = min(1.0 / replica.saturation, _NEAR)
        slack = self.slo_s - self._ttft_s
        self._wait_s = slack * (1.0 - load) / math.log(load / replica.late) * (1.0 + arrivals_cv**2) / 2.0
        self._saturated = replica.requests_per_s * replica.saturation

    def seen(self, rate: float, waited_s: float = 0.0) -> Seen:
        """At so many requests/s into the replica, each of which waited at the gateway before."""
        if rate <= 0:
            return Seen(0.0, self._ttft_s + waited_s, 1.0 if waited_s > self.slo_s else 0.0, 0.0, 0.0)
        rate = min(rate, self.most)
        load = min(rate / self._saturated, _NEAR)
        inside = rate * self._alone_s / (1.0 - rate * self._crowd_s)
        slack = self.slo_s - self._ttft_s - waited_s
        late = 1.0 if slack <= 0 else load * math.exp(-slack * (1.0 - load) / self._wait_s)
        wait = load * self._wait_s / (1.0 - load)
        return Seen(
            inside,
            self._ttft_s + wait + waited_s,
            late,
            min(1.0, self._reading * rate / self.rate),
            -math.expm1(-inside),
        )
