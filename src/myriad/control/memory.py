"""Checkpoints of a job on both tiers: which it has, who holds copies, how far back a stop throws it."""

from collections.abc import Iterable
from typing import NamedTuple

from myriad.control.records import AWAY, Checkpoint, Gang, Job
from myriad.control.state import State
from myriad.kernel.ids import NodeId
from myriad.protocol import facts
from myriad.protocol.values import Tier
from myriad.recover import retention, tiers


class Kept(NamedTuple):
    """What is left of a job's work."""

    step: int
    tier: Tier


def kept(state: State, job: Job, gang: Gang) -> Kept:
    """What the end of this gang leaves: the newest checkpoint of either tier that can be had again."""
    if job.memory_step > job.stored_step and tiers.recoverable(_holds(state, job, gang), job.memory_shift):
        return Kept(min(gang.step, job.memory_step), "memory")
    return Kept(min(gang.step, job.stored_step), "storage")


def usable(state: State, job: Job, nodes: Iterable[NodeId]) -> bool:
    """Whether a gang on these nodes can start from memory: survivors must be at their ranks."""
    if job.memory_step <= job.stored_step:
        return False
    ranks = zip(nodes, job.memory_nodes.items(), strict=False)
    holds = [node == before and _lives(state, before, name) for node, (before, name) in ranks]
    return len(holds) == len(job.memory_nodes) and tiers.recoverable(holds, job.memory_shift)


def _holds(state: State, job: Job, gang: Gang) -> list[bool]:
    """By rank, whether the memory of the copies' node is still there."""
    if gang.memory_step:
        return [node not in gang.lost for node in gang.nodes]
    return [_lives(state, node, instance) for node, instance in job.memory_nodes.items()]


def _lives(state: State, node: NodeId, instance: str) -> bool:
    record = state.nodes[node]
    return record.instance == instance and state.node_state(node) not in AWAY


# ---- the part of `apply` that keeps the job's checkpoints ----------------------------------------


def on_resumed(state: State, job: Job, gang: Gang, step: int) -> None:
    """Whatever was believed, `step` is where the job is: what is newer is void."""
    _count(state, job, gang, step)
    if job.checkpoints:
        job.checkpoints = tuple([one for one in job.checkpoints if one.step <= step])
    if step == job.memory_step > job.stored_step:
        gang.memory_step = step
    elif step > job.stored_step:
        _remember(job, Checkpoint(step=step))
    if job.memory_step > step:
        job.memory_step = gang.memory_step = 0
    job.step, job.kept_step, job.resume_step = step, job.stored_step, -1


def _count(state: State, job: Job, gang: Gang, step: int) -> None:
    """Whether copies in memory were enough after a failure: known only now, when nodes were found again."""
    failed = bool(job.history) and job.history[-1].cause in ("job", "node")
    if failed and job.memory_nodes and not gang.memory_step and job.memory_step > job.stored_step:
        state.memory_survived += step >= job.memory_step
        state.memory_died += step < job.memory_step


def on_rung_taken(state: State, fact: facts.RungTaken) -> None:
    """The ladder's decision; rolling back gives up what is newer."""
    job = state.jobs[fact.job]
    job.rung, job.rung_why, job.resume_step = fact.rung, fact.why, fact.resume_step
    if fact.rung != "roll_back":
        return
    job.checkpoints = tuple(one for one in job.checkpoints if one.step <= fact.resume_step)
    if job.memory_step > fact.resume_step:
        job.memory_step, job.memory_nodes = 0, {}
    job.kept_step = fact.resume_step


def on_recorded(job: Job, gang: Gang, fact: facts.CheckpointRecorded) -> None:
    """A checkpoint is complete."""
    if fact.tier == "memory":
        gang.memory_step = job.memory_step = fact.step
        job.memory_cost_ns = fact.stall_ns // fact.saves or job.memory_cost_ns
        return
    job.kept_step, job.kept_path = fact.step, fact.path
    _remember(job, Checkpoint(step=fact.step, path=fact.path))
    job.checkpoint_cost_ns = fact.stall_ns // fact.saves or job.checkpoint_cost_ns


def _remember(job: Job, newest: Checkpoint) -> None:
    """One more that can be gone back to; an older one may be given up for it."""
    kept = [*job.checkpoints, newest]
    index = retention.superfluous([one.step for one in kept])
    if index is not None:
        del kept[index]
    job.checkpoints = tuple(kept)


def on_stopped(state: State, job: Job, gang: Gang, fact: facts.GangStopped) -> None:
    """Who holds the copies in memory now that their gang is gone."""
    if fact.cause in ("done", "cancelled"):
        job.memory_step, job.memory_nodes = 0, {}
    elif gang.memory_step:
        job.memory_nodes = {
            node: "" if node in gang.lost else state.nodes[node].instance for node in gang.nodes
        }
