"""The training state on the gang: built or loaded, sharded, saved while training goes on.

The state is a flat table of sharded tensors (weights and both moments of Adam) and the step. Torch's
distributed checkpoint writes each rank's shards from a thread and re-cuts them for whatever gang loads
them. Rank 0 alone completes the folder: its future is done only after every rank has written and the
metadata is in place, and only then may the manifest be written.
"""

import time
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import distributed
from torch.distributed import checkpoint as dcp
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from myriad import worker
from myriad.worker import checkpoints
from myriad.worker.recipes.pretrain import config as recipe
from myriad.worker.recipes.pretrain.model import Llama, initialise
from myriad.worker.recipes.pretrain.optimizer import AdamW


class State:
    """The sharded model, its optimizer's moments, and the steps they have seen."""

    def __init__(self, config: recipe.Config, mesh: Any, *, blank: bool) -> None:
        self.device = device = torch.device(mesh.device_type)
        with torch.device("meta"):
            self.model = Llama(config.model)
        if not blank:
            self.model.to_empty(device="cpu")
            initialise(self.model, config.seed)
            self.model.to(device)
        _shard(self.model, config, mesh)
        if blank:
            self.model.to_empty(device=device)
        self.optimizer = AdamW(dict(self.model.named_parameters()), config.weight_decay)
        self.step = 0

    def tensors(self) -> dict[str, Any]:
        """Every tensor that a checkpoint holds, by name."""
        weights = {f"weight.{name}": weight for name, weight in self.model.named_parameters()}
        return weights | self.optimizer.tensors()

    def load(self, path: Path, step: int) -> None:
        """Fill this state from a checkpoint of a gang of any size."""
        # Each rank plans for itself: the folder is verified already, and agreeing again costs time.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            dcp.load(self.tensors(), storage_reader=dcp.FileSystemReader(path), no_dist=True)
        self.step = step


class _Save(NamedTuple):
    """One save under way."""

    path: Path
    step: int
    request: str  # the request it answers, or empty
    began: float  # on the monotonic clock
    stall_s: float  # how long training stood still for it


class Saver:
    """Saves the state in the background, one checkpoint at a time."""

    def __init__(self, root: Path, keep: int) -> None:
        self._root, self._keep = root, keep
        # Of its own: a thread's collectives must not mix with the training's.
        self._group: Any = None
        self._finisher = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def save(self, state: State, request: str = "") -> None:
        """Begin saving; returns when the state is copied and training may change it."""
        began = time.monotonic()
        self.wait()
        if self._group is None:
            self._group = distributed.new_group(backend="gloo")
        path = checkpoints.folder(self._root, state.step)
        written = dcp.async_save(
            state.tensors(),
            storage_writer=dcp.FileSystemWriter(path),
            process_group=self._group,
        )
        save = _Save(path, state.step, request, began, time.monotonic() - began)
        self._pending = self._finisher.submit(self._finish, written, save)

    def wait(self) -> None:
        """Return when no save is under way."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _finish(self, written: Future[Any], save: _Save) -> None:
        """Wait for the data; rank 0 then makes it a checkpoint, says so, and lets older ones go."""
        try:
            written.result()
            if distributed.get_rank() != 0:
                return
            found = checkpoints.complete(save.path, save.step)
        except (OSError, dcp.CheckpointException) as error:
            # The run is worth more than one checkpoint: without a manifest the folder never counts.
            worker.warn(f"checkpoint {save.path.name} could not be written: {error}")
            return
        worker.checkpoint_saved(
            step=save.step,
            path=save.path,
            bytes=found.bytes,
            stall_s=save.stall_s,
            write_s=time.monotonic() - save.began,
            request=save.request,
        )
        # Only now: a stop may wait for the word that there is a new one, and none that older ones are gone.
        try:
            checkpoints.prune(self._root, self._keep)
        except OSError as error:
            worker.warn(f"older checkpoints could not be removed: {error}")


def _shard(model: Llama, config: recipe.Config, mesh: Any) -> None:
    policy = MixedPrecisionPolicy()
    if config.precision == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for layer in model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
