"""The faults of a site: rates as asked for, at every size, by a seed."""

import itertools
import math
import time
from collections import Counter

import pytest

from myriad.fleet.site import NodePlace
from myriad.kernel.ids import NodeId
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY
from myriad.twin.faults import Faults, Hazards, Terrain
from myriad.twin.faults.hazards import NEVER
from tests.twin.faults import build

#: Machines only, all alike.
BARE = """
hardware: {chip: CHIP, host: HOST}
lemons: {share: 0, factor: 1}
network: {links: 0, switches: 0, flaps: 0}
plant: {pods: 0, power: 0, cooling: 0}
slow: {share: 0, nodes: 0, links: 0}
false_alarms: 0
"""
PARTS = ("llama3", "rsc1", "byterobust", "telecom", "none")


def bare(chip: float, host: float) -> str:
    """Those rates and nothing else."""
    return BARE.replace("CHIP", str(chip)).replace("HOST", str(host))


def near(count: float, expected: float) -> bool:
    """Within four standard deviations of a Poisson count."""
    return abs(count - expected) < 4 * math.sqrt(max(expected, 1.0))


@pytest.mark.parametrize("part", PARTS)
def test_the_shipped_parts_are_read_and_sampled(part: str) -> None:
    given = build.faults(part=part)
    found = build.happened(given, Terrain.plain(64, 8), 300)
    assert bool(found) == (part != "none")
    assert [at for at, _ in found] == sorted(at for at, _ in found)


def test_llama_3_is_interrupted_as_often_as_published() -> None:
    found = build.happened(build.faults(part="llama3"), Terrain.plain(2048, 8), 54)
    assert near(len(found), 419 - 63), "hardware only: software is the job's"
    scopes = Counter(fault.scope for _, fault in found)
    assert near(scopes["chip"], 268) and near(scopes["host"], 53) and near(scopes["link"], 35)


def test_rsc_1_is_six_and_a_half_for_1000_node_days() -> None:
    given = build.faults(part="rsc1")
    assert near(len(build.happened(given, Terrain.plain(2000, 8), 300)), 6.5e-3 * 2000 * 300)


def test_a_node_of_16_chips_is_not_two_nodes_of_8() -> None:
    given = build.faults(bare(1, 4))
    eight = Hazards(given, Terrain.plain(1000, 8), Stream(1)).per_day(0)
    sixteen = Hazards(given, Terrain.plain(500, 16), Stream(1)).per_day(0)
    assert eight - sixteen == pytest.approx(500 * 4 / 1000, rel=1e-9)


def test_rates_add_up_with_the_size_of_the_site() -> None:
    given = build.faults(part="telecom")
    rates = [Hazards(given, Terrain.plain(nodes, 16), Stream(1)).per_day(0) for nodes in (1000, 2000, 4000)]
    assert rates[1] == pytest.approx(2 * rates[0], rel=0.1)
    assert rates[2] == pytest.approx(4 * rates[0], rel=0.1)


def test_the_same_seed_gives_the_same_faults_and_another_seed_others() -> None:
    given = build.faults(part="telecom")
    first, again, other = (build.happened(given, Terrain.plain(500, 16), 30, seed) for seed in (7, 7, 8))
    assert first == again and first != other


def test_a_draw_costs_the_same_at_100_nodes_and_at_20000() -> None:
    given = build.faults(part="telecom")
    costs = []
    for nodes in (100, 20_000):
        hazards = Hazards(given, Terrain.plain(nodes, 16), Stream(1))
        now, begin = 0, time.perf_counter()
        for _ in range(3000):
            now, _ = hazards.next(now)
        costs.append((time.perf_counter() - begin) / 3000)
    assert costs[1] < 4 * costs[0] and costs[1] < 300e-6


def test_lemons_fail_more_and_the_fleet_fails_as_asked() -> None:
    given = build.faults(bare(1, 0).replace("share: 0, factor: 1", "share: 0.02, factor: 50"))
    terrain = Terrain.plain(4000, 8)
    hazards = Hazards(given, terrain, Stream(3))
    found = [fault for _, fault in build.until(hazards, 100 * DAY)]
    lemons = dict.fromkeys(hazards.lemons)
    assert len(hazards.lemons) == len(lemons) == 80
    theirs = sum(fault.where in lemons for fault in found)
    expected = len(lemons) * 50 / (len(lemons) * 50 + 4000 - len(lemons))
    assert theirs / len(found) == pytest.approx(expected, rel=0.06)
    assert len(found) == pytest.approx(4000 * 8 * 0.1, rel=0.07), "the rate is the fleet's mean"


def test_a_cured_lemon_fails_like_the_others_and_a_repair_in_vain_shows() -> None:
    given = build.faults(bare(1, 1))
    hazards = Hazards(given, Terrain.plain(100, 8), Stream(3))
    before = hazards.per_day(0)
    hazards.set_factor(7, 100.0)
    assert hazards.factor(7) == pytest.approx(100)
    assert hazards.per_day(0) > 1.7 * before
    struck = Counter(f.where for _, f in build.until(hazards, 400 * DAY) if f.scope == "chip")
    assert struck.most_common(1)[0][0] == 7
    hazards.set_factor(7, 1.0)
    assert hazards.per_day(0) == pytest.approx(before)


