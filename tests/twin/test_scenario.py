"""Scenarios: all that are shipped can be read, the small ones hold the ledger's law, mistakes are told."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from myriad.kernel.errors import UserError
from myriad.kernel.units import DAY, HOUR, MINUTE, SECOND, Span
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.twin import outcome, run, scenario
from myriad.twin.outcome import Outcome
from myriad.twin.run import Simulation

SHIPPED = Path(__file__).parents[2] / "scenarios"
SMALL: dict[str, Span] = {"serving-day": 5 * HOUR, "power-cut": 23 * HOUR, "must-fail": 4 * HOUR}

CLASS = {
    "name": "one",
    "share": 1,
    "sizes": {16: 1},
    "succeeded": {"share": 1, "lasts": [{"median": "1h", "sigma": 0.5}]},
}
SERVICE: dict[str, Any] = {
    "service": {
        "kind": "service",
        "name": "chat",
        "tenant": "serving",
        "model": {"path": "/m"},
        "chips_per_replica": 4,
    },
    "rate": {"mean": 5},
    "prompt": {"mean": 500},
    "answer": {"mean": 100},
    "replica": {"requests_per_s": 2},
}
PLAIN: dict[str, Any] = {
    "name": "plain",
    "span": "6h",
    "site": {
        "name": "small",
        "chip": "zhenwu-810e",
        "pods": [
            {"name": "p0", "racks": 2, "nodes_per_rack": 4, "power": "feed-a"},
            {"name": "p1", "racks": 2, "nodes_per_rack": 4, "chip": "h20"},
        ],
    },
    "workload": {"target_utilisation": 0.3, "classes": [CLASS]},
    "services": {"loads": {"chat": SERVICE}},
    "policy": {"recover": {"repair_timeout": "60d"}},
    "faults": {},
    "physics": {"whole_gangs": True, "boot_s": 60},
    "power": {},
}  # fmt: skip


def asked(path: str = "", value: Any = None) -> scenario.Scenario:
    """The plain one with one thing changed."""
    tree = copy.deepcopy(PLAIN)
    if path:
        scenario.put(tree, path, value)
    return scenario.of_tree(tree, "plain.yaml")


def played(given: scenario.Scenario, span_ns: Span, seed: int = 1, followers: Any = ()) -> Simulation:
    simulation = Simulation(given, seed, followers=followers)
    simulation.run(span_ns)
    return simulation


def event(**fields: Any) -> list[dict[str, Any]]:
    return [{"at": "1h", "scope": "pod", "of": "p0", "lasts": "2h"} | fields]


# ---- those that are shipped


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_scenario_can_be_read_and_says_what_it_is(path: Path) -> None:
    found = scenario.read(path)
    assert found.name == path.stem and found.about and found.span_ns > 0
    assert path.read_text().startswith("#") or path.stem == "shaoguan-10k"
    if found.workload is not None:
        Simulation(found, 1)._arrivals(HOUR)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_one_twice_is_the_same_and_every_chip_second_is_somewhere(name: str) -> None:
    found, results = scenario.read(SHIPPED / f"{name}.yaml"), []
    for _ in range(2):
        simulation = played(found, SMALL[name])
        simulation.ledger.check_deeply()
        results.append(outcome.of(simulation, SMALL[name], 0.0))
    assert results[0].digest == results[1].digest
    figures = outcome.figures(results[0])
    assert sum(results[0].buckets.values()) == results[0].capacity_chip_ns
    counts = ("jobs.", "stops.", "faults.")
    assert [one for one in found.expect if one not in figures and not one.startswith(counts)] == []


def test_what_is_said_to_serve_is_what_callers_need() -> None:
    simulation = played(scenario.read(SHIPPED / "serving-day.yaml"), 12 * HOUR)
    assert simulation.serving is not None
    needed = sum(
        done.requests / one.replica.requests_per_s * one.load.service.chips_per_replica * SECOND
        for done, one in zip(
            simulation.serving.served().values(), simulation.serving.demands.values(), strict=True
        )
    )
    told = outcome.of(simulation, 12 * HOUR, 0.0).buckets["serving_busy"]
    # facts tell of changes above a twentieth, after the time they are of
    assert told == pytest.approx(needed, rel=0.08)


# ---- what happens at a stated time


def test_nodes_with_names_are_counted_and_simulated() -> None:
    hosts = {"leaf1": "node[01-48]", "leaf2": "node[49-100]"}
    found = asked(
        "site", {"name": "named", "chip": "h20", "spares": "2%", "pods": [{"name": "p", "hosts": hosts}]}
    )
    assert found.setup.site.spares == 2
    simulation = played(found, 6 * HOUR)
    assert "node049" not in simulation.core.state.nodes and "node49" in simulation.core.state.nodes


def test_a_feed_is_lost_at_its_time_and_its_nodes_come_back_after_it() -> None:
    lost: list[tuple[str, Span]] = []
    back: list[tuple[str, Span]] = []

    def follow(happened: Sequence[Fact]) -> None:
        for fact in happened:
            if type(fact) is facts.NodeLost:
                lost.append((fact.node, fact.at))
            elif type(fact) is facts.NodeMoved and fact.state.name == "READY" and fact.at > HOUR:
                back.append((fact.node, fact.at))

    quiet = {"hardware": {"chip": 0, "host": 0}, "false_alarms": 0, "plant": {"pods": 0, "power": 0}}
    found = asked("faults", {**quiet, "events": event(scope="power", of="feed-a")})
    simulation = played(found, 6 * HOUR, followers=(follow,))
    feed = [f"n{number}" for number in range(8)]
    assert sorted(node for node, _ in lost) == feed and all(HOUR < at < HOUR + MINUTE for _, at in lost)
    assert sorted(node for node, _ in back) == feed and all(3 * HOUR < at < 4 * HOUR for _, at in back)
    assert outcome.figures(outcome.of(simulation, 6 * HOUR, 0.0))["incidents.power"] <= 1


def test_of_several_that_slow_a_node_the_worst_counts_until_it_is_over() -> None:
    events = event(scope="cooling", lasts="4h", factor=1.2) + event(
        scope="rack", of="p0/r0", at="2h", lasts="1h", factor=2
    )
    quiet = {
        "hardware": {"chip": 0, "host": 0},
        "slow": {"share": 0, "nodes": 0, "links": 0},
        "network": {"flaps": 0},
    }
    simulation = Simulation(asked("faults", {**quiet, "events": events, "plant": {"cooling": 0}}), 1)
    simulation.open(8 * HOUR)
    seen = []
    for hour in (0.5, 1.5, 2.5, 3.5, 6):
        simulation.driver.pass_until(int(hour * HOUR))
        seen.append((simulation.world.nodes["n0"].slowness, simulation.world.nodes["n5"].slowness))  # type: ignore[index]
    assert seen == [(1, 1), (1.2, 1.2), (2, 1.2), (1.2, 1.2), (1, 1)]


# ---- power


def test_each_type_of_chip_draws_its_own_watts() -> None:
    idle = played(asked("workload", None)._replace(services=scenario.Services(), faults=None), 2 * HOUR)
    assert idle.energy is not None
    shares = idle.energy.plant.power.shares.idle
    chips_w = shares * (8 * 16 * 400 + 8 * 8 * 500)
    rest_w = (
        16 * idle.energy.plant.power.host_idle_w
        + (8 * 16 + 8 * 8) * idle.energy.plant.power.network_w_per_chip
    )
    assert idle.energy.draw.it_w == pytest.approx(chips_w + rest_w, abs=1)


def test_an_opening_is_no_peak() -> None:
    found = played(asked("workload", None)._replace(services=scenario.Services(), faults=None), DAY)
    result: Outcome = outcome.of(found, DAY, 0.0)
    assert result.peak_w == pytest.approx(result.energy_j / 86400, rel=0.05)


# ---- mistakes


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("worklaod", {}, "workload"),
        ("span", 90, "90d"),
        ("span", "90 fortnights", "90d"),
        ("start", "soon", "2026-06-01"),
        ("workload.jobs_per_dya", 3, "jobs_per_day"),
        ("workload.target_utilisation", -0.5, "target_utilisation"),
        ("faults.hardware", {"chip": -1}, "chip must be 0"),
        ("faults.hardware", {"chips": 1}, "chip"),
        ("faults.network", {"switches": 150}, "percent"),
        ("faults.age", {"pods": {"p7": "1d"}}, "p0, p1"),
        ("faults.mix", {"nan": 3}, "scope chip"),
        ("faults.events", event(at=6), "at"),
        ("faults.events", event(lasts="4"), "no unit"),
        ("faults.events", event(of="p2"), "p0, p1"),
        ("faults.events", event(scope="rack", of="p0/r9"), "p0/r"),
        ("faults.events", event(scope="power", of="feed-b"), "feed-a"),
        ("faults.events", event(scope="site"), "left out"),
        ("faults.events", event(factor=0.5), "1 and more"),
        ("repair", {"automatic": "3h", "automatic_most": "1h"}, "automatic_most"),
        ("services.loads.chat.rate.mean", -4, "mean"),
        ("services.loads.chat.service.chips_per_replica", "four", "chips_per_replica"),
        ("power.cap", 3, "cap_w"),
        ("physics.boot_s", -1, "boot_s"),
        ("site.spares", "200%", "1%"),
        ("policy", {"recover": {"silence": 10}}, "silence"),
        ("policy", {"recover": {"repair_timeout": "2m"}}, "60d"),
        ("expect", "much", "goodput"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_remedy_before_anything_runs(path: str, value: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        asked(path, value)
    assert said in str(caught.value) and "plain.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("workload.classes", [{**CLASS, "sizes": {1024: 1}}], "8 nodes of 16"),
        ("workload.classes", [{**CLASS, "chip": "h100-sxm"}], "zhenwu-810e, h20"),
        (
            "jobs",
            [{"name": "whole", "nodes": 9, "chips_per_node": 16, "lasts": "1d"}],
            "larger than the site",
        ),
        ("services.loads.chat.service.chips_per_replica", 32, "16 zhenwu-810e"),
        ("services.loads.chat.trace", "none.csv", "none.csv"),
        ("power.chip_w", {"h200": 3}, "h20"),
    ],
)
def test_what_the_site_cannot_hold_is_told_before_anything_happens(path: str, value: Any, said: str) -> None:
    happened: list[Fact] = []
    with pytest.raises(UserError) as caught:
        run.simulate(asked(path, value), 1, followers=[happened.extend])
    assert said in str(caught.value) and not happened
