"""A lane under load.

Batch, TTFT and TPOT at percentiles, from a queueing approximation of continuous batching. Between `lanes`
and `pools`. The rule that is approximated, one lane (stream of steps) at a time:

* requests arrive at random (Poisson), wait in order of arrival, and are admitted while a slot is free;
* without chunks (`chunk_tokens` 0): a waiting prompt is read whole in a step of its own, before any decode
  step;
* with chunks: each step makes one token for every running request and fills up to `chunk_tokens` with
  prompt tokens.

Reading prompts is a queue M/G/1 with vacations, the decode steps: the wait is that of Pollaczek and
Khinchine (tail taken as exponential) plus the rest of a decode step (Fuhrmann and Cooper, 1985). Decoding
is a shared server that prompts interrupt: a request of n tokens ends after a busy period begun with n steps
of work, whose mean and variance are exact (Takacs, 1962). The batch follows from Little's law as a fixed
point and fluctuates like customers in an infinite server, amplified where steps grow with the batch. Slots
that run out add the wait of Halfin and Whitt (1981). A seeded simulation of the same rule in
tests/performance holds the approximation to account.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from myriad.performance.serving.lanes import Curves, Lanes
from myriad.performance.serving.shapes import Floats

_BISECTIONS: Final = 30
#: Halvings of the range of rates: to 1 part in 16,000.
_RATES: Final = 14
#: Seconds, shape (n,), to the share of requests that need no more.
Share = Callable[[Floats], Floats]


class Steady(NamedTuple):
    """A lane in its steady state, arrays of shape (n,) or (n, q) for q percentiles; overloaded: infinite."""

    batch: Floats  # requests decoding
    reading: Floats  # share of time in steps with prompt tokens
    ttft_s: Floats  # (n, q)
    tpot_s: Floats  # (n, q) mean time between the tokens of one request
    decode_s: Floats


class _Flow(NamedTuple):
    """What the fixed point balances, at some batch, shape (n,)."""

    tpot_s: Floats  # mean
    reading: Floats
    mean: Curves
    slope: Floats | float = 0.0  # of tpot_s over the batch
    gain: Floats | float = 0.0  # relative growth of tpot_s with relative growth of the batch


class State(NamedTuple):
    """Lanes at a rate, balanced, arrays of shape (n,)."""

    table: Lanes
    rate: Floats  # requests/s of one lane
    batch: Floats  # running requests, averaged over time
    flow: _Flow
    stable: NDArray[np.bool_]


def balance(table: Lanes, rate: Floats) -> State:
    """The steady state at `rate` requests/s for each lane, shape (n,): the batch by bisection."""
    low, high = np.zeros_like(rate), table.slots[:, 0] + 0.0 * rate
    stable = _wanted(table, rate, high) <= high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        up = _wanted(table, rate, middle) > middle
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    flow = _seen(table, rate, high)
    stable &= (flow.reading < 1) & (table.slots[:, 0] >= 1)
    return State(table, rate, high, flow, stable)


def steady(table: Lanes, rate: Floats, percentiles: tuple[float, ...]) -> Steady:
    """Batch and percentiles at `rate` requests/s for each lane, shape (n,)."""
    state = balance(table, rate)
    never = np.where(state.stable, 0.0, np.inf)
    return Steady(
        batch=state.batch + never,
        reading=np.where(state.stable, state.flow.reading, 1.0),
        ttft_s=_quantiles(ttft_share(state), _ttft_bound(state), percentiles) + never[:, None],
        tpot_s=tpot_s(state, percentiles),
        decode_s=state.flow.mean.decode_s + never,
    )


def tpot_s(state: State, percentiles: tuple[float, ...]) -> Floats:
    """Mean seconds between the tokens of a request, percentiles over requests, (n, q)."""
    bound = state.flow.tpot_s + _behind(state.rate, state.flow).mean_s
    bound = np.where(state.stable, 6.0 * bound + 1e-9, 1.0)
    found = _quantiles(tpot_share(state), bound, percentiles)
    return np.where(state.stable, 0.0, np.inf)[:, None] + found


def _wanted(table: Lanes, rate: Floats, batch: Floats) -> Floats:
    """Little's law: the batch that arrivals make at the pace of this batch."""
    flow = _seen(table, rate, batch)
    late = np.where(table.outputs.mean > 0, _behind(rate, flow).mean_s, 0.0)
    return np.asarray(rate * (table.outputs.mean * flow.tpot_s + late))


class _Behind(NamedTuple):
    """What the prompts still waiting when a request's own has been read add to its answer, (n,)."""

    mean_s: Floats
    square_s2: Floats  # variance


