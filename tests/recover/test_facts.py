"""The facts of recovery survive the wire, and journals from before them still fold."""

import msgspec
import pytest

from myriad.kernel.ids import AttemptId, IncidentId, JobId, NodeId
from myriad.protocol import facts, wire
from myriad.protocol.fact import SCHEMA
from myriad.protocol.facts import Fact

N, M = NodeId("n0"), NodeId("n1")
INCIDENT = IncidentId("incident-1")
FACTS = [
    facts.LossesForgotten(at=1, node=N, before=5, until=9),
    facts.IncidentOpened(
        at=1, incident=INCIDENT, kind="rack", domain="p0/r0", nodes=(N, M), since=1, why="x"
    ),
    facts.IncidentJoined(at=1, incident=INCIDENT, node=N),
    facts.IncidentClosed(at=1, incident=INCIDENT, into=IncidentId("incident-2")),
    facts.NodeLagged(at=1, node=N, ratio=1.25),
    facts.NodeSlow(at=1, node=N, slow=True, ratio=1.25),
    facts.RungTaken(at=1, job=JobId("j"), rung="roll_back", why="x", resume_step=20),
    facts.CheckpointRecorded(at=1, job=JobId("j"), attempt=AttemptId("j.1"), step=5, path="", tier="memory"),
    facts.GangStopped(at=1, attempt=AttemptId("j.1"), cause="node", kept_step=5, tier="memory"),
]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_round_trip(fact: Fact) -> None:
    body = wire.encode("x", [fact])
    assert wire.decode(body).facts == (fact,)
    assert wire.encode("x", wire.decode(body).facts) == body


@pytest.mark.parametrize(
    "plain",
    [
        {"type": "CheckpointRecorded", "at": 1, "job": "j", "attempt": "j.1", "step": 5, "path": "p"},
        {"type": "GangStopped", "at": 1, "attempt": "j.1", "cause": "node", "kept_step": 5},
    ],
)
def test_what_has_no_tier_was_on_storage(plain: dict[str, object]) -> None:
    body = msgspec.json.encode({"cause": "x", "facts": [plain], "schema": SCHEMA})
    (fact,) = wire.decode(body).facts
    assert isinstance(fact, facts.CheckpointRecorded | facts.GangStopped) and fact.tier == "storage"
