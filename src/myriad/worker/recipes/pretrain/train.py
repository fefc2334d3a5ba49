"""The pre-training loop of one rank: join, load, step, save, export.

Everything a step computes is a function of (configuration, step, state), and the state is saved whole:
a run that was interrupted takes up exactly the steps and data it would have seen.
"""

import math
import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.nn import functional

from myriad import worker
from myriad.kernel.errors import UserError
from myriad.worker import checkpoints, environment
from myriad.worker.recipes.pretrain import config as recipe
from myriad.worker.recipes.pretrain import corpus, export, order, shards
from myriad.worker.recipes.pretrain.mirror import Mirror
from myriad.worker.recipes.pretrain.pace import Pace
from myriad.worker.recipes.pretrain.state import Saver, State

#: The learning rate ends at this part of its peak.
_FINAL_RATE = 0.1
#: Rank 0 may be building the corpus while the others wait.
_TIMEOUT = timedelta(minutes=30)


def main(config: recipe.Config) -> None:
    """Train to the end, from wherever the job's checkpoints say it stands."""
    exit_on_sigterm()
    place = environment.placement()
    recipe.check_world(config, place.world_size)
    began = time.monotonic()
    device = _join(place)
    root = worker.checkpoint_dir() or Path("checkpoints")
    mirror = _mirror(config, place)
    state, source = _restored(config, root, device, mirror)
    run = _Run(config, root, state, mirror)
    _say(place, f"ready at step {state.step} ({source}) after {time.monotonic() - began:.2f} s")
    run.to_the_end()
    export.write(config, state, root, worker.output_dir() or Path("output"), run.loss)
    # A rank that leaves early would break the others' last collectives. After an error nothing is
    # taken down in order: the process ends, and that is how its peers learn of it.
    if mirror is not None:
        mirror.wait()
    distributed.barrier()
    if mirror is not None:
        mirror.forget()
    distributed.destroy_process_group()


def learning_rate(config: recipe.Config, step: int) -> float:
    """Linear warm-up, then a cosine to a tenth; `step` counts from 1."""
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    span = max(1, config.steps - config.warmup_steps)
    way = (step - config.warmup_steps) / span
    cosine = 0.5 * (1 + math.cos(math.pi * min(way, 1.0)))
    return config.learning_rate * (_FINAL_RATE + (1 - _FINAL_RATE) * cosine)


