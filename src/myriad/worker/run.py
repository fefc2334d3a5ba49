"""The program of a recipe's process: `python -m myriad.worker.run RECIPE --config FILE.json`.

An engine may also import this module in a parent, call `preload` there once, and call `exit_with` in
forked children: then a process of a restarted gang begins to train without importing anything.
"""

import argparse
import gc
import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from myriad import worker
from myriad.kernel import documents
from myriad.kernel.errors import UserError

#: A collective failed because another process of the gang is gone: not this process's fault.
PEER_LOST = 75
#: What a person asked for cannot be done.
REFUSED = 2
FAILED = 1

#: Everything the pre-training recipe would import by its first step.
_PRELOADED = (
    "numpy",
    "torch",
    "torch.distributed",
    "torch.distributed.fsdp",
    "torch.distributed.checkpoint",
    "torch._dynamo",
    "tokenizers",
    "safetensors.torch",
    "myriad.worker.recipes.pretrain.train",
)


def preload(*recipes: str) -> None:
    """Import all that processes of `recipes` (default: pretrain) need. Starts no thread: forking is safe.

    Call it in a process started with OMP_NUM_THREADS=1 (numpy's BLAS starts threads otherwise) and with
    the malloc settings its children shall have.
    """
    for name in _PRELOADED:
        importlib.import_module(name)
    if "serve" in recipes:
        from myriad.worker.recipes import serve

        serve.preload()
    # What is imported stays: keep the collector from touching, and so copying, its pages.
    gc.collect()
    gc.freeze()


def main(argv: Sequence[str]) -> int:
    """Run a recipe and report its failure; the exit code."""
    options = _parsed(argv)
    try:
        _run(options.recipe, _read(options.config))
    except UserError as error:
        worker.failed(str(error))
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except Exception as error:  # noqa: BLE001 - the edge of the process: every failure has a report
        traceback.print_exc()
        if _peer_was_lost(error):
            worker.warn(f"a peer is gone: {_one_line(error)}")
            return PEER_LOST
        worker.failed(_one_line(error))
        return FAILED
    return 0


def exit_with(argv: Sequence[str]) -> NoReturn:
    """Run a recipe and end the process at once: no thread or exit handler may hold it back."""
    code = FAILED
    try:
        code = main(argv)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Whatever was raised must not unwind into the parent's code that a forked child still holds.
        os._exit(code)


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m myriad.worker.run", description=__doc__)
    parser.add_argument("recipe", choices=("pretrain", "serve", "qualify"))
    parser.add_argument("--config", type=Path, help="JSON file with the recipe's configuration")
    return parser.parse_args(argv)


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return msgspec.json.decode(documents.read(path), type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise UserError(f"is not a JSON object: {error}", field="--config", value=str(path)) from None


def _run(recipe: str, tree: dict[str, Any]) -> None:
    if recipe == "pretrain":
        from myriad.worker.recipes.pretrain import config, train

        train.main(config.Config.of(tree))
    elif recipe == "serve":
        from myriad.worker.recipes import serve

        serve.main(tree)
    else:
        from myriad.worker.recipes import qualify

        print(json.dumps(qualify.measure()))


def _peer_was_lost(error: Exception) -> bool:
    from torch import distributed

    return isinstance(error, distributed.DistError) or "gloo" in str(error)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


if __name__ == "__main__":
    exit_with(sys.argv[1:])
