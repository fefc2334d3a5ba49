"""The wire form: what is written is read back, newer schemas are refused, old ones are upgraded."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myriad.fleet.columns import NodeState
from myriad.kernel.errors import UserError
from myriad.kernel.ids import AttemptId, NodeId, ServiceId
from myriad.protocol import facts, wire
from myriad.protocol.fact import SCHEMA
from tests import build

some_facts = st.one_of(
    st.builds(
        facts.NodeMoved,
        at=st.integers(0, 2**62),
        node=st.text(max_size=5).map(NodeId),
        state=st.sampled_from(NodeState),
        why=st.text(max_size=20),
    ),
    st.builds(
        facts.NodeTaken,
        at=st.integers(0, 2**62),
        node=st.text(max_size=5).map(NodeId),
        by=st.text(max_size=20),
        until=st.integers(0, 2**62),
    ),
    st.builds(
        facts.StepsDone,
        at=st.integers(0, 2**62),
        attempt=st.just(AttemptId("a.1")),
        step=st.integers(0, 10**9),
        steps=st.integers(0, 10**9),
        loss=st.floats(allow_nan=False, allow_infinity=False),
        straggled_ns=st.integers(0, 10**12),
        exposed_ns=st.integers(0, 10**12),
        throttled_ns=st.integers(0, 10**12),
    ),
    st.builds(
        facts.GangStopping,
        at=st.integers(0, 2**62),
        attempt=st.just(AttemptId("a.1")),
        cause=st.sampled_from(["job", "node"]),
        since=st.integers(0, 2**62),
    ),
    st.builds(
        facts.ServiceLoaded,
        at=st.integers(0, 2**62),
        service=st.just(ServiceId("chat")),
        busy=st.floats(0, 1),
    ),
    st.builds(facts.SiteOpened, at=st.integers(0, 2**62), site=st.just(build.site())),
    st.builds(facts.TenantSet, at=st.integers(0, 2**62), tenant=st.just(build.tenant())),
)


@given(st.text(max_size=10), st.lists(some_facts, max_size=5))
def test_round_trip(cause: str, happened: list[facts.Fact]) -> None:
    entry = wire.decode(wire.encode(cause, happened))
    assert entry.cause == cause and list(entry.facts) == happened
    assert wire.encode(cause, entry.facts) == wire.encode(cause, happened)


def test_facts_from_before_their_newest_fields_still_fold() -> None:
    plain = {"type": "GangStopping", "at": 7, "attempt": "a.1", "cause": "job"}
    body = msgspec.json.encode({"cause": "x", "facts": [plain], "schema": SCHEMA})
    (fact,) = wire.decode(body).facts
    assert isinstance(fact, facts.GangStopping)
    assert fact.since == 0


def test_node_states_keep_their_numbers() -> None:
    """They are written as numbers: a journal of before others could use a node reads the same."""
    assert [state.name for state in NodeState] == [
        *("JOINING", "BURN_IN", "READY", "SUSPECT", "DRAINING", "DRAINED", "REPAIRING", "RETIRED"),
        "OCCUPIED",
    ]
    plain = {"type": "NodeMoved", "at": 7, "node": "n0", "state": 7}
    body = msgspec.json.encode({"cause": "x", "facts": [plain], "schema": SCHEMA})
    assert wire.decode(body).facts == (facts.NodeMoved(at=7, node=NodeId("n0"), state=NodeState.RETIRED),)


def test_a_newer_schema_is_refused_with_the_remedy() -> None:
    body = msgspec.json.encode({"cause": "x", "facts": [], "schema": SCHEMA + 1})
    with pytest.raises(UserError, match="upgrade it"):
        wire.decode(body)


def test_an_older_schema_is_upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(plain: list[dict[str, object]]) -> list[dict[str, object]]:
        return [{**fact, "type": "KeyRevoked"} for fact in plain]

    monkeypatch.setitem(wire.UPGRADES, 0, rename)
    body = msgspec.json.encode(
        {"cause": "x", "facts": [{"type": "KeyGone", "at": 1, "key": "k"}], "schema": 0}
    )
    assert wire.decode(body).facts == (facts.KeyRevoked(at=1, key="k"),)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"cause": 1}', b'{"cause":"x","facts":[{"type":"Nope"}],"schema":1}']
)
def test_damage_is_a_user_error(body: bytes) -> None:
    with pytest.raises(UserError, match="journal entry"):
        wire.decode(body)
