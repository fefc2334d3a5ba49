"""How the processes of a job or replica are started: the part of an order that engines pass to nodes."""

from myriad.control.policy import Policy
from myriad.control.state import Job, Service, State
from myriad.kernel.units import seconds
from myriad.protocol.orders import Launch
from myriad.recover import cadence


def of_job(state: State, policy: Policy, job: Job) -> Launch:
    """The launch of a training job's next attempt."""
    spec = job.spec
    config = dict(spec.config)
    if spec.recipe and spec.checkpoint.steps:
        config["checkpoint_every_steps"] = spec.checkpoint.steps
    return Launch(
        recipe=spec.recipe,
        config=config,
        command=spec.command,
        env=spec.env,
        workdir=spec.workdir,
        per_node=spec.launch == "node",
        checkpoint_every_s=_cadence_s(state, policy, job),
    )


def of_replica(service: Service) -> Launch:
    """The launch of one replica."""
    spec = service.spec
    config = {"engine": spec.engine, "model": service.model_path, "name": spec.name}
    return Launch(recipe="serve", config=config, per_node=True)


def _cadence_s(state: State, policy: Policy, job: Job) -> float:
    """Seconds between checkpoints: the spec's word, or Young/Daly from what this site has shown."""
    checkpoint = job.spec.checkpoint
    if checkpoint.steps:
        return 0.0
    if checkpoint.span_ns:
        return seconds(checkpoint.span_ns)
    observed_ns = (state.now - state.opened_at) * len(state.nodes)
    rate = cadence.node_losses_per_ns(state.losses, observed_ns, policy.recover)
    cost_ns = job.checkpoint_cost_ns or policy.recover.ns("checkpoint_cost")
    return round(cadence.interval_s(cost_ns, len(job.keep) or job.sizes[0], rate), 1)
