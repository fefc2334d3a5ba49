"""Facts per second through `Core.step`, at 10,000 and 100,000 chips, against applying the same facts alone.

The limit is the fold: replaying the very facts that the run produced, with nothing decided. The ratio says
what deciding costs. Every job is submitted, placed, started, makes progress, checkpoints and ends.
"""

import time
from collections.abc import Iterator

from bench import report
from myriad.control.apply import fold
from myriad.control.core import Core
from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import JobId, NodeId, TenantId
from myriad.kernel.rng import Stream
from myriad.protocol import facts, inputs, wire
from myriad.protocol.facts import Fact
from myriad.protocol.values import Profile
from myriad.workload.jobs import TrainingJob
from myriad.workload.tenants import Quota, Tenant

JOBS = 2000
SIZES = (1, 1, 1, 2, 4, 8, 16)


def ready_core(pods: int, at: int = 0) -> tuple[Core, list[Fact]]:
    """A core whose whole site (pods x 25 racks x 25 nodes x 16 chips) is in service."""
    site = Site(
        name="bench",
        chip="zhenwu-810e",
        pods=tuple(Pod(name=f"p{k}", racks=25, nodes_per_rack=25) for k in range(pods)),
        spares=4,
    )
    core, happened = Core(), []
    happened += core.step(inputs.OpenSite(at=at, site=site)).facts
    for place in site.places():
        joined = inputs.NodeJoined(at=at, node=place.node, instance="i", chips=place.chips)
        happened += core.step(joined).facts
        happened += core.step(inputs.NodeQualified(at=at, node=place.node, instance="i", ok=True)).facts
    tenant = Tenant(name=TenantId("acme"), quota=Quota(chips=10**9))
    happened += core.step(inputs.ApplyTenant(at=at, tenant=tenant)).facts
    return core, happened


def life(core: Core, number: int, nodes: int, at: int) -> Iterator[tuple[Fact, ...]]:
    """One job from its submission to its end."""
    job = JobId(f"job-{number}")
    spec = TrainingJob(name="job", tenant=TenantId("acme"), nodes=nodes, chips_per_node=16, recipe="pretrain")
    profile = Profile(steps=1000, flops_per_step=1e15)
    yield core.step(inputs.SubmitJob(at=at, job=job, spec=spec, profile=profile)).facts
    attempt = core.state.jobs[job].attempt
    assert attempt, "the site is larger than the queue"
    placed: tuple[NodeId, ...] = core.state.gangs[attempt].nodes
    for node in placed:
        yield core.step(inputs.MemberStarted(at=at + 1, attempt=attempt, node=node)).facts
    yield core.step(inputs.TrainingResumed(at=at + 2, attempt=attempt, step=0)).facts
    for step in range(100, 1001, 100):
        yield core.step(
            inputs.StepsReported(at=at + 2 + step, attempt=attempt, step=step, tokens=10**6, step_ns=10**9)
        ).facts
    yield core.step(
        inputs.CheckpointReported(at=at + 1010, attempt=attempt, step=1000, path="/checkpoints/1000")
    ).facts
    for node in placed:
        yield core.step(inputs.MemberExited(at=at + 1011, attempt=attempt, node=node, code=0)).facts


def measure(pods: int) -> dict[str, float]:
    """Facts/s of deciding and of folding, and jobs/s, on one site."""
    core, happened = ready_core(pods)
    sizes = Stream(92, "sizes")
    start, before = time.perf_counter(), len(happened)
    for number in range(JOBS):
        for step in life(core, number, sizes.choice(SIZES), number * 2000):
            happened += step
    deciding_s = time.perf_counter() - start
    assert all(job.outcome == "succeeded" for job in core.state.jobs.values())
    entry = [wire.decode(wire.encode("bench", happened))]
    start = time.perf_counter()
    folded = fold(entry)
    folding_s = time.perf_counter() - start
    assert folded.digest() == core.state.digest()
    return {
        "facts": len(happened) - before,
        "facts_per_s": (len(happened) - before) / deciding_s,
        "fold_facts_per_s": len(happened) / folding_s,
        "jobs_per_s": JOBS / deciding_s,
    }


def main() -> None:
    """Print the table and the last line."""
    print(f"{'chips':>8} {'facts':>8} {'facts/s':>10} {'jobs/s':>8} {'fold alone/s':>13}")
    found = {}
    for pods in (1, 10):
        chips = pods * 10_000
        found[chips] = row = measure(pods)
        print(
            f"{chips:>8} {row['facts']:>8} {row['facts_per_s']:>10,.0f} {row['jobs_per_s']:>8,.0f}"
            f" {row['fold_facts_per_s']:>13,.0f}"
        )
    large, small = found[100_000], found[10_000]
    report.finish(
        "core",
        large["facts_per_s"],
        "facts/s through Core.step at 100,000 chips",
        "applying the same facts without deciding (the limit)",
        large["fold_facts_per_s"],
        jobs_per_s=round(large["jobs_per_s"], 1),
        facts_per_s_10k=round(small["facts_per_s"], 1),
        jobs_per_s_10k=round(small["jobs_per_s"], 1),
        kinds=len(facts.AnyFact.__args__),
    )


if __name__ == "__main__":
    main()
