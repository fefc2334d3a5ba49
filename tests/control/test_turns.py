"""Several inputs in one turn: decided together, and never worse than broken."""

from myriad.kernel.ids import JobId
from myriad.protocol import facts, inputs
from myriad.protocol.values import Profile
from tests import build
from tests.control.world import Rig

MINUTE_NS = 60 * 10**9


def test_a_job_may_pass_one_that_came_in_the_same_turn() -> None:
    """Found in the twin: the small one was placed by backfill, and then looked for in the queue."""
    rig = Rig(build.site(racks=1, nodes_per_rack=4, spares=0))
    rig.submit("first", nodes=3, config={"steps": 10_000})
    rig.pass_s(5)
    asked = [
        inputs.SubmitJob(
            at=rig.world.now,
            job=JobId(name),
            spec=build.job(nodes=nodes, name=name, config={"steps": 10}),
            profile=Profile(steps=10, expected_ns=MINUTE_NS),
        )
        for name, nodes in (("large", 4), ("small", 1), ("other", 1))
    ]
    steps, cycle = rig.core.turn(asked)
    assert all(isinstance(step.facts[0], facts.JobAdmitted) for step in steps)
    placed = [fact.job for fact in cycle.facts if isinstance(fact, facts.GangPlaced)]
    assert len(placed) == 1 and placed[0] != "large", "there is room for one, beside the first"
    assert rig.core.state.jobs[JobId("large")].attempt is None
