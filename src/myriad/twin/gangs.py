"""A started gang of the simulated world: what it does by itself, and how far it is."""

from typing import NamedTuple

import msgspec

from myriad.kernel.ids import NodeId
from myriad.kernel.units import SECOND, Instant, Span
from myriad.protocol import orders
from myriad.twin.physics import Physics
from myriad.twin.progress import Pace, Progress
from myriad.twin.workload.work import Work

#: Later than anything.
ENDLESS: Instant = 1 << 62
_ALIKE = (1.0, 1.0, 1.0)


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated gang does: of a job whose truth is known, or read from its launch's config."""

    #: Steps until it ends; 0: it runs until it is stopped or `World.finish` ends it.
    steps: int = 0
    #: Time of a step on the nodes that the job's first gang has; on others in inverse proportion.
    step_s: float = 0.0
    tokens: float = 1000
    flops: float = 0.0
    checkpoint_every_steps: int = 0
    #: Copies to peers' memory (0: none).
    memory_every_steps: int = 0
    fail_at_step: int = 0
    exit_code: int = 0
    #: After the last step it waits to be finished, instead of ending; or its user cancels it then.
    lingers: bool = False
    cancelled: bool = False
    #: Bytes of a checkpoint; it is as often as the launch advises. 0: only every so many steps, if at all.
    checkpoint_bytes: float = 0.0
    #: Share of a step in communication that nothing hides, and step time over several racks, pods, cores.
    exposed: float = 0.0
    stretch: tuple[float, float, float] = _ALIKE
    #: Nodes for which `step_s` is meant; 0: those of the job's first gang.
    nodes: int = 0

    @staticmethod
    def of(launch: orders.Launch) -> "Behaviour":
        """The behaviour a launch asks for."""
        return msgspec.convert(launch.config, Behaviour)

    @staticmethod
    def true(work: Work) -> "Behaviour":
        """The behaviour of a job whose truth is known."""
        truth = work.truth
        return Behaviour(
            steps=max(1, truth.work_ns // truth.step_ns),
            step_s=truth.step_ns / SECOND,
            tokens=truth.tokens,
            flops=truth.flops,
            exit_code=int(truth.outcome == "failed"),
            cancelled=truth.outcome == "cancelled",
            checkpoint_bytes=truth.checkpoint_bytes,
            exposed=truth.exposed,
            stretch=truth.stretch,
            nodes=work.spec.max_nodes,
        )


class Waits:
    """Parts of the time of steps that are not work, since they were last told; ns of one chip."""

    __slots__ = ("exposed", "straggled", "throttled")

    def __init__(self) -> None:
        self.straggled = self.exposed = self.throttled = 0


class Ending(NamedTuple):
    """How the processes of a gang end by themselves."""

    code: int = 1
    #: The node that failed first; empty: nobody can tell.
    root: NodeId = NodeId("")
    detail: str = ""
    #: When work stopped, if that was before; 0: it did not.
    since: Instant = 0


class Run:
    """One started attempt: what its processes share."""

    def __init__(self, order: orders.StartGang, does: Behaviour, scale: float) -> None:
        self.order, self.does = order, does
        #: Its nodes by rank.
        self.nodes = [member.node for member in order.members]
        self.chips = len(order.members) * order.members[0].chip_count
        #: Time of a step on these nodes, all healthy and in one rack.
        self.base_ns: Span = int(does.step_s * SECOND * scale)
        #: What makes a step longer: where the nodes are, the slowest of them, the site's power.
        self.stretch = self.slowest = self.throttle = 1.0
        #: Until then it says how fast each of its nodes is.
        self.uneven_until: Instant = 0
        #: Nodes whose processes were started, with the incarnation that has them.
        self.started: dict[NodeId, int] = {}
        self.exits: dict[NodeId, Ending] = {}
        #: None until its state is loaded.
        self.progress: Progress | None = None
        #: Up to which step it has told of its steps, its saves and its copies.
        self.reported = self.counted = self.copied = 0
        self.waits = Waits()
        self.broken = self.finished = self.waiting = False
        self.request = ""
        #: From this step on its state is wrong, and nobody knows (-1: it is right).
        self.spoiled_from = -1
        #: Changes when what was planned for it is void.
        self.epoch = 0

    @property
    def silent(self) -> bool:
        """A command that does not speak to us: nothing but its end is seen."""
        return bool(self.order.launch.command)

    def is_wrong(self, step: int) -> bool:
        """Whether its state after a step is wrong, which nobody knows yet."""
        return 0 <= self.spoiled_from <= step

    def pace(self, physics: Physics) -> Pace:
        """How it goes on now."""
        does, launch, nodes = self.does, self.order.launch, len(self.nodes)
        step_ns = max(1, int(self.base_ns * self.stretch * self.slowest * self.throttle))
        if not does.checkpoint_bytes:
            return Pace(
                step_ns,
                does.checkpoint_every_steps,
                int(physics.save_s * SECOND),
                does.memory_every_steps,
                int(physics.copy_s * SECOND),
            )
        return Pace(
            step_ns,
            _steps(launch.checkpoint_every_s, step_ns) if not self.silent else 0,
            int(physics.save_stall_s(does.checkpoint_bytes, nodes) * SECOND),
            _steps(launch.memory_every_s, step_ns),
            int(physics.copy_s * SECOND),
        )

    def count(self, steps: int) -> None:
        """So many steps were done at the present pace: what of their time was no work."""
        waits, placed_ns = self.waits, int(self.base_ns * self.stretch)
        waits.exposed += steps * (int(self.base_ns * self.does.exposed) + placed_ns - self.base_ns)
        slowed_ns = int(self.base_ns * self.stretch * self.slowest)
        whole_ns = int(self.base_ns * self.stretch * self.slowest * self.throttle)
        waits.straggled += steps * (slowed_ns - placed_ns)
        waits.throttled += steps * (whole_ns - slowed_ns)


def _steps(every_s: float, step_ns: Span) -> int:
    """A cadence in steps."""
    return max(1, round(every_s * SECOND / step_ns)) if every_s else 0
