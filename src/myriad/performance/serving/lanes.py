"""Lanes: the independent streams of steps of a replica, and how long their steps take at every batch.

Between `times` and `load`, which asks for thousands of rates and must not compute a step for each. A lane
is one copy of the attention on one stage's worth of time: see `ServingLayouts.lanes`.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from myriad.kernel.errors import UserError
from myriad.performance.serving import shapes, times
from myriad.performance.serving.machine import ServingMachine
from myriad.performance.serving.shapes import Floats, ServingLayouts, Shape

#: Where a distribution of lengths is cut into strata (finer towards the long ones, which make the
#: percentiles), and points of the batch axis of a table.
_CUTS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.87, 0.92, 0.95, 0.97, 0.985, 0.993, 0.998, 1.0)
_POINTS: Final = 17
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Tokens of prompts or answers: log-normal with this mean and coefficient of variation (0: all alike)."""

    mean: float
    cv: float = 0.0

    def strata(self) -> "Strata":
        """Cut into strata, each at its own mean: the mean is exact."""
        if self.cv == 0:
            return Strata(np.array([self.mean]), np.array([1.0]))
        sigma = math.sqrt(math.log1p(self.cv**2))
        edges = [_NORMAL.inv_cdf(cut) for cut in _CUTS[1:-1]]
        below = np.array([0.0, *(_NORMAL.cdf(edge - sigma) for edge in edges), 1.0])
        weights = np.diff(_CUTS)
        return Strata(np.maximum(1.0, self.mean * np.diff(below) / weights), weights)

    def check(self, field: str) -> None:
        """Raises UserError unless there is at least one token."""
        if not (self.mean >= 1 and self.cv >= 0):
            raise UserError("must be one token or more", field=field, value=self.mean, remedy="Write 512")


class Strata(NamedTuple):
    """Lengths and how likely each is, shape (k,)."""

    tokens: Floats
    weights: Floats

    @property
    def mean(self) -> float:
        """Tokens."""
        return float(self.tokens @ self.weights)

    @property
    def square(self) -> float:
        """Mean of the squares."""
        return float(self.tokens**2 @ self.weights)


class Lanes(NamedTuple):
    """Step times of one lane of each of n layouts, tabulated over the batch; what `load` interpolates in.

    The batch at point j of g is `slots * (j / (g - 1))**2`: finer where it is small.
    """

    slots: Floats  # (n, 1) requests that run at once, by memory or by the engine's limit
    lanes: Floats  # (n,) of a replica
    inputs: Strata  # (s,) prompts
    outputs: Strata  # (k,) tokens generated
    decode_s: Floats  # (n, g) one step without prompt tokens
    read_s: Floats  # (n, s, g) from the first step that reads a prompt to the end of the last
    curves: Floats  # (n, 7, g) in the order of `Curves`
    handover_s: Floats  # (n, s) after reading, before the first token counts: moving keys and values


class Curves(NamedTuple):
    """Means over the strata of prompts."""

    decode_s: Floats
    read_s: Floats
    read_s2: Floats  # of the squares
    read_s3: Floats  # of the cubes
    steps: Floats  # decode steps that happen while a prompt is read: 0 when prompts go before decode
    extra_s: Floats  # what one prompt adds to the time of the decode steps around it
    extra_s2: Floats


def _curves(decode_s: Floats, read_s: Floats, steps: Floats, weights: Floats) -> Floats:
    extra = read_s - steps * decode_s[:, None, :]
    columns = (read_s, read_s**2, read_s**3, steps + 0.0 * read_s, extra, extra**2)
    means = [np.einsum("nsg,s->ng", column, weights) for column in columns]
    return np.stack([decode_s, *means], axis=1)