def test_a_node_out_of_service_does_not_fail_and_an_idle_one_less() -> None:
    given = build.faults("{hardware: {chip: 10, host: 0, idle: 0.25}, network: {flaps: 0}}")
    hazards = Hazards(given, Terrain.plain(50, 8), Stream(3))
    found = [fault for _, fault in build.until(hazards, 1000 * DAY) if fault.scope == "chip"]
    out = [fault for fault in found if not hazards.holds(fault, serving=fault.where >= 25)]
    assert all(fault.where < 25 for fault in out) and len(out) > len(found) / 3
    idle = sum(hazards.holds(fault, busy=False) for fault in found)
    assert idle / len(found) == pytest.approx(0.25, abs=0.03)
    assert all(hazards.holds(fault) for fault in found)


def test_new_pods_fail_more_than_old_ones() -> None:
    places = [
        NodePlace(NodeId(f"n{row}"), f"pod-{row // 500}", f"pod-{row // 500}/r{row // 4}", 8)
        for row in range(1000)
    ]
    given = build.faults(bare(2, 0) + "age: {infant: 5, infant_span: 60d, pods: {pod-0: 1000d}}")
    found = [f for _, f in build.happened(given, Terrain.of(places), 30) if f.scope == "chip"]
    old = sum(fault.where < 500 for fault in found)
    # mean of the excess in the first 30 of 60 days
    ratio = 1 + 4 * 2 * (1 - math.exp(-0.5))
    assert (len(found) - old) / old == pytest.approx(ratio, rel=0.15)


def test_infant_mortality_shows_in_the_counts_of_a_new_site() -> None:
    given = build.faults(part="telecom")
    hazards = Hazards(given, Terrain.plain(625, 16), Stream(2))
    rates = [hazards.per_day(day * DAY) for day in (0, 60, 600)]
    assert rates[0] > rates[1] > rates[2] > 0


def hazards_of(terrain: Terrain) -> Hazards:
    """A sampler of a site where nothing matters but its domains."""
    return Hazards(Faults(), terrain, Stream(1))


def test_domains_and_their_faults() -> None:
    given = build.faults(
        "{plant: {pods: 1000, power: 1000, cooling: 1000}, network: {switches: 100, dual: false, flaps: 100}}"
    )
    terrain = Terrain.plain(64, 8)
    found = [fault for _, fault in build.happened(given, terrain, 100)]
    seen = {fault.cause: fault for fault in found}
    assert {"pod", "power", "cooling", "switch", "flap", "slow", "false alarm"} <= set(seen)
    assert seen["switch"].scope == "rack" and seen["switch"].symptom == "down"
    assert all(0 <= fault.where < len(terrain.racks) for fault in found if fault.scope == "rack")
    assert list(hazards_of(terrain).rows_of(seen["switch"]._replace(where=3))) == [12, 13, 14, 15]
    assert len(hazards_of(terrain).rows_of(seen["power"])) == 64
    assert seen["cooling"].symptom == "slow" and seen["cooling"].factor > 1
    assert all(fault.lasts_s < math.inf for fault in found if fault.symptom in ("flap", "slow"))


def test_a_dual_switch_slows_its_rack() -> None:
    found = build.happened(build.faults("{network: {switches: 100}}"), Terrain.plain(64, 8), 100)
    assert {fault.symptom for _, fault in found if fault.cause == "switch"} == {"slow"}


def test_without_monitors_a_hang_lasts_until_the_timeout_and_people_look_for_the_node() -> None:
    base = "mix: {gpu system processor: 1, host maintenance: 1, infiniband: 1}, hardware: {chip: 5, host: 0}"
    watched = build.happened(build.faults("{" + base + "}"), Terrain.plain(64, 8), 300)
    blind = build.happened(
        build.faults("{" + base + ", detection: {monitors: false}}"), Terrain.plain(64, 8), 300
    )

    def mean(found, name: str) -> float:
        values = [getattr(fault, name) for _, fault in found if fault.scope == "chip"]
        return sum(values) / len(values)

    assert mean(watched, "detect_s") == pytest.approx(10, rel=0.15)
    assert mean(blind, "detect_s") == 600
    assert mean(watched, "diagnose_s") < 30 and mean(blind, "diagnose_s") > 1200
    assert mean(watched, "blamed") > 0.9 > 0.8 > mean(blind, "blamed")


def test_nothing_fails_where_nothing_can() -> None:
    at, _ = Hazards(build.faults(part="none"), Terrain.plain(64, 8), Stream(1)).next(5)
    assert at == NEVER


def test_times_between_faults_are_exponential() -> None:
    given = build.faults(bare(1, 0))
    instants = [at for at, _ in build.happened(given, Terrain.plain(500, 8), 300)]
    gaps = [after - before for before, after in itertools.pairwise(instants)]
    mean = sum(gaps) / len(gaps)
    spread = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert spread / mean == pytest.approx(1.0, abs=0.1)


def test_a_default_site_is_half_a_fault_for_1000_chip_days_over_its_life() -> None:
    given = Faults()
    terrain = Terrain.plain(2000, 16)
    found = [f for _, f in build.happened(given, terrain, 100) if f.scope in ("chip", "host", "link")]
    hard = [f for f in found if f.cause not in ("slow", "flap", "false alarm")]
    assert len(hard) / (32_000 * 100) * 1000 == pytest.approx(0.5, rel=0.12)