def exit_on_sigterm() -> None:
    """End at once on SIGTERM, even while the main thread waits inside a collective.

    A Python signal handler would run only after the collective returns, which may be never; a thread
    that waits for the signal needs nobody's cooperation. 143 is what a shell reports for SIGTERM.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        os._exit(143)

    threading.Thread(target=wait, name="sigterm", daemon=True).start()


class _Agreed(NamedTuple):
    """What the ranks agreed on in a step."""

    save: bool  # to storage
    mirror: bool  # to memory
    settled: bool  # no rank is busy with the last one in memory


class _Run:
    """The steps of one attempt on one rank."""

    def __init__(self, config: recipe.Config, root: Path, state: State, mirror: Mirror | None) -> None:
        self.config, self.state, self.mirror = config, state, mirror
        self.device = state.device
        self.place = environment.placement()
        self.pace = Pace(state.model.layers, state.device)
        self.saver = Saver(root, config.keep_checkpoints)
        self.tokens = corpus.tokens(root, config)
        self.loss = math.nan
        self._tried = ""
        self._saved_at = time.monotonic()
        self._every_s = environment.checkpoint_every_s()
        # The first is due at once: what a lost node left behind is there only once until then.
        self._mirrored = self._mirrored_at = -math.inf
        #: The configuration's word, which outweighs an advice in seconds.
        self._mirror_steps = config.memory_every_steps
        self._mirror_every_s = environment.memory_every_s()

    def to_the_end(self) -> None:
        """Every remaining step; the last one is saved."""
        flops = recipe.step_flops(self.config)
        while self.state.step < self.config.steps:
            began = time.monotonic()
            request = self._request()
            agreed = self._step(asked=bool(request) or self._is_due())
            if self.place.rank == 0:
                self._tell(time.monotonic() - began, flops)
            if (compute_s := self.pace.stepped()) is not None:
                worker.pace(step=self.state.step, compute_s=compute_s)
            if self.mirror is not None:
                self._mirror(self.mirror, agreed)
            self._save(agreed.save, request)
        self.saver.wait()

    def _step(self, *, asked: bool) -> _Agreed:
        """One step of training; the same answer on every rank to what rank 0 asks and every rank is."""
        step = self.state.step + 1
        loss = self._gradients(step)
        gradients = [w.grad.to_local() for w in self.state.model.parameters()]
        norm = torch.nn.utils.get_total_norm(gradients).double()
        # One collective for all that the ranks must agree on.
        busy = self.mirror is None or self.mirror.busy
        words = torch.tensor([asked, self._is_mirror_due(), busy]).to(norm)
        told = torch.cat((torch.stack((loss.double(), norm * norm)), words))
        distributed.all_reduce(told)
        loss_sum, norm_squared, wanted, mirror, busy_ranks = told.tolist()
        self.loss = loss_sum
        if not math.isfinite(loss_sum):
            raise UserError(
                f"is too high: the loss at step {step} is {loss_sum}",
                field="config: learning_rate",
                value=self.config.learning_rate,
                remedy="Lower it or raise warmup_steps",
            )
        scale = self.config.grad_clip / (math.sqrt(norm_squared) + 1e-6)
        if scale < 1.0:
            torch._foreach_mul_(gradients, scale)
        rate = learning_rate(self.config, step)
        self.state.optimizer.step(step, rate)
        self.state.step = step
        return _Agreed(bool(wanted), bool(mirror) and not busy_ranks, not busy_ranks)

    def _gradients(self, step: int) -> Any:
        """Accumulate this rank's gradients; its part of the global mean loss."""
        batch = self._batch(step)
        pieces = batch.split(self.config.micro_batch_sequences)
        model, total = self.state.model, torch.zeros((), device=self.device)
        for number, piece in enumerate(pieces, 1):
            model.set_requires_gradient_sync(number == len(pieces))
            logits = model(piece[:, :-1])
            loss = functional.cross_entropy(
                logits.flatten(0, 1).float(), piece[:, 1:].flatten(), reduction="sum"
            )
            loss = loss / self.config.tokens_per_step
            # Sharding averages over ranks what here must be a sum.
            (loss * self.place.world_size).backward()
            total += loss.detach()
        return total

    def _batch(self, step: int) -> Any:
        config, context = self.config, self.config.model.context
        count = corpus.windows(self.tokens, context)
        size = config.global_batch_sequences
        rows = [
            order.window_of(seed=config.seed, step=step, index=index, batch=size, windows=count)
            for index in order.share(rank=self.place.rank, world_size=self.place.world_size, batch=size)
        ]
        taken = [self.tokens[row * context : (row + 1) * context + 1] for row in rows]
        return torch.from_numpy(np.stack(taken).astype(np.int64)).to(self.device)

    def _request(self) -> str:
        """A request for a checkpoint that rank 0 has not seen before; each is tried once."""
        request = worker.should_checkpoint() if self.place.rank == 0 else None
        if request is None or request == self._tried:
            return ""
        self._tried = request
        return request

    def _is_due(self) -> bool:
        """Rank 0 looks at its clock when the cadence is advised in seconds."""
        if self.place.rank or self._every_s is None:
            return False
        return time.monotonic() - self._saved_at >= self._every_s

    def _is_mirror_due(self) -> bool:
        """Rank 0 decides when the gang's memory gets the next one; the last step goes to storage anyway."""
        if self.place.rank or self.mirror is None or self.state.step + 1 >= self.config.steps:
            return False
        if self._mirror_steps is not None:
            return self.state.step + 1 - self._mirrored >= self._mirror_steps
        return time.monotonic() - self._mirrored_at >= (self._mirror_every_s or 0.0)

    def _mirror(self, mirror: Mirror, agreed: _Agreed) -> None:
        mirror.complain()
        done = mirror.settle() if agreed.settled else None
        if done is not None and self.place.rank == 0:
            worker.checkpoint_saved(path=environment.memory_dir() or "", tier="memory", **done._asdict())
        if agreed.mirror and mirror.has_room:
            self._mirrored, self._mirrored_at = self.state.step, time.monotonic()
            mirror.save(self.state)

    def _save(self, asked: bool, request: str) -> None:
        step = self.state.step
        by_step = self._every_s is None and step % self.config.checkpoint_every_steps == 0
        if not (asked or by_step or step == self.config.steps):
            return
        self._saved_at = time.monotonic()
        self.saver.save(self.state, request)
        if asked:
            # Somebody may be waiting to stop us: what is done meanwhile would be lost.
            self.saver.wait()

    def _tell(self, step_s: float, flops: float) -> None:
        step, tokens = self.state.step, self.config.tokens_per_step
        worker.report(step=step, tokens=tokens, loss=self.loss, step_s=step_s, flops=flops)
        if step % self.config.log_every == 0 or step == self.config.steps:
            _say(self.place, f"step {step} loss {self.loss:.4f} {tokens / step_s:.0f} tokens/s")


