"""Gangs that end before they begin although no node was lost: tried without end, ever more rarely."""

from myriad.control import views
from myriad.kernel.ids import AttemptId, JobId, NodeId
from myriad.kernel.units import SECOND
from myriad.protocol import facts, inputs
from tests import build
from tests.control.world import Rig

_WHY = "Slurm ended its job 7 (FAILED) before it began"


def _placed(rig: Rig, job: JobId) -> AttemptId:
    """Let time pass until the job has a gang; its attempt."""
    while not (attempt := rig.core.state.jobs[job].attempt):
        rig.pass_s(1)
    return attempt


def _vanish(rig: Rig, job: JobId) -> None:
    """The body says that nothing of the gang is there, nor will be, before it says anything else."""
    attempt = _placed(rig, job)
    node = rig.core.state.gangs[attempt].nodes[0]
    at = rig.world.now
    rig.give(inputs.WorkerSpoke(at=at, attempt=attempt, node=node, text=_WHY, fatal=True))
    rig.give(inputs.GangGone(at=at, attempt=attempt))


def _pauses_s(rig: Rig, kind: type[facts.JobHeld] | type[facts.ServiceHeld] = facts.JobHeld) -> list[int]:
    held = [fact for fact in rig.facts() if isinstance(fact, kind)]
    return [(fact.until - fact.at) // SECOND for fact in held]


def test_they_are_tried_ever_more_rarely_and_blamed_for_nothing() -> None:
    rig = Rig()
    job = rig.submit(nodes=2, retries=0)
    for _ in range(12):
        _vanish(rig, job)
    assert _pauses_s(rig) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    record = rig.core.state.jobs[job]
    assert record.outcome is None and record.faults == record.own_faults == 0
    found = views.explain(rig.core.moment(rig.world.now), record)
    assert found.reasons[0].code == "backoff" and "operator" in found.reasons[0].remedy
    assert f"no fault of its own: it never began: {_WHY}" in found.text


def test_what_keeps_a_gang_from_beginning_is_explained_until_it_begins() -> None:
    rig = Rig()
    job = rig.submit(nodes=1, config={"steps": 100_000})
    attempt = _placed(rig, job)
    node = rig.core.state.gangs[attempt].nodes[0]
    rig.give(inputs.WorkerSpoke(at=rig.world.now, attempt=attempt, node=node, text="waits: over the limit"))

    def told() -> str:
        return views.explain(rig.core.moment(rig.world.now), rig.core.state.jobs[job]).text

    assert told() == f"placed on {node}: waits: over the limit"
    rig.pass_s(120)
    assert told() == f"running on {node}"


def test_what_has_begun_since_starts_the_count_anew() -> None:
    rig = Rig()
    job = rig.submit(nodes=2, config={"steps": 100_000})
    for _ in range(4):
        _vanish(rig, job)
    _placed(rig, job)
    rig.pass_s(600)
    assert rig.core.state.jobs[job].step > 0
    for _ in range(3):
        _vanish(rig, job)
    assert _pauses_s(rig) == [1, 2, 4, 1], "the first one had begun, the second is tried again at once"


def test_who_lost_a_node_does_not_pause() -> None:
    rig = Rig(build.site(racks=2, nodes_per_rack=4, spares=2))
    job = rig.submit(nodes=2, config={"steps": 100_000})
    for _ in range(3):
        attempt = _placed(rig, job)
        rig.world.kill_node(NodeId(rig.nodes_of(job)[0]))
        while rig.core.state.jobs[job].attempt == attempt:
            rig.pass_s(0.1)
    assert not _pauses_s(rig)


def test_replicas_pause_too() -> None:
    rig = Rig()
    service = rig.serve(least=1, most=1)
    for _ in range(4):
        while not (gangs := rig.core.state.services[service].gangs):
            rig.pass_s(1)
        rig.give(inputs.GangGone(at=rig.world.now, attempt=next(iter(gangs))))
    assert _pauses_s(rig, facts.ServiceHeld) == [1, 2, 4]
