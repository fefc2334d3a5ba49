"""How the processes of a job or replica are started: the part of an order that engines pass to nodes."""

from collections.abc import Sequence

from myriad.control import memory, observed
from myriad.control.policy import Policy
from myriad.control.records import Job, Service
from myriad.control.state import State
from myriad.kernel.ids import NodeId
from myriad.kernel.units import Span, seconds
from myriad.protocol.orders import Launch
from myriad.recover import cadence, tiers


def of_job(state: State, policy: Policy, job: Job, nodes: Sequence[NodeId]) -> Launch:
    """The launch of a training job's attempt on these nodes, by rank."""
    spec = job.spec
    config = spec.config
    if spec.recipe and spec.checkpoint.steps:
        config = {**config, "checkpoint_every_steps": spec.checkpoint.steps}
    every = _cadence(state, policy, job, nodes)
    return Launch(
        recipe=spec.recipe,
        config=config,
        command=spec.command,
        env=spec.env,
        workdir=spec.workdir,
        per_node=spec.launch == "node",
        checkpoint_every_s=_tenths(every.storage_s),
        memory_every_s=_tenths(every.memory_s),
        memory_shift=max(1, tiers.shift(len(nodes))),
        resume_step=job.resume_step,
        memory_step=job.memory_step if memory.usable(state, job, nodes) else 0,
    )


def of_replica(service: Service) -> Launch:
    """The launch of one replica."""
    spec = service.spec
    config = {"engine": spec.engine, "model": service.model_path, "name": spec.name}
    return Launch(recipe="serve", config=config, per_node=True)


def _tenths(interval_s: float) -> float:
    """Rounded; what is due more often is still due: 0 would say that it never is."""
    return max(0.1, round(interval_s, 1)) if interval_s else 0.0


def _cadence(state: State, policy: Policy, job: Job, nodes: Sequence[NodeId]) -> cadence.Intervals:
    """Seconds between checkpoints: the spec's word, or the best for the rates that this site has shown."""
    rules, checkpoint = policy.recover, job.spec.checkpoint
    memory_ns = _copy_cost(policy, job) if len(nodes) > 1 else 0
    best = cadence.intervals(
        storage_ns=job.checkpoint_cost_ns or rules.ns("checkpoint_cost"),
        memory_ns=memory_ns,
        share=cadence.memory_share(state.memory_survived, state.memory_died, rules) if memory_ns else 0.0,
        failures_per_ns=observed.gang_rate(state, policy, job, len(nodes)),
    )
    if checkpoint.steps:
        return best._replace(storage_s=0.0)
    return best._replace(storage_s=seconds(checkpoint.span_ns)) if checkpoint.span_ns else best


def _copy_cost(policy: Policy, job: Job) -> Span:
    """How long training stands still for a copy to peers' memory: as the job reported; 0: it makes none."""
    known = job.profile.memory_copies
    return job.memory_cost_ns or (policy.recover.ns("memory_cost") if known else 0)
