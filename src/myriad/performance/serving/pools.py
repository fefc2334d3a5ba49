"""What a pool of like replicas needs.

The best of many layouts for an SLO and a load, and prefill apart from decode. Between `load` and `plan`.
`replicas` sizes replicas that do both; `split` sizes one pool that reads prompts and one that makes tokens,
with the keys and values sent over the network in between (Patel et al., Splitwise, ISCA 2024; Zhong et al.,
DistServe, OSDI 2024). Requests are spread at random, so each replica sees Poisson arrivals too.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from myriad.kernel.errors import UserError
from myriad.performance.serving import lanes, load, shapes
from myriad.performance.serving.lanes import Lanes, Lengths
from myriad.performance.serving.machine import ServingMachine
from myriad.performance.serving.shapes import Floats, ServingLayouts, Shape

#: Of the rate at which the approximation says the SLO just holds: room for what it gets wrong (percentiles
#: within about 15 % of simulation, more when nearly all slots are taken).
HEADROOM: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What callers are promised: both hold for this share of the requests."""

    ttft_s: float
    tpot_s: float
    percentile: float = 0.9

    def __post_init__(self) -> None:
        if not (self.ttft_s > 0 and self.tpot_s > 0):
            problem = "must be more than zero"
            raise UserError(problem, field="slo", value=min(self.ttft_s, self.tpot_s), remedy="Write 0.05")
        if not 0 < self.percentile < 1:
            remedy = "Write 0.9 for nine requests in ten"
            raise UserError(
                "must be between 0 and 1", field="percentile", value=self.percentile, remedy=remedy
            )


class Ask(NamedTuple):
    """Everything that stays the same while layouts are compared."""

    shape: Shape
    machine: ServingMachine
    slo: Slo
    inputs: Lengths
    outputs: Lengths
    requests_per_s: float | None  # None: as much as one replica can


class Pool(NamedTuple):
    """What each of n layouts needs, arrays of shape (n,). `replicas` 0: the SLO holds at no rate."""

    replicas: Floats
    chips: Floats
    capacity: Floats  # requests/s of one replica with the SLO just held, headroom taken off
    rate: Floats  # requests/s that one replica gets
    batch: Floats  # running requests of one replica
    reading: Floats  # share of time in steps with prompt tokens
    ttft_s: Floats  # at the SLO's percentile
    tpot_s: Floats
    slots: Floats  # requests that one replica can run at once


def replicas(ask: Ask, layout: ServingLayouts) -> Pool:
    """Replicas that do both, of each layout (columns of shape (n,)): the fewest that hold the SLO."""
    return sized(ask, layout, lanes.both(ask.shape, ask.machine, layout, ask.inputs, ask.outputs))


class Split(NamedTuple):
    """Two pools. Indices point into the layouts they were chosen from."""

    prefill: Pool
    decode: Pool
    best_prefill: int
    best_decode: int

    @property
    def chips(self) -> float:
        """Of both pools."""
        return float(self.prefill.chips[self.best_prefill] + self.decode.chips[self.best_decode])


def split(ask: Ask, layout: ServingLayouts) -> Split | None:
    """The smallest prefill pool and the smallest decode pool among the layouts.

    None when no layout holds one's share of the SLO. Without a load each pool is one replica at its best, of
    the layout that gets most out of each chip: what large pools are made of.
    """
    reading = lanes.prefill_only(ask.shape, ask.machine, layout, ask.inputs)
    prefill = sized(ask, layout, reading)
    loaded = ask.requests_per_s is not None
    first = _cheapest(prefill, layout, loaded)
    if first is None:
        return None
    decode = sized(ask, layout, lanes.decode_only(ask.shape, ask.machine, layout, ask.inputs, ask.outputs))
    second = _cheapest(decode, layout, loaded)
    return None if second is None else Split(prefill, decode, first, second)


def _cheapest(pool: Pool, layout: ServingLayouts, loaded: bool) -> int | None:
    """Fewest chips (where there is a load), then most capacity for each chip."""
    if not (pool.replicas > 0).any():
        return None
    chips = np.where(pool.replicas > 0, pool.chips if loaded else 1.0, np.inf)
    return int(np.lexsort((-pool.capacity / layout.chips, chips))[0])


