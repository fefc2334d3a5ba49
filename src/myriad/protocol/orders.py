"""What a body must do. Orders follow from facts, carry ids and are idempotent: they can be issued again."""

from typing import Any

import msgspec

from myriad.kernel.ids import AttemptId, JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import Instant
from myriad.protocol.values import Member


class Order(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of everything an engine (or, for WakeAt, the driver) can be told to do."""


class Launch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one attempt's processes are started; the same on every node of the gang."""

    #: `recipe` is run by the worker package with `config`; else `command` is executed.
    recipe: str = ""
    config: dict[str, Any] = {}
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    workdir: str = ""
    #: One process for each chip, or one for each node.
    per_node: bool = False
    #: Seconds between checkpoints that the brain advises (0: the recipe's own cadence).
    checkpoint_every_s: float = 0.0
    #: Seconds between copies to the memory of peers (0: the recipe's own cadence, usually none), and whose
    #: memory: rank r's state is also kept by rank (r + memory_shift) mod n, in nodes of the gang.
    memory_every_s: float = 0.0
    memory_shift: int = 1
    #: Copies of this step are in memory and the nodes that hold them are at their ranks (0: there are none).
    memory_step: int = 0
    #: Load no checkpoint of a later step than this (-1: the newest that is whole; 0: start from scratch).
    resume_step: int = -1


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A gang that is on record."""

    attempt: AttemptId
    #: Those of which something may still run.
    members: tuple[Member, ...]
    placed_at: Instant
    #: It was seen to run, and nobody has ordered its end.
    begun: bool


class KeepGangs(Order, frozen=True, kw_only=True):
    """These gangs are on record and no others: the first order after a start.

    What else runs is ended, and nothing begins on a node before it is gone from there; of what had begun and
    is nowhere its members are told gone. Neither happens but to a journal that was restored from a backup.
    """

    gangs: tuple[Standing, ...]


class StartGang(Order, frozen=True, kw_only=True):
    """Start the attempt on these nodes, in this rank order, unless it was started or stopped before."""

    attempt: AttemptId
    #: Tells it from another of the same name, of a history that the journal has lost.
    placed_at: Instant = 0
    #: Exactly one of the two.
    job: JobId = JobId("")
    service: ServiceId = ServiceId("")
    #: Whose job or service it is, for bodies that keep accounts of their own.
    tenant: TenantId = TenantId("")
    members: tuple[Member, ...]
    launch: Launch


class StopGang(Order, frozen=True, kw_only=True):
    """End the attempt everywhere and never start it again; confirm each member with MemberGone."""

    attempt: AttemptId
    members: tuple[Member, ...]
    #: Seconds between SIGTERM and SIGKILL (0: kill at once).
    grace_s: float = 0.0
    #: The job never comes back: what it keeps in the memory of nodes is to be freed.
    forget: bool = False


class AskCheckpoint(Order, frozen=True, kw_only=True):
    """Ask the attempt to checkpoint now."""

    attempt: AttemptId
    members: tuple[Member, ...]
    request: str


class QualifyNode(Order, frozen=True, kw_only=True):
    """Run burn-in on the node; answer with NodeQualified."""

    node: NodeId


class RepairNode(Order, frozen=True, kw_only=True):
    """Fence the node (answer NodeFenced), then bring it back if you can (answer NodeJoined)."""

    node: NodeId
    #: The incarnation to fence; a newer one must be left alone. Empty: any.
    instance: str = ""


class HoldNode(Order, frozen=True, kw_only=True):
    """Tell the body's own scheduler that the node is kept out of service, or is so no longer.

    `held` false takes back what an earlier order said, never what people did in that scheduler themselves.
    Bodies without a scheduler of their own have nobody to tell.
    """

    node: NodeId
    held: bool
    reason: str = ""


class WakeAt(Order, frozen=True, kw_only=True):
    """Give Woke(about) at that instant; a later WakeAt for the same subject replaces this one."""

    about: str
    wake_at: Instant


AnyOrder = KeepGangs | StartGang | StopGang | AskCheckpoint | QualifyNode | RepairNode | HoldNode | WakeAt
