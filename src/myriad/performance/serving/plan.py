"""`serve_plan`: which layouts and how many chips serve a model as promised, and why other layouts do not.

Top of the package; the command line calls it. Everything is computed at the value of each figure of the
catalogue. `intervals` hold with 80 % probability (`spread`); `bounds` are what the same question gets with
all figures at their slow or fast ends together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from myriad.catalog.chips import Chip
from myriad.catalog.fabrics import Fabric
from myriad.catalog.models import Model
from myriad.catalog.stacks import Stack
from myriad.kernel.errors import UserError
from myriad.performance.serving import pools, shapes, spread, times
from myriad.performance.serving.lanes import Lengths
from myriad.performance.serving.machine import End, ServingMachine, has_interval, machine_of, names
from myriad.performance.serving.pools import Ask, Pool, Slo
from myriad.performance.serving.shapes import ServingLayouts
from myriad.performance.serving.spread import Interval

#: Largest replica that is tried, chips, and deepest pipeline.
REPLICA_CHIPS: Final = 64
_STAGES: Final = (1, 2, 4, 8)
#: Figures of a chip that a plan reads: of the hardware, shares of it, and shares for narrow weights.
_HARDWARE: Final = ("memory_bytes_per_s", "scale_up_bytes_per_s", "nic_bytes_per_s")
_SHARES: Final = (
    "gemm_share",
    "gemm_half_flop",
    "memory_share",
    "attention_share",
    "scale_up_share",
    "scale_up_latency_s",
    "nic_share",
    "nic_latency_s",
)
_NARROW: Final = {"fp8": ("fp8_share",), "int8": ("fp8_share",), "fp4": ("fp4_share",)}
_ENDS: Final[tuple[End, End]] = ("worst", "best")
#: Capacities for each chip that differ by less are the same to us.
_SAME: Final = 0.01
#: Options that a plan lists.
_SHOWN: Final = 8


class Layout(NamedTuple):
    """One way to spread a replica."""

    tp: int
    pp: int
    ep: int

    def __str__(self) -> str:
        return f"TP {self.tp}" + f" PP {self.pp}" * (self.pp > 1) + f" EP {self.ep}" * (self.ep > 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A layout that holds the SLO, and what it takes. Times at the SLO's percentile."""

    layout: Layout
    chips_per_replica: int
    replicas: int
    chips: int
    ttft_s: float
    tpot_s: float
    #: Running requests of one replica, and the most it can hold.
    batch: float
    slots: int
    #: What one replica can take with the SLO held, and what it gets.
    capacity_requests_per_s: float
    requests_per_s: float
    #: Generated tokens.
    tokens_per_s_per_chip: float
    #: Of the time, in steps that read prompts.
    reading_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A layout that does not hold the SLO at any rate."""

    layout: Layout
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disaggregated:
    """Prefill and decode in pools of their own."""

    prefill: Option
    decode: Option
    #: Of both pools; without a load one replica of each.
    chips: int
    #: Replicas for prefill for each replica for decode; without a load what it tends to as the load grows.
    ratio: float
    #: Fewer chips than the best option that does both; without a load for each request/s of a large one.
    pays: bool
    #: Chips over those of that option; 0 where none does both.
    chips_share: float
    #: Time to send the keys and values of a mean prompt; counts as TTFT.
    transfer_s: float


class Point(NamedTuple):
    """On the front of throughput against speed."""

    tpot_s: float
    tokens_per_s_per_chip: float
    layout: Layout
    batch: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServePlan:
    """The answer. `options` best first: fewest chips, then most tokens/s for each chip."""

    options: tuple[Option, ...]
    refused: tuple[Refused, ...]
    pareto: tuple[Point, ...]
    disaggregated: Disaggregated | None
    #: "chips", "tokens_per_s_per_chip", "prefill_s" and "decode_s" of the best option's layout and batch,
    #: "kv_tokens": 80 % intervals for that layout, and the outer bounds, whatever layout is best there.
    intervals: dict[str, Interval]
    bounds: dict[str, Interval]
    #: Figures of the chip's hardware are known only as ranges.
    hardware_is_a_range: bool
    #: Figures behind the answer that are judgements, by name.
    estimated: tuple[str, ...]

    @property
    def best(self) -> Option | None:
        """The first option, if there is one."""
        return self.options[0] if self.options else None


def serve_plan(
    model: Model,
    chip: Chip,
    fabric: Fabric | None,
    stack: Stack,
    slo: Slo,
    input_tokens: float | Lengths,
    output_tokens: float | Lengths,
    load: float | None = None,
    *,
    weights: str = "bf16",
    kv: str = "bf16",
    replica_chips: int = REPLICA_CHIPS,
) -> ServePlan:
    """Plan a service: the best layouts, why others fail, two pools, the front and the intervals.

    `load` in requests/s; None: one replica at its best. `weights` and `kv` are precisions ("bf16", "fp8",
    "int8"). Raises UserError naming what to change.
    """
    if load is not None and not load > 0:
        raise UserError("must be more than zero", field="load", value=load, remedy="Write 2.5 (requests/s)")
    inputs, outputs = _lengths(input_tokens), _lengths(output_tokens)
    shape = shapes.shape_of(model, weights, kv)
    ask = Ask(shape, machine_of(chip, fabric, stack), slo, inputs, outputs, load)
    layout = _candidates(model, ask.machine, replica_chips)
    pool = pools.replicas(ask, layout)
    order = _order(ask, pool, layout)
    options = tuple(_option(ask, pool, layout, n) for n in order[:_SHOWN])
    why = pools.reasons(ask, layout, pool)
    refused = tuple(Refused(layout=_layout(layout, n), reason=text) for n, text in enumerate(why) if text)
    worst, best = (machine_of(chip, fabric, stack, end) for end in _ENDS)
    ends = worst, best
    front = pools.pareto(ask, _chosen(layout, pool.slots >= 1))
    return ServePlan(
        options=options,
        refused=refused,
        pareto=tuple(_points(front, _chosen(layout, pool.slots >= 1))),
        disaggregated=_disaggregated(ask, layout, options),
        intervals=_intervals(ask, ends, layout, order, pool),
        bounds=_bounds(ask, ends, layout, order, pool),
        hardware_is_a_range=has_interval(chip),
        estimated=tuple(_estimated(chip, stack, weights)),
    )


def _lengths(tokens: float | Lengths) -> Lengths:
    return tokens if isinstance(tokens, Lengths) else Lengths(mean=tokens)


def _candidates(model: Model, machine: ServingMachine, replica_chips: int) -> ServingLayouts:
    """Powers of two that divide heads, layers and experts; TP within the scale-up links."""
    powers = [2**n for n in range(12) if 2**n <= replica_chips]
    found = []
    for tp in powers:
        if tp > machine.scale_up_domain or model.heads % tp:
            continue
        for pp in _STAGES:
            if pp > 1 and model.layers < pp * 2:
                continue
            for ep in [1] + [
                n for n in powers if model.moe and n >= max(tp, 2) and model.moe.experts % n == 0
            ]:
                if pp * max(tp, ep) <= replica_chips:
                    found.append((tp, pp, ep))
    return shapes.layouts(*zip(*found, strict=True))


def _order(ask: Ask, pool: Pool, layout: ServingLayouts) -> list[int]:
    """Layouts that hold the SLO, best first.

    When nobody said how much, what each chip can take counts alone; what differs by a percent is the same,
    and the smaller replica goes first.
    """
    able = pool.replicas > 0
    chips = pool.chips if ask.requests_per_s is not None else np.zeros_like(pool.chips)
    each = np.where(able, pool.capacity / layout.chips, 1e-300)
    same = np.floor(np.log(each.max(initial=1e-300) / each) / _SAME)
    ranked = np.lexsort((-each, layout.chips, same, chips))
    return [int(n) for n in ranked if able[n]]


def _chosen(layout: ServingLayouts, mask: list[int] | NDArray[np.bool_]) -> ServingLayouts:
    return ServingLayouts(*(column[mask] for column in layout))


def _layout(layout: ServingLayouts, n: int) -> Layout:
    return Layout(int(layout.tp[n]), int(layout.pp[n]), int(layout.ep[n]))


def _option(ask: Ask, pool: Pool, layout: ServingLayouts, n: int) -> Option:
    chips = layout.chips[n]
    return Option(
        layout=_layout(layout, n),
        chips_per_replica=int(chips),
        replicas=int(pool.replicas[n]),
        chips=int(pool.chips[n]),
        ttft_s=float(pool.ttft_s[n]),
        tpot_s=float(pool.tpot_s[n]),
        batch=float(pool.batch[n]),
        slots=int(pool.slots[n]),
        capacity_requests_per_s=float(pool.capacity[n]),
        requests_per_s=float(pool.rate[n]),
        tokens_per_s_per_chip=float(pool.rate[n] * ask.outputs.mean / chips),
        reading_share=float(pool.reading[n]),
    )


def _disaggregated(ask: Ask, layout: ServingLayouts, options: tuple[Option, ...]) -> Disaggregated | None:
    found = pools.split(ask, layout)
    if found is None:
        return None
    prefill = _option(ask, found.prefill, layout, found.best_prefill)
    decode = _option(ask, found.decode, layout, found.best_decode)
    both = options[0] if options else None
    if ask.requests_per_s is None:
        # nobody said how much: chips for each request/s
        own = sum(one.chips_per_replica / one.capacity_requests_per_s for one in (prefill, decode))
        rival = both.chips_per_replica / both.capacity_requests_per_s if both else np.inf
    else:
        own, rival = found.chips, both.chips if both else np.inf
    ratio = prefill.replicas / decode.replicas
    if ask.requests_per_s is None:
        ratio = decode.capacity_requests_per_s / prefill.capacity_requests_per_s
    where = _chosen(layout, [found.best_prefill])
    transfer = times.transfer(ask.shape, ask.machine, where, ask.inputs.mean)
    return Disaggregated(
        prefill=prefill,
        decode=decode,
        chips=int(found.chips),
        ratio=ratio,
        pays=own < rival,
        chips_share=float(own / rival),
        transfer_s=float(transfer[0]),
    )


def _points(front: pools.Front, layout: ServingLayouts) -> Iterator[Point]:
    for tpot_s, tokens, n, batch in zip(*front, strict=True):
        yield Point(float(tpot_s), float(tokens), _layout(layout, int(n)), float(batch))


_Ends = tuple[ServingMachine, ServingMachine]


def _intervals(
    ask: Ask, ends: _Ends, layout: ServingLayouts, order: list[int], pool: Pool
) -> dict[str, Interval]:
    if not order:
        return {}
    return spread.of(ask, *ends, _chosen(layout, order[:1]), float(pool.batch[order[0]]))


def _bounds(
    ask: Ask, ends: _Ends, layout: ServingLayouts, order: list[int], pool: Pool
) -> dict[str, Interval]:
    if not order:
        return {}
    best = order[0]
    answers = []
    for machine in (ends[0], ask.machine, ends[1]):
        here = ask._replace(machine=machine)
        answers.append(_at_end(here, layout, best, float(pool.batch[best])))
    return {name: Interval(*sorted(answer[name] for answer in answers)) for name in answers[0]}


def _at_end(ask: Ask, layout: ServingLayouts, best: int, batch: float) -> dict[str, float]:
    """The question asked again, and the step times of the best layout at its batch."""
    pool = pools.replicas(ask, layout)
    order = _order(ask, pool, layout)
    one = _chosen(layout, [best])
    context = ask.inputs.mean + ask.outputs.mean / 2
    prefill = times.prefill(ask.shape, ask.machine, one, prompt=ask.inputs.mean)
    decode = times.decode(ask.shape, ask.machine, one, batch=max(1.0, batch / one.lanes[0]), context=context)
    first = order[0] if order else None
    per_chip = 0.0 if first is None else pool.rate[first] * ask.outputs.mean / layout.chips[first]
    return {
        "chips": np.inf if first is None else float(pool.chips[first]),
        "tokens_per_s_per_chip": float(per_chip),
        "prefill_s": float(prefill[0]),
        "decode_s": float(decode[0]),
        "kv_tokens": max(0.0, float(shapes.kv_tokens(ask.shape, ask.machine, one)[0])),
    }


def _estimated(chip: Chip, stack: Stack, weights: str) -> Iterator[str]:
    """Names of the estimated figures among those a plan reads."""
    own = {name: getattr(chip, name) for name in _HARDWARE}
    own |= {f"flops.{name}": chip.flops[name] for name in chip.flops if name in ("bf16", weights)}
    own |= {name: getattr(chip.parameters, name) for name in (*_SHARES, *_NARROW.get(weights, ()))}
    calibrated = {name.rpartition(".")[2] for name in stack.parameters if name.startswith(names(chip))}
    for name, figure in own.items():
        if figure.status == "estimated" and name not in stack.parameters and name not in calibrated:
            yield f"chip {name}"
    for name, figure in stack.parameters.items():
        if figure.status == "estimated" and "." not in name and name not in calibrated:
            yield f"stack {name}"
