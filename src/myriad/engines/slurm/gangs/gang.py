"""One attempt as the engine knows it: its members, its Slurm job, what was said of it and what is wanted."""

import asyncio
from collections.abc import Mapping

import msgspec

from myriad.engines.slurm.asking.reading import Ending
from myriad.engines.slurm.gangs.tails import Tail
from myriad.engines.slurm.spool import Spool
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
#: Ends that Slurm gives a job for its own reasons; one it does not know any more, it forgot in a crash.
_NOT_ITS_FAULT = (
    "NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED", "COMPLETED", "COMPLETING", "RUNNING", "PENDING",
)  # fmt: skip


_TEXT_CHARS, _INT_MOST, _FLOAT_MOST = 8192, 2**62, 1e30
#: What a gang of somebody else may put on record, at once and in a second: a lively one reports 20 times.
_REPORTS, _WORDS = (20_000, 50), (1_000, 0.1)
#: What a member says once.
_ONCE = inputs.MemberStarted | inputs.MemberExited | inputs.MemberGone | EndedBySlurm | Listens
_COUNTS = (
    "at", "since", "step", "tokens", "flops", "step_ns", "straggled_ns", "exposed_ns", "throttled_ns",
    "checkpoint_bytes", "stall_ns", "saves", "write_ns", "pace_ns",
)  # fmt: skip


def parse(line: bytes, attempt: str, node: str, address: str | None = None) -> Line | None:
    """What the member there wrote; None if it means nothing to this release, or is not for it to say.

    `address`: its node's, if it is not ours: a replica can be nowhere else.
    """
    try:
        found: Line = _decoder.decode(line)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return None
    own = found.attempt == attempt and getattr(found, "node", node) == node
    return found if own and _sane(found) and (address is None or _at(found, address)) else None


def _sane(found: Line) -> bool:
    """Values that journals hold, and that honest members keep within."""
    for value in (getattr(found, name) for name in found.__struct_fields__):
        if isinstance(value, str) and len(value) > _TEXT_CHARS:
            return False
        if isinstance(value, int) and abs(value) > _INT_MOST:
            return False
        if isinstance(value, float) and not abs(value) <= _FLOAT_MOST:  # nor NaN
            return False
    return all(getattr(found, name, 0) >= 0 for name in _COUNTS)


def _at(found: Line, address: str) -> bool:
    """A replica is where its member is, whatever that says."""
    if not isinstance(found, Listens):
        return True
    host, _, port = found.url.removeprefix("http://").rpartition(":")
    return found.url.startswith("http://") and host == address and port.isascii() and port.isdigit()


