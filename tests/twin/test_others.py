"""Checkers on nodes that others use: told by hand, since the simulated world has no other scheduler."""

from types import SimpleNamespace
from typing import Any

import pytest

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import AttemptId, JobId, NodeId
from myriad.protocol import facts
from myriad.protocol.values import Member, Profile
from myriad.twin.checkers.base import BrokenLaw
from myriad.twin.checkers.reading import Reading
from myriad.twin.checkers.whole import WholeGangs
from tests import build

N0 = NodeId("n0")


def told(*later: facts.Fact) -> WholeGangs:
    """A site of two nodes in service and a job of one, and what was said then."""
    scene: Any = SimpleNamespace(reading=Reading(), world=None)
    checker = WholeGangs(scene)
    site = build.site(1, 2, spares=0)
    said: list[facts.Fact] = [
        facts.SiteOpened(at=0, site=site),
        facts.TenantSet(at=0, tenant=build.tenant()),
        *(facts.NodeMoved(at=0, node=place.node, state=NodeState.READY) for place in site.places()),
        facts.JobAdmitted(at=0, job=JobId("j"), spec=build.job(1), profile=Profile()),
    ]
    for fact in (*said, *later):
        checker.hear(fact)
        scene.reading.count(fact)
    return checker


def placed() -> facts.GangPlaced:
    member = Member(node=N0, chips=1)
    return facts.GangPlaced(at=1, attempt=AttemptId("j.1"), job=JobId("j"), members=(member,), until=9)


def taken(by: str = "others") -> facts.NodeTaken:
    return facts.NodeTaken(at=1, node=N0, by=by)


def moved(state: NodeState) -> facts.NodeMoved:
    return facts.NodeMoved(at=1, node=N0, state=state)


def test_what_is_allowed_breaks_no_law() -> None:
    told(placed(), taken())
    told(taken(), moved(NodeState.OCCUPIED), taken(""), moved(NodeState.READY), placed())
    told(taken(), moved(NodeState.REPAIRING), moved(NodeState.READY), placed())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((taken(), placed()), "gets no work while others uses it"),
        ((taken(), moved(NodeState.OCCUPIED), placed()), "in service; n0 is OCCUPIED"),
        ((moved(NodeState.OCCUPIED),), "others who use it"),
        ((placed(), taken(), moved(NodeState.OCCUPIED)), "holds nothing of ours"),
    ],
)
def test_what_is_not_is_caught(said: tuple[facts.Fact, ...], expected: str) -> None:
    with pytest.raises(BrokenLaw, match=expected):
        told(*said)