def _join(place: environment.Placement) -> Any:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(place.local_rank)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        rank=place.rank,
        world_size=place.world_size,
        timeout=_TIMEOUT,
    )
    return torch.device("cuda", place.local_rank) if cuda else torch.device("cpu")


def _mirror(config: recipe.Config, place: environment.Placement) -> Mirror | None:
    """The copies in the nodes' memory, if this run keeps any."""
    given = config.memory_every_steps
    if given == 0 or (given is None and environment.memory_every_s() is None):
        return None
    layout = shards.layout(config.model)
    return Mirror(place, environment.memory_dir(), environment.memory_shift(), layout)


_FRESH, _STORAGE, _START_FROM, _MEMORY = range(4)
_SOURCES = ("from scratch", "from storage", "from start_from", "from memory")


def _restored(config: recipe.Config, root: Path, device: Any, mirror: Mirror | None) -> tuple[State, str]:
    """The state of the newest whole checkpoint of either kind, else `start_from`'s, else fresh weights."""
    step, source = _agreed(config, root, device, mirror)
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    state = State(config, mesh, blank=source != _FRESH)
    if source == _MEMORY and mirror is not None:
        mirror.load(state)
    elif source != _FRESH:
        state.load(Path(config.start_from) if source == _START_FROM else checkpoints.folder(root, step), step)
    if mirror is not None:
        mirror.prepare(state, keep=source == _MEMORY)
    if distributed.get_rank() == 0:
        worker.resumed(step)
    return state, _SOURCES[source]


def _agreed(config: recipe.Config, root: Path, device: Any, mirror: Mirror | None) -> tuple[int, int]:
    """Where to begin. Rank 0 looks, every rank hears it; what rank 0 prepared is ready then."""
    told = torch.zeros(2, dtype=torch.int64)
    if distributed.get_rank() == 0:
        corpus.prepare(root, config)
        told[:] = torch.tensor(_chosen(config, root, mirror))
    told = told.to(device)
    distributed.broadcast(told, src=0)
    step, source = told.tolist()
    return step, source


def _chosen(config: recipe.Config, root: Path, mirror: Mirror | None) -> tuple[int, int]:
    """The step to begin after, and where its state is. What lies after it on storage is set aside."""
    latest = environment.resume_step()
    whole = mirror.found if mirror else None
    if whole and latest is not None and whole.saved.step > latest:
        whole = None
    in_memory = whole.saved.step if whole else -1
    otherwise = f"using step {in_memory} in memory" if whole else "starting from scratch"
    found = checkpoints.newest_complete(
        root, worker.warn, after=in_memory, latest=latest, otherwise=otherwise
    )
    step = found.step if found else in_memory
    checkpoints.set_aside_after(root, step)
    for newer, shards_lost in (mirror.lost if mirror else {}).items():
        if newer > step:
            worker.warn(f"step {newer} in memory is not whole ({shards_lost} of its shards are gone)")
    if found:
        return step, _STORAGE
    if whole:
        return step, _MEMORY
    if config.start_from:
        return checkpoints.at(Path(config.start_from)).step, _START_FROM
    return 0, _FRESH


def _say(place: environment.Placement, text: str) -> None:
    if place.rank == 0:
        print(text, flush=True)
