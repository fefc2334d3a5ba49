"""Values that several messages carry."""

from typing import Literal

import msgspec

from myriad.kernel.ids import NodeId
from myriad.kernel.units import Instant, Span

#: Independent ways to learn that a node is in trouble. Two that agree are proof; one alone must last.
#: channel: connection to its agent · process: the agent's process · heartbeat: its answers ·
#: peer: other members of a gang · order: it did not carry out an order in time.
Signal = Literal["channel", "process", "heartbeat", "peer", "order"]
Outcome = Literal["succeeded", "failed", "cancelled"]
Role = Literal["operator", "tenant", "viewer"]
#: Why a gang ended, in one word the ledger and the retry policy both understand.
#: done: exit 0 · job: the job's own fault · node: the site's fault · moved: drain or site closing
#: · cancelled: someone asked · scaled: a replica no longer needed · preempted: for someone else
#: · resized: to come back in another size.
StopCause = Literal["done", "job", "node", "moved", "cancelled", "scaled", "preempted", "resized"]
#: What is done after a failure, gentlest first.
RungKind = Literal["restart", "replace", "shrink", "roll_back", "give_up"]
#: Where a checkpoint is: on storage that outlives all nodes, or in the memory of the gang's own nodes.
Tier = Literal["storage", "memory"]
#: What can fail as one: a rack with its switch, a group of racks on one power feed, a pod, the whole site
#: (one machine that pretends to be many nodes).
DomainKind = Literal["rack", "power", "pod", "site"]
#: Why free chips are idle: nobody asks, holes do not fit who asks, or who asks may not hold more.
IdleReason = Literal["no_demand", "fragmentation", "quota", "held_back"]


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the plain values in messages."""


class Member(Value, frozen=True, kw_only=True):
    """One node of a gang and the chips it holds there."""

    node: NodeId
    #: Bit k set: chip k of the node.
    chips: int

    @property
    def chip_count(self) -> int:
        """Chips held on this node."""
        return self.chips.bit_count()


class Profile(Value, frozen=True, kw_only=True):
    """What the edge knows of a job's work before it runs, from its recipe or the user's word."""

    steps: int = 0  # 0: unknown
    tokens_per_step: int = 0
    flops_per_step: float = 0.0  # model FLOPs of one step of the whole gang
    #: Share of the chips' peak FLOP/s that the performance model predicts for a step; 0: not known.
    peak_share: float = 0.0
    parameters: int = 0
    memory_bytes_per_chip: int = 0  # peak, at the job's gang size
    expected_ns: Span = 0  # what the user said, for commands
    memory_copies: bool = False  # it keeps copies in its peers' memory as often as its launch says
    #: Of an elastic job: numbers of nodes at which it has a layout, largest first.
    sizes: tuple[int, ...] = ()
    #: Predicted step time of a gang that spans several racks, pods, cores, relative to one rack.
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Forecast(Value, frozen=True, kw_only=True):
    """What was promised when the job was submitted. Compared with what happened, always."""

    step_ns: Span  # 0: unknown
    start_at: Instant
    #: 10 % and 90 % of the start; 0: unknown.
    start_early_at: Instant = 0
    start_late_at: Instant = 0
    finish_at: Instant
    #: 10 % and 90 % of the finish.
    finish_early_at: Instant
    finish_late_at: Instant
    chip_ns: int  # chips x run time
    cost: str  # decimal text in the price book's currency
    basis: str  # where the step time came from, for people


Code = Literal[
    "quota",
    "capacity",
    "fragmentation",
    "priority",
    "topology",
    "budget",
    "reservation",
    "backoff",
    "site_closed",
    "unknown",
    "too_large",
    "does_not_fit",
    "not_allowed",
    "ended",
]


class Reason(Value, frozen=True, kw_only=True):
    """Why something waits or was refused, and what would change that."""

    code: Code
    text: str
    remedy: str = ""
