"""Reports of workers, as the node's agent hears them: datagrams in, observations out.

Workers may say anything, so nothing here trusts them: what is malformed, oversized or of an attempt
that does not run here is dropped and counted. Progress is summed up to a few observations a second.
"""

import json
import math
from collections.abc import Callable
from typing import Annotated

import msgspec

from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import inputs
from myriad.protocol.values import Tier

DATAGRAM_BYTES = 64 << 10
#: At most ten times a second: StepsReported and checkpoints in memory of each attempt.
_EVERY_S = 0.1
_TEXT_CHARS = 2000
_SECOND = 1_000_000_000
#: Words of one attempt put on record; the rest is in its log.
_WORDS = 200

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Report(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    attempt: str
    rank: _Count = 0


class Resumed(_Report, frozen=True, kw_only=True, tag="resumed"):
    """Training loaded its state."""

    step: _Count


class Progress(_Report, frozen=True, kw_only=True, tag="progress"):
    """One step is done."""

    step: _Count
    tokens: _Count = 0
    loss: float | None = None
    step_s: float = 0.0
    flops: float = 0.0


class Pace(_Report, frozen=True, kw_only=True, tag="pace"):
    """What one rank computed in a step, without waiting for others."""

    step: _Count
    compute_s: float


class Saved(_Report, frozen=True, kw_only=True, tag="checkpoint"):
    """A checkpoint is complete."""

    step: _Count
    path: str
    bytes: _Count = 0
    stall_s: float = 0.0
    write_s: float = 0.0
    request: str = ""
    tier: Tier = "storage"


class Warned(_Report, frozen=True, kw_only=True, tag="warning"):
    """A line for people."""

    text: str


class Failed(_Report, frozen=True, kw_only=True, tag="failed"):
    """Why the process is about to exit."""

    text: str


Report = Resumed | Progress | Pace | Saved | Warned | Failed


def parse(data: bytes) -> Report | None:
    """The report of a datagram; None when it is not one."""
    if len(data) > DATAGRAM_BYTES:
        return None
    try:
        # json and not msgspec: a loss may be NaN, and training that diverged still makes progress
        report: Report = msgspec.convert(json.loads(data), Report, strict=False)
    except (ValueError, RecursionError, msgspec.ValidationError):
        return None
    return report


def finite(number: float | None) -> float:
    """The number, or 0 for what JSON and journals cannot hold."""
    return number if number is not None and math.isfinite(number) else 0.0


def span_ns(seconds: float) -> int:
    """Nanoseconds of a worker's seconds; nonsense is 0."""
    return int(min(max(finite(seconds), 0.0), 1e9) * _SECOND)


class Listener:
    """Turns the reports of one attempt on one node into observations."""

    def __init__(self, attempt: str, node: str, tell: Callable[[inputs.Input], None]) -> None:
        self._attempt, self._node, self._tell = AttemptId(attempt), NodeId(node), tell
        self._held: inputs.StepsReported | None = None
        self._held_memory: inputs.CheckpointReported | None = None
        self._release_at = 0.0
        self._words_left = _WORDS
        self._diverged = False
        #: Time each rank of this node computed in a step of late; the largest is the node's.
        self.compute_ns: dict[int, int] = {}
        self._paced = False
        #: Last words of each rank: why it failed.
        self.last_words: dict[int, str] = {}

    @property
    def due_at(self) -> float | None:
        """When held progress wants to be told."""
        return self._release_at if self._held or self._held_memory else None

    def hear(self, report: Report, now: float, at: int) -> None:
        """One report; `now` is monotonic, `at` the wall clock."""
        match report:
            case Progress():
                self._progress(report, now, at)
            case Pace():
                self.compute_ns[report.rank] = span_ns(report.compute_s)
                self._paced = True
            case Resumed():
                self.flush(now)
                self._tell(inputs.TrainingResumed(at=at, attempt=self._attempt, step=report.step))
            case Saved(tier="memory"):  # as often as steps: the newest is what counts
                if not self._held and not self._held_memory:
                    self._release_at = max(self._release_at, now)
                self._held_memory = self._saved(report, at)
            case Saved():
                self.flush(now)
                self._tell(self._saved(report, at))
            case Warned():
                self._speak(report.text, at, fatal=False)
            case Failed():
                self.last_words[report.rank] = report.text[:_TEXT_CHARS]
                self._speak(report.text, at, fatal=True)

    def pace(self) -> int:
        """How long the node computes in a step, its slowest rank; 0 if none told since the last call."""
        paced, self._paced = self._paced, False
        return max(self.compute_ns.values()) if paced else 0

    def note(self, text: str, at: int) -> None:
        """Something the agent itself wants on record about the attempt."""
        self._speak(text, at, fatal=False)

    def flush(self, now: float) -> None:
        """Tell what is held: progress first, which a checkpoint confirms."""
        for held in (self._held, self._held_memory):
            if held:
                self._release_at = now + _EVERY_S
                self._tell(held)
        self._held = self._held_memory = None

    def _progress(self, report: Progress, now: float, at: int) -> None:
        if report.rank:  # figures are of the whole gang: one process speaks for all
            return
        if report.loss is not None and not math.isfinite(report.loss) and not self._diverged:
            self._diverged = True
            self._speak(f"loss is {report.loss} at step {report.step}", at, fatal=False)
        held = self._held
        self._held = inputs.StepsReported(
            at=at,
            attempt=self._attempt,
            step=report.step,
            tokens=report.tokens + (held.tokens if held else 0),
            flops=finite(max(report.flops, 0.0) + (held.flops if held else 0.0)),
            loss=finite(report.loss),
            step_ns=span_ns(report.step_s),
        )
        if held is None and self._held_memory is None:
            self._release_at = max(self._release_at, now)

    def _saved(self, report: Saved, at: int) -> inputs.CheckpointReported:
        return inputs.CheckpointReported(
            at=at,
            attempt=self._attempt,
            step=report.step,
            path=report.path,
            checkpoint_bytes=report.bytes,
            stall_ns=span_ns(report.stall_s),
            write_ns=span_ns(report.write_s),
            request=report.request,
            tier=report.tier,
        )

    def _speak(self, text: str, at: int, *, fatal: bool) -> None:
        if self._words_left or fatal:
            self._words_left = max(0, self._words_left - 1)
            said = inputs.WorkerSpoke(
                at=at, attempt=self._attempt, node=self._node, text=text[:_TEXT_CHARS], fatal=fatal
            )
            self._tell(said)