def _behind(rate: Floats, flow: _Flow) -> _Behind:
    """They arrived while it waited and was read, and go before most of its tokens."""
    mean = flow.mean
    free = np.maximum(1.0 - flow.reading, 1e-3)
    wait = rate * mean.read_s2 / (2.0 * free)
    spread = wait**2 + rate * mean.read_s3 / (3.0 * free) + mean.read_s2 - mean.read_s**2
    extra = mean.extra_s / free
    count = rate * (wait + mean.read_s)
    return _Behind(count * extra, count * mean.extra_s2 / free**2 + rate**2 * spread * extra**2)


def _seen(table: Lanes, rate: Floats, batch: Floats) -> _Flow:
    """The flow that a running request sees when the batch is `batch` on average over time.

    It sees more: the batch weighted by itself, mean + variance / mean. The variance is that of customers in
    an infinite server, over 1 - gain: a larger batch makes slower steps and so a larger batch.
    """
    near = _flow(table, rate, batch)
    far = _flow(table, rate, batch * 1.02 + 0.01)
    known = np.isfinite(near.tpot_s) & np.isfinite(far.tpot_s) & (near.tpot_s > 0)
    here, there = np.where(known, near.tpot_s, 1.0), np.where(known, far.tpot_s, 1.0)
    slope = (there - here) / (0.02 * batch + 0.01)
    gain = np.clip(batch * slope / here, 0.0, 0.9)
    seen = _flow(table, rate, batch + 1.0 / (1.0 - gain))
    return seen._replace(slope=slope, gain=gain)


def _flow(table: Lanes, rate: Floats, batch: Floats) -> _Flow:
    mean = Curves(*_interpolate(table, table.curves, batch).T)
    reading = rate * mean.read_s
    free = np.maximum(1.0 - reading, 1e-9)
    busy = mean.decode_s > 0
    # steps a second: plain ones in the time left, and those that prompts ride on
    pace = np.where(busy, free / np.where(busy, mean.decode_s, 1.0), 0.0) + rate * mean.steps
    tpot_s = np.where(busy, 1.0 / np.maximum(pace, 1e-30), 0.0)
    return _Flow(np.where(reading < 1, tpot_s, np.inf), reading, mean)


def _interpolate(table: Lanes, values: Floats, batch: Floats) -> Floats:
    """`values` (n, s, g) at a batch (n,): (n, s). Linear in the batch, as steps nearly are."""
    last = values.shape[2] - 1
    filled = np.minimum(np.maximum(batch / table.slots[:, 0], 0.0), 1.0)
    left = np.minimum((np.sqrt(filled) * last).astype(np.int64), last - 1)
    rows = np.arange(len(left))
    one, other = values[rows, :, left], values[rows, :, left + 1]
    part = (filled * last**2 - left**2) / (2 * left + 1)
    return np.asarray(one + (other - one) * part[:, None])


def ttft_share(state: State) -> Share:
    """Of requests, the share with their first token in so many seconds: wait, reading, handing over."""
    table, rate, batch, flow, _ = state
    weights = table.inputs.weights
    read_s = _interpolate(table, table.read_s, batch)
    service = read_s @ weights
    behind = _wait_s(flow)[:, None, None]
    full, slot_s = (column[:, None, None] for column in _full(table, rate, batch, flow))
    step_s = (flow.mean.decode_s * -np.expm1(-batch))[:, None, None]  # nobody decoding: no step to wait for
    floor = (read_s + table.handover_s)[:, :, None]
    # whose prompt is being read on arrival: long ones more often
    ahead = read_s[:, None, :]
    met = (read_s * weights / np.maximum(service, 1e-12)[:, None])[:, None, :]
    busy = flow.reading[:, None, None]

    def below(seconds: Floats) -> Floats:
        over = seconds[:, None, None] - floor
        quiet = _uniform_plus(over, step_s, 0.0)
        one = _uniform_plus(over, step_s + ahead, 0.0)
        more = _uniform_plus(over, step_s + ahead, behind)
        waits = ((1 - busy) * one + busy * more) * met
        free_slot = (1 - busy) * quiet[:, :, 0:1] + busy * waits.sum(axis=2, keepdims=True)
        blocked = _uniform_plus(over, step_s, busy * behind + slot_s)
        return np.asarray(((1 - full) * free_slot + full * blocked)[:, :, 0] @ weights)

    return below


def _wait_s(flow: _Flow) -> Floats:
    """Mean wait of the prompts that wait for others at all, (n,)."""
    free = np.maximum(1.0 - flow.reading, 1e-9)
    return np.asarray(flow.mean.read_s2 / (2.0 * np.maximum(flow.mean.read_s, 1e-12) * free))


def _ttft_bound(state: State) -> Floats:
    """Seconds that hardly any request waits, (n,)."""
    table, flow = state.table, state.flow
    longest = table.read_s.max(axis=(1, 2)) + table.handover_s.max(axis=1)
    waits = _wait_s(flow) + _full(table, state.rate, state.batch, flow)[1]
    return np.asarray(2 * longest + flow.mean.decode_s + 20.0 * waits + 1e-9)


