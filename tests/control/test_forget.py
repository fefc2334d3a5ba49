"""What is over is forgotten in the end, the same way live and by the fold; what is still needed is not."""

import pytest
from bench.brain import Life, opened
from bench.saturated import add_tenants, site

from myriad.control import forget, invariants
from myriad.control.apply import apply
from myriad.control.state import State
from myriad.kernel.ids import JobId, ServiceId
from myriad.protocol import facts, inputs
from myriad.server.names import Names
from myriad.workload.services import ModelSource
from tests import build
from tests.control.boards import check_same
from tests.control.world import Rig

KEPT = 50


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget, "KEPT_JOBS", KEPT)
    monkeypatch.setattr(forget, "KEPT_ATTEMPTS", 3)


def test_ended_jobs_are_forgotten_oldest_first_and_the_fold_forgets_the_same() -> None:
    core, _, happened = opened(site(2_000))
    users = add_tenants(core, 2_000)
    happened += [facts.TenantSet(at=0, tenant=tenant) for tenant in core.state.tenants.values()]
    life = Life(core, users, 2_000)
    life.facts = []
    life.run(600)
    happened += life.facts
    ended = [fact.job for fact in happened if isinstance(fact, facts.JobEnded)]
    state = core.state
    assert len(ended) > 3 * KEPT
    assert list(state.ended) == ended[-KEPT:]
    assert [name for name, job in state.jobs.items() if job.outcome is None] == [
        name for name in state.jobs if name in state.waiting or state.jobs[name].attempt
    ]
    assert {name for name, job in state.jobs.items() if job.outcome} == set(ended[-KEPT:])
    invariants.check(state)
    folded = State()
    for fact in happened:
        apply(folded, fact)
    assert folded.digest() == state.digest()
    check_same(core, folded)


def test_a_job_that_a_service_gets_its_model_from_stays() -> None:
    rig = Rig()
    rig.submit("source-1", nodes=1, name="source")
    rig.submit("other-1", nodes=1, name="other")
    rig.pass_s(200)
    spec = build.service()
    spec = type(spec)(
        name="chat", tenant=spec.tenant, model=ModelSource(job="source"), replicas=spec.replicas
    )
    rig.give(
        inputs.ApplyService(at=rig.world.now, service=ServiceId("chat"), spec=spec, model_path="/models/x")
    )
    for number in range(KEPT + 10):
        small = rig.submit(f"small-{number}", nodes=1, name="small")
        rig.give(inputs.CancelJob(at=rig.world.now, job=small))
        rig.pass_s(10)
    assert len(rig.core.state.ended) == KEPT
    assert "source-1" in rig.core.state.jobs and "other-1" not in rig.core.state.jobs


def test_the_story_of_a_job_shows_its_last_attempts() -> None:
    rig = Rig()
    job = rig.submit(nodes=1, command=("x",), retries=10, expected="1h")
    for code in range(1, 6):
        rig.pass_s(400)
        attempt = rig.core.state.jobs[job].attempt
        assert attempt is not None
        rig.give(inputs.GangExited(at=rig.world.now, attempt=attempt, code=code))
    record = rig.core.state.jobs[job]
    assert len(record.history) == 3 and record.attempts > 4


def test_a_key_of_a_forgotten_job_is_known() -> None:
    """Its attempts must not start again under the same ids."""
    names = Names()
    job = names.job("train", "key")
    assert not names.was_admitted(job)
    spec = build.job()
    admitted = facts.JobAdmitted(at=0, job=JobId(job), spec=spec)
    names.observe(1, f"SubmitJob {job} once key", [admitted])
    assert names.job("train", "key") == job and names.was_admitted(job)
