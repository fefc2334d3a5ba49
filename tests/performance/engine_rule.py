"""A small seeded simulation of one engine under the batching rules of performance.serving.load.

The judge of its formulas.
"""

from collections import deque
from dataclasses import dataclass
from functools import cache

import numpy as np

from myriad.performance.serving import shapes, times
from myriad.performance.serving.lanes import Lengths
from myriad.performance.serving.machine import ServingMachine
from myriad.performance.serving.shapes import ServingLayouts, Shape


@dataclass(slots=True)
class Request:
    at: float
    prompt: int
    left: int
    unread: int
    context: int
    first: float = 0.0
    answer: int = 0


@dataclass(frozen=True)
class Seen:
    """What a caller would measure."""

    ttft_s: np.ndarray
    tpot_s: np.ndarray
    batch: float  # running requests, averaged over time
    done: int


def draw(rng: np.random.Generator, lengths: Lengths, count: int) -> np.ndarray:
    if lengths.cv == 0:
        return np.full(count, round(lengths.mean))
    sigma = np.sqrt(np.log1p(lengths.cv**2))
    return np.maximum(1, np.rint(rng.lognormal(np.log(lengths.mean) - sigma**2 / 2, sigma, count))).astype(
        int
    )


def simulate(
    shape: Shape,
    machine: ServingMachine,
    layout: ServingLayouts,
    *,
    rate: float,
    inputs: Lengths,
    outputs: Lengths,
    slots: int,
    count: int = 3000,
    seed: int = 1,
    received: bool = False,
) -> Seen:
    """Serve `count` Poisson arrivals; the first tenth warms up and is not counted.

    `received`: prompts were read elsewhere and cost nothing here.
    """
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.exponential(1 / rate, count))
    prompts, answers = draw(rng, inputs, count), draw(rng, outputs, count)
    coming = deque(
        Request(a, int(p), int(o), int(p), int(p), 0.0, int(o))
        for a, p, o in zip(at, prompts, answers, strict=True)
    )
    step_s = _step_times(shape, machine, layout)
    chunk = int(machine.chunk_tokens)
    now, area, waiting, running, finished = 0.0, 0.0, deque(), [], []
    while coming or waiting or running:
        while coming and coming[0].at <= now:
            waiting.append(coming.popleft())
        if not waiting and not running:
            now = coming[0].at
            continue
        while received and waiting and len(running) < slots:
            running.append(waiting.popleft())
            running[-1].first, running[-1].left = now, running[-1].answer - 1
        take = [] if received else _take(waiting, len(running), slots, chunk)
        decoding = running if chunk or not take else []
        context = np.mean([one.context for one in decoding]) if decoding else 0.0
        reading = sum(tokens for _, tokens in take)
        before = sum((r.prompt - r.unread) * tokens for r, tokens in take) / reading if take else 0.0
        took = step_s(len(decoding), round(context / 64), reading, round(before / 64), len(take))
        area += took * len(running)
        now += took
        for one in decoding:
            one.left -= 1
            one.context += 1
        finished += [(one, now) for one in decoding if one.left == 0]
        running = [one for one in running if one.left]
        for one, tokens in take:
            one.unread -= tokens
            if one.unread == 0:
                waiting.remove(one)
                one.first, one.left = now, one.left - 1
                (running.append(one) if one.left else finished.append((one, now)))
    counted = [(one, end) for one, end in finished if at[count // 10] <= one.at]
    tpot = [(end - one.first) / (one.answer - 1) for one, end in counted if one.answer > 1]
    return Seen(
        np.array([one.first - one.at for one, _ in counted]), np.array(tpot), area / now, len(finished)
    )


def _take(waiting, running: int, slots: int, chunk: int) -> list[tuple[Request, int]]:
    """Prompts, and how many of their tokens, that the next step reads."""
    if not waiting or running >= slots:
        return []
    if not chunk:
        return [(waiting[0], waiting[0].unread)]
    budget, found = chunk - running, []
    for one in waiting:
        if budget <= 0 or running + len(found) >= slots:
            break
        found.append((one, min(one.unread, budget)))
        budget -= found[-1][1]
    return found


def _step_times(shape: Shape, machine: ServingMachine, layout: ServingLayouts):
    @cache
    def seconds(running: int, context: int, reading: int, before: int, prompts: int) -> float:
        many = max(prompts, 1)
        return float(
            times.step(
                shape,
                machine,
                layout,
                prompt=reading / many,
                prompts=float(prompts),
                running=float(running),
                context=64.0 * context,
                before=64.0 * before,
            ).total_s.item()
        )

    return seconds


def slots_of(shape, machine, layout, inputs: Lengths, outputs: Lengths) -> int:
    """As load.lanes counts them."""
    room = shapes.kv_tokens(shape, machine, layout).item() / layout.pp.item()
    limit = (
        machine.sequences if not machine.chunk_tokens else min(machine.sequences, machine.chunk_tokens - 1)
    )
    return int(min(limit, room // (inputs.mean + outputs.mean)))
