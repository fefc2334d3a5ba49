"""What control plane, zygote and agents say to each other: length-prefixed JSON over unix sockets.

Agents speak of the world in the protocol's own observations; the engine stamps them with its clock.
"""

from collections.abc import Iterator

import msgspec

from myriad.protocol import inputs
from myriad.protocol.orders import Launch

_HEAD_BYTES = 4
_LONGEST_BYTES = 64 << 20


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of everything on these sockets."""


# ---- control plane -> zygote, and the new agent's answer -------------------------------------------


class Spawn(Message, frozen=True, kw_only=True):
    """Fork the agent of a node."""

    node: str
    instance: str
    chips: int


class Record(Message, frozen=True, kw_only=True):
    """An agent that lives; also the content of agent.json and zygote.json."""

    node: str
    instance: str
    pid: int
    started: int  # see procs.Process
    boot: str
    address: str


class Refused(Message, frozen=True, kw_only=True):
    """The agent did not come up."""

    reason: str


# ---- control plane -> agent -------------------------------------------------------------------------


class Start(Message, frozen=True, kw_only=True):
    """Start this node's processes of an attempt, unless it was started or stopped before."""

    attempt: str
    placed_at: int = 0
    job: str = ""
    service: str = ""
    launch: Launch
    chips: int  # bit mask
    group_rank: int
    group_size: int
    first_rank: int
    world_size: int
    master_port: int
    service_port: int = 0


class Stop(Message, frozen=True, kw_only=True):
    """End the attempt here and never start it again."""

    attempt: str
    grace_s: float = 0.0
    forget: bool = False  # its job never comes back


class Ask(Message, frozen=True, kw_only=True):
    """Ask the attempt's processes to checkpoint."""

    attempt: str
    request: str


class Qualify(Message, frozen=True, kw_only=True):
    """Run burn-in."""


class Ping(Message, frozen=True, kw_only=True):
    """Are you there?"""

    number: int


class Acknowledge(Message, frozen=True, kw_only=True):
    """Everything up to this number is on record: it need not be kept."""

    seq: int


# ---- agent -> control plane -------------------------------------------------------------------------


class Replica(Message, frozen=True, kw_only=True):
    """A replica that runs here."""

    attempt: str
    port: int


class Running(Message, frozen=True, kw_only=True):
    """An attempt that runs here, and when the brain had placed it."""

    attempt: str
    placed_at: int = 0


class Hello(Message, frozen=True, kw_only=True):
    """First words on every connection; all that is not on record, and all that runs, follows as Events."""

    node: str
    instance: str
    chips: int
    replicas: tuple[Replica, ...] = ()
    #: None: an agent of a release that did not say.
    running: tuple[Running, ...] | None = None


class Event(Message, frozen=True, kw_only=True):
    """Something happened. Numbers count up from 1 for each incarnation; replays keep theirs."""

    seq: int
    what: (
        inputs.NodeQualified
        | inputs.MemberStarted
        | inputs.MemberExited
        | inputs.MemberGone
        | inputs.TrainingResumed
        | inputs.StepsReported
        | inputs.CheckpointReported
        | inputs.WorkerSpoke
    )


class Pong(Message, frozen=True, kw_only=True):
    """I am; and how long a step took here by itself, of each attempt that told since the last."""

    number: int
    paces: dict[str, int] = {}


AnyMessage = (
    Spawn | Record | Refused | Start | Stop | Ask | Qualify | Ping | Acknowledge | Hello | Event | Pong
)

_decoder = msgspec.json.Decoder(AnyMessage)


class Broken(Exception):
    """The other side does not speak this language."""


def encode(message: Message) -> bytes:
    """One frame."""
    body = msgspec.json.encode(message)
    return len(body).to_bytes(_HEAD_BYTES, "big") + body


def decode(body: bytes) -> AnyMessage:
    """The message of a frame's body. Raises Broken."""
    try:
        message: AnyMessage = _decoder.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Broken(str(error)) from None
    return message


class Frames:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[AnyMessage]:
        """The messages that are complete now. Raises Broken."""
        self._held += data
        while len(self._held) >= _HEAD_BYTES:
            size = int.from_bytes(self._held[:_HEAD_BYTES], "big")
            if size > _LONGEST_BYTES:
                raise Broken(f"a frame of {size} bytes")
            if len(self._held) < _HEAD_BYTES + size:
                return
            body = bytes(self._held[_HEAD_BYTES : _HEAD_BYTES + size])
            del self._held[: _HEAD_BYTES + size]
            yield decode(body)