def both(
    shape: Shape, machine: ServingMachine, layout: ServingLayouts, inputs: Lengths, outputs: Lengths
) -> Lanes:
    """Tabulate a lane of each layout. `layout` columns have shape (n,).

    Raises UserError on lengths below one.
    """
    inputs.check("input_tokens")
    outputs.check("output_tokens")
    prompts, answers = inputs.strata(), outputs.strata()
    slots = _slots(shape, machine, layout, inputs.mean + outputs.mean)
    table = (np.linspace(0.0, 1.0, _POINTS) ** 2) * slots[:, None]
    # a token in the middle of its answer, longer answers counted for longer
    context = inputs.mean + answers.square / (2 * answers.mean)
    decode_s = times.decode(shape, machine, layout.reshaped(1), batch=np.maximum(table, 1.0), context=context)
    wide = layout.reshaped(2)
    read = _chunked if machine.chunk_tokens else _whole
    read_s, steps = read(shape, machine, wide, prompts.tokens[:, None], table[:, None, :], context)
    return Lanes(
        slots=slots[:, None],
        lanes=layout.lanes,
        inputs=prompts,
        outputs=answers,
        decode_s=decode_s,
        read_s=read_s,
        curves=_curves(decode_s, read_s, steps, prompts.weights),
        handover_s=np.zeros((1, 1)),
    )


def _slots(shape: Shape, machine: ServingMachine, layout: ServingLayouts, footprint: float) -> Floats:
    """Whole requests of `footprint` tokens that fit; never fewer than 0.01 so that tables stay finite."""
    room = shapes.kv_tokens(shape, machine, layout) / layout.pp
    limit = machine.sequences / layout.pp
    if machine.chunk_tokens:
        limit = np.minimum(limit, machine.chunk_tokens - 1.0)
    return np.asarray(np.maximum(0.01, np.floor(np.minimum(limit, room / footprint))))


def _whole(
    shape: Shape,
    machine: ServingMachine,
    layout: ServingLayouts,
    prompts: Floats,
    table: Floats,
    context: float,
) -> tuple[Floats, Floats]:
    """A prompt in a step of its own, while nobody decodes."""
    del context
    seconds = times.prefill(shape, machine, layout, prompt=prompts) + 0.0 * table
    return seconds, np.zeros_like(seconds)


def _chunked(
    shape: Shape,
    machine: ServingMachine,
    layout: ServingLayouts,
    prompts: Floats,
    table: Floats,
    context: float,
) -> tuple[Floats, Floats]:
    """Full chunks at the mean of what lies before them, then the rest of the prompt."""
    budget = np.maximum(machine.chunk_tokens - table, 1.0)
    full = np.ceil(prompts / budget) - 1.0
    rest = prompts - full * budget

    def one(prompt: Floats, before: Floats, ending: float) -> Floats:
        return times.step(
            shape,
            machine,
            layout,
            prompt=prompt,
            prompts=1.0,
            running=table,
            context=context,
            before=before,
            ending=table + ending,
        ).total_s

    middle = np.maximum(full - 1.0, 0.0) * budget / 2.0
    seconds = full * one(budget, middle, 0.0) + one(rest, full * budget, 1.0)
    return seconds, np.broadcast_to(full + 1.0, seconds.shape)


def prefill_only(shape: Shape, machine: ServingMachine, layout: ServingLayouts, inputs: Lengths) -> Lanes:
    """Lanes of a pool that only reads prompts, one at a time, and hands keys and values over."""
    inputs.check("input_tokens")
    prompts = inputs.strata()
    seconds = times.prefill(shape, machine, layout.reshaped(1), prompt=prompts.tokens)
    room = shapes.kv_tokens(shape, machine, layout) / layout.pp
    fits = np.where(room >= inputs.mean, 1.0, 0.01)[:, None]
    decode_s = np.zeros((len(layout.tp), _POINTS))
    read_s = np.repeat(seconds[:, :, None], _POINTS, axis=2)
    return Lanes(
        slots=fits,
        lanes=layout.lanes,
        inputs=prompts,
        outputs=Strata(np.array([0.0]), np.array([1.0])),
        decode_s=decode_s,
        read_s=read_s,
        curves=_curves(decode_s, read_s, np.zeros((1, 1, 1)), prompts.weights),
        handover_s=times.transfer(shape, machine, layout.reshaped(1), prompts.tokens),
    )


def decode_only(
    shape: Shape, machine: ServingMachine, layout: ServingLayouts, inputs: Lengths, outputs: Lengths
) -> Lanes:
    """Lanes of a pool that receives keys and values and only decodes."""
    table = both(shape, machine, layout, inputs, outputs)
    nothing = np.zeros_like(table.read_s)
    curves = _curves(table.decode_s, nothing, nothing, table.inputs.weights)
    return table._replace(read_s=nothing, curves=curves)
