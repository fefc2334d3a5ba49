"""What runs in the simulated world: started gangs, and the checkpoints that jobs have."""

from typing import NamedTuple

import msgspec

from myriad.kernel.ids import NodeId
from myriad.protocol import orders


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated gang does, read from its launch's config; other keys are a real recipe's."""

    #: Steps until it ends; 0: it runs until it is stopped or `World.finish` ends it.
    steps: int = 0
    #: Time of a step on the nodes that the job's first gang has; on others in inverse proportion.
    step_s: float = 0.0
    tokens: int = 1000
    checkpoint_every_steps: int = 0
    #: Copies to peers' memory (0: none).
    memory_every_steps: int = 0
    fail_at_step: int = 0
    exit_code: int = 0
    #: After the last step it waits to be finished, instead of ending.
    lingers: bool = False

    @staticmethod
    def of(launch: orders.Launch) -> "Behaviour":
        """The behaviour a launch asks for."""
        return msgspec.convert(launch.config, Behaviour)


class Run:
    """One started attempt: what its processes share. Its launch says how it behaves (`Behaviour`)."""

    def __init__(self, order: orders.StartGang, scale: float) -> None:
        self.order = order
        #: Its nodes by rank.
        self.nodes = [member.node for member in order.members]
        self.does = Behaviour.of(order.launch)
        #: Time of a step over that on the nodes that the job began with.
        self.scale = scale
        #: Nodes whose processes were started, with the incarnation that has them.
        self.started: dict[NodeId, int] = {}
        self.exits: dict[NodeId, int] = {}
        self.step = 0
        self.broken = False
        self.finished = False
        self.waiting = False
        self.request = ""
        #: Its nodes may differ in speed, and it says so at each step.
        self.uneven = False


class Copies(NamedTuple):
    """A checkpoint in memory: each rank's state is on its own node and on its partner's."""

    step: int
    holders: tuple[tuple[NodeId, int], ...]  # by rank: node and incarnation
    shift: int


class Checkpoints:
    """Of all jobs: on shared storage, and in the memory of nodes."""

    def __init__(self) -> None:
        #: Steps of complete checkpoints on storage, by job, oldest first; those that only look complete.
        self._stored: dict[str, list[int]] = {}
        self._spoiled: dict[tuple[str, int], None] = {}
        #: Job -> its newest copies in memory, wherever they still are.
        self._copies: dict[str, Copies] = {}

    def store(self, job: str, step: int) -> None:
        """One more on storage."""
        self._stored.setdefault(job, []).append(step)
        self._spoiled.pop((job, step), None)

    def copy(self, job: str, copies: Copies) -> None:
        """The newest in memory."""
        self._copies[job] = copies

    def forget(self, job: str) -> None:
        """The job never comes back: its memory is freed."""
        self._copies.pop(job, None)

    def spoil(self, job: str) -> None:
        """The newest on storage is whole to look at, and training fails from it."""
        self._spoiled[job, self._stored[job][-1]] = None

    def is_spoiled(self, job: str, step: int) -> bool:
        """Whether training fails from it."""
        return (job, step) in self._spoiled

    def on_storage(self, job: str, latest: int) -> int:
        """The step that can be loaded from storage; newer ones than `latest` (-1: any) are set aside."""
        steps = [step for step in self._stored.get(job, ()) if not 0 <= latest < step]
        self._stored[job] = steps
        return steps[-1] if steps else 0

    def in_memory(self, job: str, members: list[tuple[NodeId, int]]) -> int:
        """The step that a gang on these nodes and incarnations can load from memory; 0: something is gone."""
        copies = self._copies.get(job)
        if copies is None:
            return 0
        holds = [member == holder for member, holder in zip(members, copies.holders, strict=False)]
        whole = all(here or holds[(k + copies.shift) % len(holds)] for k, here in enumerate(holds))
        return copies.step if whole and len(holds) == len(copies.holders) else 0
