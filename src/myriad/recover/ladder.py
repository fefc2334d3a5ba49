"""What next for a job whose attempt failed? The gentlest rung that the evidence has not ruled out.

Restart in place -> replace the node -> shrink -> roll back further -> give up, and say on what evidence. The
rungs are ByteRobust's (2025): of its large jobs' incidents 23 % ended by trying again, 33 % by eviction of a
node, 9 % by rolling back.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from myriad.kernel.ids import NodeId
from myriad.protocol.values import RungKind, StopCause
from myriad.recover.policy import Policy


class Try(NamedTuple):
    """One attempt that failed."""

    cause: StopCause
    root: NodeId  # where it began; empty: a node was lost, or nobody can tell
    resumed_step: int
    last_step: int
    why: str


class Room(NamedTuple):
    """What the job needs and what there is, in nodes."""

    nodes: int
    least: int  # with fewer it cannot run; `nodes` when it is not elastic
    places: int  # that could take a member now, its survivors included


class Rung(NamedTuple):
    """The decision."""

    kind: RungKind
    why: str
    resume_step: int = -1  # roll_back: load nothing later
    nodes: int = 0  # shrink: to so many


def choose(
    tries: Sequence[Try],
    *,
    faults: int,
    retries: int,
    refused: bool,
    checkpoints: Sequence[int],
    room: Room,
    policy: Policy,
) -> Rung:
    """The next rung. tries: failures since the job last made progress, newest last; at least one.

    faults: of them, the job's own. refused: the program said that it would fail again. checkpoints: steps
    that can be gone back to.
    """
    last = tries[-1]
    if last.cause == "job" and refused:
        return Rung("give_up", last.why)
    if last.cause == "job" and faults > retries:
        return Rung("give_up", f"failed {faults} times in a row {_evidence(tries)}: {last.why}")
    stuck = stuck_at(tries, policy)
    earlier = [step for step in checkpoints if step < last.resumed_step]
    if _is_the_checkpoint(stuck, policy) and earlier:
        nodes = ", ".join(dict.fromkeys(one.root for one in stuck))
        why = f"{len(stuck)} attempts from step {last.resumed_step} got no {policy.roll_back_steps} steps far"
        return Rung("roll_back", f"{why}, first on {nodes}", resume_step=_back(earlier, tries, policy))
    if last.cause == "node":
        if room.least <= room.places < room.nodes:
            why = f"{room.places} nodes are left to run on and it can do with {room.least}"
            return Rung("shrink", f"{last.why}; {why}", nodes=room.places)
        return Rung("replace", last.why)
    return Rung("restart", f"own fault {faults} of {retries + 1}: {last.why}")


def stuck_at(tries: Sequence[Try], policy: Policy) -> list[Try]:
    """The newest tries that began at one checkpoint and did not get far. Lost nodes say nothing of it."""
    begun = [one for one in tries if one.root]
    at = tries[-1].resumed_step
    return list(takewhile(lambda one: _did_not_get_far(one, at, policy), reversed(begun)))[::-1]


def _back(earlier: Sequence[int], tries: Sequence[Try], policy: Policy) -> int:
    """One back at first, then two, then four: what spoiled several may have spoiled many."""
    begun = [one.resumed_step for one in tries if one.last_step - one.resumed_step <= policy.roll_back_steps]
    before = len(dict.fromkeys(begun)) - 1
    return sorted(earlier)[-min(len(earlier), 1 << before)]


def _did_not_get_far(one: Try, at: int, policy: Policy) -> bool:
    return one.resumed_step == at and one.last_step - at <= policy.roll_back_steps


def _is_the_checkpoint(stuck: Sequence[Try], policy: Policy) -> bool:
    """Several failed from it, and not because of one node: others fail too, or it was replaced meanwhile."""
    several = len(stuck) >= policy.roll_back_after
    return several and (len({one.root for one in stuck}) > 1 or len(stuck) > policy.roll_back_after)


def _evidence(tries: Sequence[Try]) -> str:
    ends = ", ".join(str(one.last_step) for one in tries)
    roots = ", ".join(dict.fromkeys(one.root for one in tries if one.root)) or "no node in particular"
    return f"without progress (from step {tries[-1].resumed_step}; ended at {ends}; began on {roots})"
