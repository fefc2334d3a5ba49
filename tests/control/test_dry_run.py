"""A dry run gives the answer that a submission at the same moment gives, and leaves nothing behind."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from myriad.control import dry_run, views
from myriad.kernel.ids import JobId
from myriad.kernel.units import span_ns
from myriad.protocol import inputs
from myriad.protocol.values import Profile
from myriad.workload.jobs import NodeRange
from tests import build
from tests.control.world import Rig

NAME = JobId("asked-1")
LONG: dict[str, Any] = {"config": {"steps": 100_000}, "expected": "10h"}
SHORT: dict[str, Any] = {"config": {"steps": 50}, "expected": "1m"}


def empty(_: Rig) -> None: ...


def busy(rig: Rig) -> None:
    rig.submit(nodes=5, **LONG)


def queued(rig: Rig) -> None:
    rig.submit(nodes=5, **LONG)
    rig.submit("b-1", name="b", nodes=3, config={"steps": 100})


def one_to_spare(rig: Rig) -> None:
    """Once the first ends, the one in front leaves one node over."""
    rig.submit(nodes=5, **LONG)
    rig.submit("b-1", name="b", nodes=5, config={"steps": 100})


def at_quota(rig: Rig) -> None:
    rig.give(inputs.ApplyTenant(at=rig.world.now, tenant=build.tenant("acme", 3)))
    rig.submit(nodes=2, **LONG)


def low(rig: Rig) -> None:
    rig.submit(nodes=6, priority="low", **LONG)
    rig.pass_s(1200)


def low_and_unknown(rig: Rig) -> None:
    rig.submit(nodes=6, priority="low", command=("x",))
    rig.pass_s(1200)


def closed(rig: Rig) -> None:
    rig.give(inputs.CloseSite(at=rig.world.now, grace_ns=0))


@pytest.mark.parametrize(
    ("before", "spec", "state", "codes"),
    [
        (empty, {"nodes": 2, **SHORT}, "placed", ()),
        (busy, {"nodes": 4, **SHORT}, "admitted", ("capacity",)),
        (busy, {"nodes": NodeRange(min=1, max=6), **SHORT}, "placed", ()),
        (queued, {"nodes": 2, **SHORT}, "admitted", ("capacity", "priority")),
        (queued, {"nodes": 1, **SHORT}, "placed", ()),
        (queued, {"nodes": 2, **SHORT, "priority": "high"}, "admitted", ("capacity",)),
        (one_to_spare, {"nodes": 1, **LONG}, "placed", ()),
        (at_quota, {"nodes": 2, **SHORT}, "admitted", ("quota",)),
        (low, {"nodes": 2, **SHORT, "priority": "high"}, "admitted", ("capacity",)),
        (low_and_unknown, {"nodes": 2, **SHORT, "priority": "high"}, "admitted", ("capacity",)),
        (closed, {"nodes": 2, **SHORT}, "admitted", ("site_closed",)),
    ],
)
def test_it_says_what_submitting_says(
    before: Callable[[Rig], None], spec: dict[str, Any], state: str, codes: tuple[str, ...]
) -> None:
    rig = Rig(build.site(racks=2, nodes_per_rack=3, spares=0))
    before(rig)
    rig.pass_s(20)
    job = build.job(**{"name": "asked", **spec})
    profile = Profile(
        steps=int(job.config.get("steps", 0)), tokens_per_step=1000, expected_ns=span_ns(job.expected)
    )

    was = rig.core.state.digest(), _board(rig)
    view, explanation = dry_run.answer(rig.core.moment(rig.world.now), NAME, job, profile)
    assert (rig.core.state.digest(), _board(rig)) == was
    assert view.state == state and tuple(reason.code for reason in explanation.reasons) == codes

    rig.give(inputs.SubmitJob(at=rig.world.now, job=NAME, spec=job, profile=profile))
    known = rig.core.state.jobs[NAME]
    submitted = views.job_view(rig.core.state, known)
    assert msgspec.structs.replace(view, attempt=submitted.attempt) == submitted
    assert explanation == views.explain(rig.core.moment(rig.world.now), known)


def _board(rig: Rig) -> object:
    board = rig.core.board
    return board.front, dict(board.victims_at), len(board.queue), list(board.ends.coming(rig.core.state.now))
