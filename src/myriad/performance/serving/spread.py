"""How sure an answer about a service is: every figure moved over its own interval, one after the other.

Between `pools` and `plan`. As in training, inputs are taken as independent, so their effects on the logarithm
of a number add as squares, and the error of the formulas themselves adds the same way: 80 % intervals. All
figures at one end together are the outer bounds, which `plan` gives beside them.
"""

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, Final, NamedTuple

import numpy as np

from myriad.performance.serving import lanes, pools, shapes, times
from myriad.performance.serving.lanes import Lanes
from myriad.performance.serving.machine import ServingMachine
from myriad.performance.serving.pools import Ask
from myriad.performance.serving.shapes import Floats, ServingLayouts

#: Half-width of the 80 % interval that the formulas have with all inputs right. Estimated.
MODEL_SPREAD: Final = 0.10


class Interval(NamedTuple):
    """An answer and the bounds within which it lies; infinite: cannot be held."""

    low: float
    value: float
    high: float


def of(ask: Ask, worst: ServingMachine, best: ServingMachine, one: ServingLayouts, batch: float) -> dict[
    str, Interval
]:  # fmt: skip
    """80 % intervals of one layout's "chips", "tokens_per_s_per_chip", "prefill_s", "decode_s", "kv_tokens".

    `worst` and `best` are the machine with all figures at one end; `batch` the running requests of a replica.
    """
    machines = [ask.machine, *_moved(ask.machine, worst, best)]
    answers = _answers(ask, machines, one, batch)
    found = {}
    for name, values in answers.items():
        with np.errstate(divide="ignore"):
            change = np.log(values[1:]) - np.log(values[0])
        ends = change.reshape(-1, 2)
        counted = name == "kv_tokens" or (name == "chips" and ask.requests_per_s is None)
        model = 0.0 if counted else math.log1p(MODEL_SPREAD)
        lower = _added(np.minimum(ends.min(axis=1, initial=0.0), 0.0), model)
        higher = _added(np.maximum(ends.max(axis=1, initial=0.0), 0.0), model)
        value = float(values[0])
        found[name] = Interval(value * math.exp(-lower), value, value * math.exp(higher))
    chips, whole = found["chips"], float(one.chips[0])
    found["chips"] = Interval(*(math.ceil(n / whole - 1e-9) * whole if n < math.inf else n for n in chips))
    return found


def _added(change: Floats, model: float) -> float:
    return float(np.sqrt(np.sum(change**2) + model**2))


def _moved(middle: ServingMachine, worst: ServingMachine, best: ServingMachine) -> Iterator[ServingMachine]:
    """For each figure that is a range the machine with it at its worse and at its better end."""
    for field in fields(ServingMachine):
        ends: list[Any] = [getattr(machine, field.name) for machine in (worst, best)]
        if ends[0] != ends[1]:
            for value in ends:
                yield replace(middle, **{field.name: value})


def _answers(
    ask: Ask, machines: list[ServingMachine], one: ServingLayouts, batch: float
) -> dict[str, Floats]:
    """Each answer under each of m machines, shape (m,)."""
    context = ask.inputs.mean + ask.outputs.mean / 2
    running = max(1.0, batch / float(one.lanes[0]))
    tables = [lanes.both(ask.shape, machine, one, ask.inputs, ask.outputs) for machine in machines]
    many = ServingLayouts(*(np.repeat(column, len(machines)) for column in one))
    pool = pools.sized(ask, many, _joined(tables))
    able = pool.replicas > 0
    return {
        "chips": np.where(able, pool.chips, np.inf),
        "tokens_per_s_per_chip": np.where(able, pool.rate * ask.outputs.mean / many.chips, 0.0),
        "prefill_s": np.array(
            [float(times.prefill(ask.shape, machine, one, prompt=ask.inputs.mean)[0]) for machine in machines]
        ),
        "decode_s": np.array(
            [
                float(times.decode(ask.shape, machine, one, batch=running, context=context)[0])
                for machine in machines
            ]
        ),
        "kv_tokens": np.array(
            [max(0.0, float(shapes.kv_tokens(ask.shape, machine, one)[0])) for machine in machines]
        ),
    }


def _joined(tables: list[Lanes]) -> Lanes:
    """Tables of one layout under many machines as one of many rows."""
    shared = ("inputs", "outputs")
    columns: dict[str, Any] = {
        name: getattr(tables[0], name)
        if name in shared
        else np.concatenate([getattr(table, name) for table in tables])
        for name in Lanes._fields
    }
    return Lanes(**columns)