class Budget:
    """So many at once, and so many more a second."""

    def __init__(self, most: float, a_second: float, now: float) -> None:
        self._most, self._a_second = most, a_second
        self._left, self._at = most, now

    def spend(self, now: float) -> bool:
        """One of them, if there is one left."""
        self._left = min(self._most, self._left + self._a_second * (now - self._at))
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Part:
    """One member."""

    def __init__(self, node: NodeId, tail: Tail, now: float) -> None:
        self.node, self.tail = node, tail
        #: Monotonic, and of the wall: when its last sign of life was seen; before any, when it was expected.
        self.alive_at, self.alive_wall = now, 0
        #: That sign was seen as it was given, not found when we began.
        self.heard = False
        self.started: inputs.MemberStarted | None = None
        #: Up to where its file was told to the brain, its last word apart; and up to where that is noted.
        self.heard_to = self.marked_to = 0
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
        self,
        files: Spool,
        attempt: AttemptId,
        nodes: tuple[NodeId, ...],
        now: float,
        lease_s: float,
        *,
        whole: bool,
    ) -> None:
        self.attempt, self.nodes, self.whole = attempt, nodes, whole
        self._reports, self._words = Budget(*_REPORTS, now), Budget(*_WORDS, now)
        #: What its members' guards go by: as it was configured when the gang was planned.
        self.lease_s = lease_s
        owner = files.owner(attempt)
        uid = owner.uid if owner else None
        self.parts = {
            node: Part(node, Tail(files.log(attempt, node), owner=uid), now)
            for node in (nodes[:1] if whole else nodes)
        }
        self.job = ""
        #: Monotonic: a view asked before this may not have the job.
        self.submitted_at = now
        #: Slurm has done with the job.
        self.left = False
        self.stop: orders.StopGang | None = None
        self.cancel_at = 0.0
        #: Why Slurm does not begin its job, and what of that was told.
        self.waits_for = self.waiting_told = ""
        self.task: asyncio.Task[None] | None = None
        #: It serves: where, is said at the beginning of its members' files.
        self.serves = False
        #: It was there when we began.
        self.adopted = False
        #: When the brain placed it; 0: not known.
        self.placed_at: Instant = 0
        #: It is not on record: it is being ended, and nothing is told of it.
        self.strange = False
        #: Of a strange one that is over: nothing of it is left in the shared folder but its claim.
        self.clearing: asyncio.Task[None] | None = None
        self.cleared = asyncio.Event()

    def hears(self, part: Part, line: bytes, address: str | None, now: float) -> Line | None:
        """What a member wrote, as `parse`; of a gang that is not ours no more than an honest one says."""
        found = parse(line, self.attempt, part.node, address)
        if address is None or found is None:
            return found
        if isinstance(found, _ONCE):
            again = part.over or (part.started and isinstance(found, inputs.MemberStarted))
            return None if again else found
        budget = self._words if isinstance(found, inputs.WorkerSpoke) else self._reports
        return found if budget.spend(now) else None

    def resume(self, heard_to: Mapping[str, int]) -> None:
        """What a predecessor has told the brain of its members need not be told again."""
        for node, part in self.parts.items():
            if end := heard_to.get(node, 0):
                part.tail = Tail(part.tail.path, end, part.tail.owner)
                part.heard_to = part.marked_to = end
                part.started = inputs.MemberStarted(at=0, attempt=self.attempt, node=node)

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

    def spoke(self, at: Instant, text: str, *, fatal: bool = False) -> inputs.Input:
        """What people should know of the whole; `fatal`: it is why it ends."""
        return inputs.WorkerSpoke(at=at, attempt=self.attempt, node=self.nodes[0], text=text, fatal=fatal)

    def last_word(self, at: Instant, part: Part) -> inputs.Input:
        """How the member ended; of one that was to be stopped only that it is gone."""
        assert part.over
        if self.stop is None and isinstance(part.over, inputs.MemberExited):
            return self.exited(at, part.node, part.over.code, part.over.detail, part.over.at)
        return self.gone(at, part.node)


def refused(gang: Gang, at: Instant, detail: str) -> list[inputs.Input]:
    """It could not be started at all: for the site to mend, and the doing of no job and no node."""
    words = gang.spoke(at, f"cannot start: {detail}", fatal=True)
    return [words, *(gang.gone(at, node) for node in gang.parts)]


def inferred(one: Gang, part: Part, ending: Ending | None, at: Instant) -> Over:
    """How a member ended that did not say it itself. Gone is the site's doing, an exit is the job's."""
    state = ending.state.split("+")[0] if ending else ""
    # a member says how its processes ended: to fail without a word is to have been killed, by its guard or by
    # hand. Where none has begun, to fail is what the job does, and to be cancelled is not
    begun = any(other.begun for other in one.parts.values())
    if one.stop or ending is None or state in _NOT_ITS_FAULT or begun == (state == "FAILED"):
        return inputs.MemberGone(at=at, attempt=one.attempt, node=part.node)
    detail = f"job {one.job} was ended by Slurm: {ending.state}"
    code = ending.code or -15
    return inputs.MemberExited(at=at, attempt=one.attempt, node=part.node, code=code, detail=detail)