def _full(table: Lanes, rate: Floats, batch: Floats, flow: _Flow) -> tuple[Floats, Floats]:
    """Probability that all slots are taken, and the mean wait for one (Halfin and Whitt, 1981)."""
    slots = table.slots[:, 0]
    held = np.minimum(batch + flow.reading, slots - 1e-6)
    beta = (slots - held) / np.sqrt(np.maximum(held, 1e-9) / (1.0 - flow.gain))
    density = np.exp(-(beta**2) / 2) / math.sqrt(2 * math.pi)
    full = 1.0 / (1.0 + beta * _normal(beta) / np.maximum(density, 1e-300))
    decoding = table.outputs.mean > 0
    stay = held / np.maximum(rate, 1e-12)
    spread = table.outputs.square / max(table.outputs.mean, 1e-9) ** 2 / 2
    wait = stay * spread / np.maximum(slots - held, 1e-6)
    return full * decoding, np.where(decoding, wait, 0.0)


def _uniform_plus(over: Floats, width: Floats, mean: Floats | float) -> Floats:
    """P(uniform(0, width) + exponential(mean) <= over); `mean` 0 is no exponential, `width` 0 no uniform."""
    width = np.maximum(width, 1e-9)
    plain = np.clip(over / width, 0.0, 1.0)
    scale = np.maximum(mean, 1e-9)
    past = np.maximum(over, 0.0)
    inside = (
        np.minimum(past, width)
        - scale * (np.exp(-np.maximum(past - width, 0.0) / scale) - np.exp(-past / scale))
    ) / width
    return np.asarray(np.where(mean > 0, np.clip(inside, 0.0, 1.0), plain) * (over >= 0))


def tpot_share(state: State) -> Share:
    """Of requests, the share with at most so many seconds between tokens; log-normal in each stratum."""
    table, rate, batch, flow, _ = state
    mean = np.where(np.isfinite(flow.tpot_s), flow.tpot_s, 1e9)
    free = np.maximum(1.0 - rate * flow.mean.extra_s, 1e-3)
    one = flow.mean.decode_s * rate * flow.mean.extra_s2 / free**3
    # of the batch, averaged over the stay of the request: 2/3 when nothing feeds back, nearly all when much
    # does
    drift = batch / (1.0 - flow.gain) * flow.slope**2 * (1.0 - (1.0 - flow.gain) / 3.0)
    late, gaps = _behind(rate, flow), np.maximum(table.outputs.tokens - 1.0, 1.0)
    variance = one[:, None] / gaps + drift[:, None] + late.square_s2[:, None] / gaps**2
    mean = np.maximum(mean[:, None] + late.mean_s[:, None] / gaps, 1e-12)
    sigma = np.sqrt(np.log1p(variance / mean**2))
    middle = np.log(mean) - sigma**2 / 2

    def below(seconds: Floats) -> Floats:
        where = (np.log(np.maximum(seconds[:, None], 1e-12)) - middle) / np.maximum(sigma, 1e-6)
        return np.asarray(_normal(where) @ table.outputs.weights)

    return below


def _quantiles(below: Share, most: Floats, percentiles: tuple[float, ...]) -> Floats:
    found = np.zeros((len(most), len(percentiles)))
    for column, percentile in enumerate(percentiles):
        low, high = np.zeros_like(most), most.copy()
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            up = below(middle) < percentile
            low, high = np.where(up, middle, low), np.where(up, high, middle)
        found[:, column] = high
    return found


def _normal(x: Floats) -> Floats:
    """Normal distribution function by Abramowitz and Stegun 26.2.17; error below 1e-7."""
    t = 1.0 / (1.0 + 0.2316419 * np.abs(x))
    tail = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = tail * np.exp(-np.minimum(x * x, 1400.0) / 2) / math.sqrt(2 * math.pi)
    return np.asarray(np.where(x >= 0, 1.0 - tail, tail))


def capacity(table: Lanes, percentile: float, ttft: float, tpot: float) -> Floats:
    """Largest rate of one lane, requests/s, at which TTFT and TPOT (s) hold at the percentile.

    0: at no rate. Shape (n,).
    """
    high = ceiling(table)
    low = np.zeros_like(high)
    for _ in range(_RATES):
        middle = (low + high) / 2
        state = balance(table, middle)
        holds = state.stable & (ttft_share(state)(ttft + 0.0 * low) >= percentile)
        if table.outputs.mean > 0:
            holds &= tpot_share(state)(tpot + 0.0 * low) >= percentile
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    return np.where(low < 1e-4 * ceiling(table), 0.0, low)


def ceiling(table: Lanes) -> Floats:
    """Requests/s of one lane that nothing exceeds, shape (n,): reading alone, or all slots decoding."""
    service = table.read_s[:, :, 0] @ table.inputs.weights
    decoding = table.outputs.mean * table.decode_s[:, -1] / table.slots[:, 0]
    return np.asarray(1.0 / np.maximum(np.maximum(service, decoding), 1e-9))
