"""Evidence, blame, back-off and cadence as functions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myriad.kernel.ids import NodeId
from myriad.kernel.units import DAY, HOUR, SECOND
from myriad.recover import blame, cadence, health
from myriad.recover.policy import Policy

POLICY = Policy()


def test_two_signals_are_proof_one_must_last() -> None:
    assert health.judge({}, 5, POLICY).health == "well"
    assert health.judge({"channel": 0, "process": 0}, 0, POLICY).health == "lost"
    alone = health.judge({"heartbeat": 0}, SECOND, POLICY)
    assert alone.health == "suspect" and alone.look_again_at == 10 * SECOND
    assert health.judge({"heartbeat": 0}, 10 * SECOND, POLICY).health == "lost"


def test_lemons_are_counted_within_the_window() -> None:
    assert health.is_lemon((0, HOUR, 2 * HOUR), 3 * HOUR, POLICY)
    assert not health.is_lemon((0, 30 * HOUR, 31 * HOUR), 31 * HOUR, POLICY)


def test_the_first_failure_is_the_root() -> None:
    exits = {NodeId("n2"): 0, NodeId("n1"): -11, NodeId("n0"): 1}
    verdict = blame.judge(exits, 3, [], policy=POLICY)
    assert verdict.culprit == "job" and "n1" in verdict.why and "signal 11" in verdict.why
    again = blame.judge(exits, 3, [NodeId("n1")], policy=POLICY)
    assert again.culprit == "node" and again.node == "n1"
    alone = blame.judge({NodeId("n1"): 1}, 1, [NodeId("n1")], policy=POLICY)
    assert alone.culprit == "job", "a gang of one cannot tell"


def test_a_job_that_always_fails_first_on_one_node_is_to_blame_in_the_end() -> None:
    """The node was qualified again each time: else a job whose first rank fails would go on for ever."""
    exits, node = {NodeId("n1"): 1}, NodeId("n1")
    culprits = [
        blame.judge(exits, 3, [node] * tries, policy=POLICY, stuck=[node] * tries).culprit
        for tries in range(5)
    ]
    assert culprits == ["job", "node", "node", "job", "job"]


def test_who_fails_because_a_peer_is_gone_is_not_the_root() -> None:
    exits = {NodeId("n0"): blame.PEER_GONE, NodeId("n1"): 1}
    assert blame.root_of(exits) == "n1"
    assert blame.root_of({NodeId("n0"): blame.PEER_GONE}) == "n0"
    assert blame.root_of({NodeId("n0"): 0}) is None


@given(st.integers(1, 200))
def test_back_off_doubles_and_is_bounded(faults: int) -> None:
    pause = blame.pause_ns(faults, POLICY)
    assert (pause == 0) == (faults == 1), "the first is retried at once"
    assert pause <= 300 * SECOND
    assert blame.pause_ns(faults + 1, POLICY) in (SECOND, 2 * pause, 300 * SECOND)


def test_daly_against_the_published_form() -> None:
    """C = 60 s, one gang of 100 nodes at one loss in 50 node-days: M = 12 h; sqrt(2 C M) - C = 2217 s."""
    rate = 100 / (50 * DAY)
    assert cadence.interval_s(60 * SECOND, rate) == pytest.approx(math.sqrt(2 * 60 * 43200) - 60, rel=1e-9)


@given(st.integers(0, 50), st.integers(0, 10**18))
def test_more_losses_mean_more_checkpoints(losses: int, exposure: int) -> None:
    rates = [cadence.node_losses_per_ns(n, exposure, POLICY) for n in (losses, losses + 1)]
    often = [cadence.interval_s(SECOND, 8 * rate) for rate in rates]
    assert often[1] <= often[0] and often[1] >= 1.0


def test_a_policy_names_its_bad_field() -> None:
    with pytest.raises(ValueError, match="'10' has no unit"):
        Policy(silence="10")
