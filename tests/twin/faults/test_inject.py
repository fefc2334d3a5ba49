"""Faults in a whole simulation: one fault is one interruption, seen when the times of its cause say."""

import itertools
from typing import Any

import pytest

from myriad.kernel.units import DAY, SECOND
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.twin import run, scenario
from myriad.twin.faults.causes import CAUSES
from myriad.twin.outcome import Outcome

_JOB = {
    "name": "big",
    "nodes": 30,
    "chips_per_node": 8,
    "lasts": "900d",
    "parameters": "1B",
    "retries": 10**6,
}


def tree(cause: str, **detection: object) -> dict[str, Any]:
    """One job of 30 nodes; a fault a day of each of them, of this cause."""
    of_chip = CAUSES[cause].scope == "chip"
    quiet = {"lemons": {"share": 0, "factor": 1}, "plant": {"pods": 0, "power": 0, "cooling": 0}}
    return {
        "name": "faults",
        "span": "4d",
        "site": {"name": "s", "chip": "h100-sxm", "pods": [{"name": "p", "racks": 10, "nodes_per_rack": 5}]},
        "policy": {"recover": {"lemon_losses": 10**6, "repair_timeout": "9d", "incident_nodes": 9}},
        "jobs": [_JOB],
        "faults": {
            **quiet,
            "mix": {cause: 1},
            "hardware": {"chip": 125 if of_chip else 0, "host": 0 if of_chip else 1000},
            "network": {"links": 0, "switches": 0, "flaps": 0},
            "slow": {"share": 0, "nodes": 0, "links": 0},
            "software": {"rate": 0, "production": 0},
            "false_alarms": 0,
            "detection": detection,
        },
        "repair": {
            "reboot": "5m",
            "automatic": "10m",
            "automatic_most": "10m",
            "manual_first": 0,
            "automatic_fails": 0,
            "escalates": 0,
            "vendor_after": 0,
        },
        "physics": {"whole_gangs": True, "report_s": 43200.0, "start_s": 20.0, "jitter": 0.2},
    }


def simulated(given: dict[str, Any]) -> tuple[Outcome, list[Fact]]:
    """Its outcome, and the facts of gangs and nodes."""
    kept: list[Fact] = []
    kinds = (facts.GangStopping, facts.GangRunning, facts.NodeLost)

    def keep(happened: Any) -> None:
        kept.extend(fact for fact in happened if isinstance(fact, kinds))

    return run.simulate(scenario.of_tree(given, "test"), 1, followers=[keep]), kept


# crashes that need repair and nodes that go down: each is told of by processes and by nodes
@pytest.mark.parametrize("cause", ["nic", "chassis"])
def test_one_fault_stops_its_gang_once(cause: str) -> None:
    outcome, _ = simulated(tree(cause))
    met = sum(outcome.broke.values())
    assert met > 20
    # a few strike while the gang is being started, or while another fault is not seen yet
    assert sum(outcome.stops.values()) <= 1.15 * met
    assert met - 3 <= sum(outcome.interruptions.values()) <= 1.1 * met


def test_what_is_seen_is_as_often_as_the_rate_says() -> None:
    """Three of ten silent corruptions are laid at another door and seen again: that is in the rate."""
    given = tree("silent data corruption", factor=0)
    given["span"], given["faults"]["hardware"]["chip"] = "60d", 25
    outcome, _ = simulated(given)
    assert CAUSES["silent data corruption"].strikes > 1.5
    met, expected = sum(outcome.broke.values()), 30 * 0.2 * 60
    assert abs(met - expected) < 4 * (1.6 * expected) ** 0.5
    assert met > 1.2 * sum(outcome.faults.values()) * 30 / 50


def test_a_fault_shows_when_its_cause_says_or_at_once() -> None:
    late, early = ([], [])
    for factor, found in ((1.0, late), (0.0, early)):
        _, kept = simulated(tree("nic", factor=factor, spread=0.1))
        found += [
            fact.at - fact.since for fact in kept if isinstance(fact, facts.GangStopping) and fact.since
        ]
    assert not early, "nothing lay between the fault and its being seen"
    assert len(late) > 20 and 60 < sum(late) / len(late) / SECOND < 110  # 30 s to see, 60 to place


def test_a_gang_that_waits_for_processes_is_not_interrupted() -> None:
    """Stops before a gang ran are stops, not interruptions; in a gang that never runs all are."""
    given = tree("chassis")
    given["physics"]["start_s"], given["policy"]["recover"]["start_timeout"] = 2 * 86400.0, "5d"
    outcome, _ = simulated(given)
    assert outcome.stops and not outcome.interruptions and outcome.span_ns == 4 * DAY


def test_wrong_numbers_cost_what_was_done_since_and_no_more() -> None:
    given = tree("silent data corruption")
    given["faults"]["hardware"]["chip"], given["span"] = 8, "12d"
    outcome, kept = simulated(given)
    assert outcome.broke["silent data corruption"] > 10
    steps = [fact.step for fact in kept if isinstance(fact, facts.GangRunning)]
    assert len(steps) > 10 and sum(later < earlier for earlier, later in itertools.pairwise(steps)) == 0
    # some two hours until it is seen, each time; what was saved before is gone back to
    assert 0.6 < outcome.job_ettr["big"] < 0.9


def test_what_is_told_to_the_core_is_in_order() -> None:
    _, kept = simulated(tree("chassis"))
    assert all(one.at <= other.at for one, other in itertools.pairwise(kept))
