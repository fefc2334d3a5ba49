"""How long a rank itself computes: the forward passes of its layers, without any wait for other ranks.

Every rank of a gang ends a step at the same moment, because each waits for the slowest in every collective.
What it does between gathering a layer's weights and the next collective is its own: there a slow chip shows.
"""

import time
from typing import Any

import torch

#: Each rank tells this often at most, the mean of the steps since.
EVERY_S = 1.0


class Pace:
    """Times the layers of a sharded model. On an accelerator by events on its stream, which cost no wait."""

    def __init__(self, layers: Any, device: Any) -> None:
        self._on_device = device.type == "cuda"
        self._taken_s, self._began = 0.0, 0.0
        self._events: list[Any] = []
        self._steps, self._told_at = 0, -EVERY_S
        for layer in layers:
            # Sharding gathers in a hook of its own before the first of these, and frees after the second.
            layer.register_forward_pre_hook(self._start)
            layer.register_forward_hook(self._stop, prepend=True)

    def stepped(self) -> float | None:
        """Call after a step's last collective: seconds of computing in a step, when it is time to tell."""
        self._steps += 1
        now = time.monotonic()
        if now - self._told_at < EVERY_S:
            return None
        pairs = zip(self._events[::2], self._events[1::2], strict=True)
        taken_s = self._taken_s + sum(start.elapsed_time(stop) for start, stop in pairs) / 1e3
        mean_s = taken_s / self._steps
        self._taken_s, self._steps, self._told_at = 0.0, 0, now
        self._events.clear()
        return mean_s

    def _start(self, *_: Any) -> None:
        if self._on_device:
            self._record()
        else:
            self._began = time.perf_counter()

    def _stop(self, *_: Any) -> None:
        if self._on_device:
            self._record()
        else:
            self._taken_s += time.perf_counter() - self._began

    def _record(self) -> None:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._events.append(event)
