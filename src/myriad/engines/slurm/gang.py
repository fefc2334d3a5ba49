"""One attempt as the engine knows it: its members, its Slurm job, what was said of it and what is wanted."""

import asyncio

import msgspec

from myriad.engines.common import endings
from myriad.engines.slurm.spool import Spool
from myriad.engines.slurm.tails import Tail
from myriad.kernel.ids import AttemptId, NodeId
from myriad.kernel.units import Instant
from myriad.protocol import inputs, orders


class Listens(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A replica's address."""

    attempt: AttemptId
    url: str


class Paced(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How long the node computes in a step."""

    attempt: AttemptId
    node: NodeId
    pace_ns: int


class EndedBySlurm(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Slurm ended the member's step, and nothing is left of it. Why, Slurm alone knows."""

    attempt: AttemptId
    node: NodeId


Line = (
    inputs.MemberStarted
    | inputs.MemberExited
    | inputs.MemberGone
    | inputs.TrainingResumed
    | inputs.StepsReported
    | inputs.CheckpointReported
    | inputs.WorkerSpoke
    | EndedBySlurm
    | Listens
    | Paced
)
Over = inputs.MemberExited | inputs.MemberGone
_decoder = msgspec.json.Decoder(Line)


def parse(line: bytes) -> Line | None:
    """What a member wrote; None if it means nothing to this release."""
    try:
        found: Line = _decoder.decode(line)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    return found


class Part:
    """One member."""

    def __init__(self, node: NodeId, tail: Tail, now: float) -> None:
        self.node, self.tail = node, tail
        #: Monotonic, and of the wall: when its last sign of life was seen; before any, when it was expected.
        self.alive_at, self.alive_wall = now, 0
        self.started: inputs.MemberStarted | None = None
        self.over: Over | None = None
        #: Nothing of it is left; how it is to be told is only known when Slurm has said why.
        self.ended = False

    @property
    def begun(self) -> bool:
        """There is or was such a process."""
        return self.started is not None or self.tail.mtime_ns > 0

    @property
    def runs(self) -> bool:
        """It has begun, and not said its last word."""
        return self.started is not None and self.over is None and not self.ended


class Gang:
    """All members of an attempt."""

    def __init__(
        self, files: Spool, attempt: AttemptId, nodes: tuple[NodeId, ...], now: float, *, whole: bool
    ) -> None:
        self.attempt, self.nodes, self.whole = attempt, nodes, whole
        self.parts = {
            node: Part(node, Tail(files.log(attempt, node)), now) for node in (nodes[:1] if whole else nodes)
        }
        self.job = ""
        #: Monotonic: a view asked before this may not have the job.
        self.submitted_at = now
        #: Slurm has done with the job.
        self.left = False
        self.stop: orders.StopGang | None = None
        self.cancel_at = 0.0
        self.waits_for = ""
        self.task: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """Every member has said its last word, or it was said for it."""
        return all(part.over for part in self.parts.values())

    @property
    def lively(self) -> bool:
        """Something is about to happen: it should be looked at often."""
        return self.stop is not None or not all(part.started for part in self.parts.values())

    # ---- what the protocol says of a member, or of the whole ------------------------------------------

    def started(self, at: Instant, node: NodeId) -> inputs.Input:
        """Its processes exist."""
        if self.whole:
            return inputs.GangStarted(at=at, attempt=self.attempt)
        return inputs.MemberStarted(at=at, attempt=self.attempt, node=node)

    def exited(self, at: Instant, node: NodeId, code: int, detail: str, since: Instant = 0) -> inputs.Input:
        """They ended by themselves."""
        if self.whole:
            return inputs.GangExited(at=at, attempt=self.attempt, code=code, detail=detail, since=since)
        return inputs.MemberExited(
            at=at, attempt=self.attempt, node=node, code=code, detail=detail, since=since
        )

    def gone(self, at: Instant, node: NodeId) -> inputs.Input:
        """Nothing is left, nor will be."""
        if self.whole:
            return inputs.GangGone(at=at, attempt=self.attempt)
        return inputs.MemberGone(at=at, attempt=self.attempt, node=node)

    def last_word(self, at: Instant, part: Part) -> inputs.Input:
        """How the member ended; of one that was to be stopped only that it is gone."""
        assert part.over
        if self.stop is None and isinstance(part.over, inputs.MemberExited):
            return self.exited(at, part.node, part.over.code, part.over.detail, part.over.at)
        return self.gone(at, part.node)


def refused(gang: Gang, at: Instant, detail: str) -> list[inputs.Input]:
    """It could not be started at all."""
    return [gang.exited(at, node, endings.CANNOT_START, f"cannot start: {detail}") for node in gang.parts]
