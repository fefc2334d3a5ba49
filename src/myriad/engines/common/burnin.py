"""Burn-in of a node: a process there answers whether it computes right, and how fast.

The worker package's recipe does it on the device that torch finds. Without a preloaded torch a small
NumPy check takes its place, so that nodes are up in a moment where no recipe will run.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from myriad.engines.common import forking

_RECIPE = "myriad.worker.recipes.qualify"
_SIZE, _ROUNDS = 256, 8


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What burn-in found; a recipe may print more."""

    ok: bool
    gemm_flops: float = 0.0
    detail: str = ""


def start(output: Path, release: Callable[[], None], *, use_recipe: bool) -> int:
    """Fork the child that runs burn-in; its pid. Its answer is the last line of `output`. Raises OSError."""
    output.unlink(missing_ok=True)

    def become() -> NoReturn:
        if use_recipe and importlib.util.find_spec(_RECIPE):
            forking.run_recipe(["qualify"], {**forking.DEFAULTS, **os.environ})
        sys.stdout.write(json.dumps(measure()) + "\n")
        sys.stdout.flush()
        os._exit(0)

    return forking.fork(output, release, become)


def result(output: Path, code: int) -> Result:
    """The answer of a child that ended with `code`."""
    try:
        lines = output.read_text(errors="replace").split("\n")
    except OSError as error:
        return Result(ok=False, detail=f"burn-in left no answer: {error}")
    last = _last(lines)
    if code:
        return Result(ok=False, detail=f"burn-in ended with code {code}: {last}")
    found = _parsed(last)
    return found or Result(ok=False, detail=f"burn-in gave no answer that can be read: {last[:200]}")


def answer(output: Path) -> Result | None:
    """What one said of which nobody knows how it ended; None: it did not live to answer."""
    try:
        return _parsed(_last(output.read_text(errors="replace").split("\n")))
    except OSError:
        return None


def _last(lines: list[str]) -> str:
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _parsed(line: str) -> Result | None:
    try:
        return msgspec.json.decode(line, type=Result)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def measure() -> dict[str, Any]:
    """A product with a known sum, and the rate of a matrix multiplication."""
    import numpy

    ramp = numpy.arange(_SIZE * _SIZE, dtype=numpy.int64).reshape(_SIZE, _SIZE)
    left, right = (ramp * 7919) % 61 - 30, (ramp * 104729) % 53 - 26
    product = left.astype(numpy.float32) @ right.astype(numpy.float32)
    # column sums of the left times row sums of the right: the same number by another way
    ok = int(product.astype(numpy.int64).sum()) == int(left.sum(0) @ right.sum(1))
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        product @ product
        best = min(best, time.perf_counter() - began)
    detail = "" if ok else "a known product came out wrong"
    return {"ok": ok, "gemm_flops": 2.0 * _SIZE**3 / best, "detail": detail}


if __name__ == "__main__":
    print(json.dumps(measure()))