def sized(ask: Ask, layout: ServingLayouts, table: Lanes) -> Pool:
    """What each of n layouts needs whose step times are in `table`, one row each."""
    slo = ask.slo
    lane = HEADROOM * load.capacity(table, slo.percentile, slo.ttft_s, slo.tpot_s)
    able = lane > 0
    capacity = lane * layout.lanes
    wanted = ask.requests_per_s
    count = np.where(able, 1.0 if wanted is None else np.ceil(wanted / np.where(able, capacity, 1.0)), 0.0)
    rate = capacity if wanted is None else wanted / np.maximum(count, 1.0)
    there = load.steady(table, np.where(able, rate / layout.lanes, 1e-9), (slo.percentile,))
    return Pool(
        replicas=count,
        chips=count * layout.chips,
        capacity=capacity,
        rate=np.where(able, rate, 0.0),
        batch=there.batch * layout.lanes,
        reading=there.reading,
        ttft_s=there.ttft_s[:, 0],
        tpot_s=there.tpot_s[:, 0],
        slots=table.slots[:, 0] * layout.lanes,
    )


class Front(NamedTuple):
    """Points no other point beats in both, slowest tokens last, shape (k,)."""

    tpot_s: Floats
    tokens_per_s_per_chip: Floats
    layout: Floats  # index
    batch: Floats  # of one replica


def pareto(ask: Ask, layout: ServingLayouts, points: int = 24) -> Front:
    """Generated tokens/s a chip against TPOT at the percentile, over layouts and rates; no SLO is held."""
    table = lanes.both(ask.shape, ask.machine, layout, ask.inputs, ask.outputs)
    most = load.ceiling(table)
    found = [np.zeros((4, 0))]
    for part in np.geomspace(0.01, 1.0, points):
        state = load.balance(table, part * most)
        tpot_s = load.tpot_s(state, (ask.slo.percentile,))[:, 0]
        rate, batch = part * most * layout.lanes, state.batch * layout.lanes
        found.append(np.stack([tpot_s, rate * ask.outputs.mean / layout.chips, np.arange(len(most)), batch]))
    every = np.concatenate(found, axis=1)
    every = every[:, np.isfinite(every[0])]
    every = every[:, np.lexsort((-every[1], every[0]))]
    best = np.maximum.accumulate(np.concatenate([[0.0], every[1]]))[:-1]
    return Front(*every[:, every[1] > best * 1.001])


def reasons(ask: Ask, layout: ServingLayouts, pool: Pool) -> list[str]:
    """For each layout why it cannot serve at all, or "" when it can."""
    machine = ask.machine
    weights = shapes.chip_weight_bytes(ask.shape, layout)
    usable = machine.memory_bytes * machine.memory_use_share - machine.workspace_bytes
    table = lanes.both(ask.shape, machine, layout, ask.inputs, ask.outputs)
    idle = load.steady(table, 1e-6 * load.ceiling(table), (ask.slo.percentile,))
    share = f"at {ask.slo.percentile:.0%} of requests"
    found = []
    for n in range(len(layout.tp)):
        if pool.replicas[n] > 0:
            found.append("")
        elif weights[n] >= usable:
            found.append(f"weights: {weights[n] / 1e9:.0f} GB a chip, {usable / 1e9:.0f} GB usable")
        elif table.slots[n, 0] < 1:
            found.append("memory: beside the weights not one request's keys and values fit")
        elif idle.ttft_s[n, 0] > ask.slo.ttft_s:
            found.append(f"TTFT: {idle.ttft_s[n, 0]:.3g} s {share} with nobody else there")
        elif idle.tpot_s[n, 0] > ask.slo.tpot_s:
            found.append(f"TPOT: {1e3 * idle.tpot_s[n, 0]:.3g} ms {share} with nobody else there")
        else:
            found.append("TTFT and TPOT do not hold together at any rate")
    return found
