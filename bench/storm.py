"""A failover storm: 1 % of the nodes of a site die at one instant, under large gangs (200 at 100,000 chips).

Counted is all compute of the brain from the first signal until every gang that lost a node has its new place:
two signals for each dead node, the word of every survivor that its processes are gone, fences, and decisions.
The limit beside it is the time in which the same facts are applied with nothing decided.
"""

import resource
import time

from bench import report
from bench.saturated import opened, site
from myriad.control.apply import fold
from myriad.control.core import Core
from myriad.kernel.ids import AttemptId, JobId, NodeId, TenantId
from myriad.kernel.rng import Stream
from myriad.kernel.units import SECOND
from myriad.protocol import facts, inputs, orders, wire
from myriad.protocol.facts import Fact
from myriad.protocol.values import Profile
from myriad.workload.jobs import TrainingJob
from myriad.workload.tenants import Quota, Tenant

LOST_SHARE, TOGETHER = 0.01, 64
#: Chips of a site and the gangs on it.
SITES = {10_000: 20, 100_000: 200}


def busy(chips: int) -> tuple[Core, list[AttemptId]]:
    """A site with 2 % of its nodes free, the rest filled by gangs that run."""
    core, gangs = opened(site(chips)), SITES[chips]
    tenant = Tenant(name=TenantId("acme"), quota=Quota(chips=chips))
    core.step(inputs.ApplyTenant(at=0, tenant=tenant))
    nodes = int(len(core.state.columns) * 0.98) // gangs
    for number in range(gangs):
        spec = TrainingJob(
            name="large", tenant=tenant.name, nodes=nodes, chips_per_node=16, recipe="pretrain"
        )
        profile = Profile(steps=100_000, flops_per_step=1e18)
        job = JobId(f"large-{number}")
        core.step(inputs.SubmitJob(at=1, job=job, spec=spec, profile=profile))
    attempts = list(core.state.gangs)
    for attempt in attempts:
        core.step(inputs.GangStarted(at=2, attempt=attempt))
        core.step(inputs.TrainingResumed(at=3, attempt=attempt, step=0))
        core.step(inputs.CheckpointReported(at=4, attempt=attempt, step=10, path="/checkpoints/10"))
    return core, attempts


class Storm:
    """Counts what the brain needs."""

    def __init__(self, core: Core) -> None:
        self.core, self.spent_s, self.happened = core, 0.0, list[Fact]()
        self.inputs = 0

    def tell(self, said: list[inputs.Input]) -> list[orders.Order]:
        """Everything that came in meanwhile, some at a time; returns the orders."""
        due: list[orders.Order] = []
        for first in range(0, len(said), TOGETHER):
            begun = time.perf_counter()
            steps, cycle = self.core.turn(said[first : first + TOGETHER])
            self.spent_s += time.perf_counter() - begun
            for step in (*steps, cycle):
                self.happened += step.facts
                due += step.orders
        self.inputs += len(said)
        return due


def answers(due: list[orders.Order], dead: set[NodeId], at: int) -> list[inputs.Input]:
    """What engines say after orders: survivors stopped, dead nodes fenced."""
    said: list[inputs.Input] = []
    for order in due:
        if isinstance(order, orders.StopGang):
            living = [member.node for member in order.members if member.node not in dead]
            said += [inputs.MemberGone(at=at, attempt=order.attempt, node=node) for node in living]
        elif isinstance(order, orders.RepairNode):
            said.append(inputs.NodeFenced(at=at, node=order.node, instance=order.instance))
    return said


def measure(chips: int) -> dict[str, float]:
    """Seconds of compute, the limit, and what the storm was."""
    core, attempts = busy(chips)
    nodes = core.state.columns.ids
    stream, dead = Stream(5, "storm"), dict[NodeId, None]()
    while len(dead) < LOST_SHARE * len(nodes):
        dead[stream.choice(nodes)] = None
    hit = [a for a in attempts if not dead.keys().isdisjoint(core.state.gangs[a].nodes)]
    storm, at = Storm(core), 10 * SECOND
    signals: list[inputs.Input] = [
        inputs.NodeSignalled(at=at, node=node, instance="i", source=source, healthy=False)
        for source in ("channel", "process")
        for node in dead
    ]
    said = answers(storm.tell(signals), set(dead), at + SECOND)
    storm.tell(sorted(said, key=lambda _: stream.uniform()))
    placed = [fact for fact in storm.happened if isinstance(fact, facts.GangPlaced)]
    again = {core.state.gangs[fact.attempt].job for fact in placed if fact.attempt in core.state.gangs}
    assert {JobId(a.rpartition(".")[0]) for a in hit} == again, "a gang was left without a place"
    fresh, _ = busy(chips)
    entry = wire.decode(wire.encode("storm", storm.happened))
    begun = time.perf_counter()
    fold([entry], fresh.state)
    return {
        "seconds": storm.spent_s,
        "limit_s": time.perf_counter() - begun,
        "nodes": len(nodes),
        "lost": len(dead),
        "hit": len(hit),
        "inputs": storm.inputs,
        "facts": len(storm.happened),
        "kept": sum(len(fact.members) - len(fact.replaced) for fact in placed),
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Print the story and the last line."""
    found = {}
    for chips, gangs in SITES.items():
        row = found[chips] = measure(chips)
        print(
            f"{chips} chips: {row['lost']} of {row['nodes']} nodes lost, {row['hit']} of {gangs} gangs hit,"
            f" {row['inputs']} inputs"
        )
        print(
            f"  every one has a new place after {row['seconds']:.3f} s of compute, {row['kept']} survivors"
            f" where they were; {row['memory_mib']:.0f} MiB",
            flush=True,
        )
    large = found[100_000]
    report.finish(
        "storm",
        large["seconds"],
        "s of compute until every hit gang is placed again",
        "applying the same facts, nothing decided (the limit)",
        large["limit_s"],
        better="lower",
        seconds_10k=round(found[10_000]["seconds"], 4),
        gangs_hit=large["hit"],
        nodes_lost=large["lost"],
        inputs=large["inputs"],
        facts=large["facts"],
        memory_mib=round(large["memory_mib"], 1),
    )


if __name__ == "__main__":
    main()
