"""Watts, the cap, energy and money: laws that hold whatever the numbers are, and the figures published."""

import csv
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myriad.kernel import documents
from myriad.kernel.errors import UserError
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, HOUR, MINUTE, SECOND
from myriad.twin import money
from myriad.twin.almanac import Almanac, Climate
from myriad.twin.money import Costs, Tariff
from myriad.twin.power import ACTIVITIES, STANDSTILL, CoolingEvent, Meter, Plant, Power, Pue, Shares
from tests.twin import shared_data

PARTS = Path(__file__).parents[2] / "scenarios" / "parts"
CHIPS = {"zhenwu-810e": 400.0}
SITE = {"training": 8000, "idle": 500, "prefill": 500, "decode": 700, "warm": 200, "off": 100}
COUNTS = st.fixed_dictionaries({name: st.integers(0, 10_000) for name in ACTIVITIES})
HOURS = st.integers(0, 365 * 24).map(lambda hour: hour * HOUR)


def plant(start: str = "2026-04-08", **power: Any) -> Plant:
    return Plant(Power(**power), CHIPS, Almanac(start))


# ---- watts


@given(COUNTS, st.sampled_from(ACTIVITIES), st.integers(1, 5000), HOURS)
def test_more_chips_never_draw_less_and_work_draws_more_than_idling(
    chips: dict[str, int], activity: str, more: int, at: int
) -> None:
    site = plant()
    before = site.draw(chips, 700, at)
    after = site.draw({**chips, "idle": chips["idle"] + more}, 700, at)
    assert after.it_w >= before.it_w - 1 - 700 * 1600  # an idle chip more may calm the hosts' mean
    moved = min(more, chips["idle"])
    busier = {**chips, "idle": chips["idle"] - moved, "training": chips["training"] + moved}
    assert site.draw(busier, 700, at).it_w >= before.it_w


@given(COUNTS, st.floats(1e4, 2e7), HOURS)
def test_a_cap_is_never_exceeded_while_anything_can_wait(chips: dict[str, int], cap: float, at: int) -> None:
    free, capped = plant(), plant(cap_w=cap)
    wanted, draw = free.draw(chips, 700, at), capped.draw(chips, 700, at)
    assert draw.site_w <= wanted.site_w
    assert draw.throttle >= 1 and draw.serving >= 1
    assert draw.site_w <= cap or draw.over_w == draw.site_w - math.floor(cap) > 0
    if draw.over_w:
        still = {
            **chips,
            **dict.fromkeys(("training", "burn_in", "prefill", "decode"), 0),
        }
        assert free.draw(still, 0, at).site_w <= draw.site_w
        assert draw.throttle >= STANDSTILL or not chips["training"] + chips["burn_in"]
    if wanted.site_w <= cap - 1:
        assert draw[:4] == wanted[:4]


@given(st.floats(2e6, 1e7), st.floats(2e6, 1e7))
def test_a_lower_cap_slows_more(one: float, other: float) -> None:
    low, high = sorted((one, other))
    slow, fast = (plant(cap_w=cap).draw(SITE, 625, 0) for cap in (low, high))
    assert slow.throttle >= fast.throttle
    assert slow.serving >= fast.serving
    assert slow.site_w <= fast.site_w


def test_serving_slows_only_when_training_stands_still() -> None:
    for cap in range(3_000_000, 8_000_000, 100_000):
        draw = plant(cap_w=float(cap)).draw(SITE, 625, 0)
        assert draw.serving == 1 or draw.throttle == STANDSTILL


def test_half_the_power_makes_a_prompt_take_1_3_times_as_long() -> None:
    rows = list(csv.DictReader(shared_data.file("inference_splitwise.csv").read_text().splitlines()))

    def mean_ms(hardware: str, column: str) -> float:
        times = [
            float(row[column]) for row in rows if (row["model"], row["hardware"]) == ("llama2-70b", hardware)
        ]
        return sum(times) / len(times)

    measured = mean_ms("h100-80gb-pcap", "prompt_time") / mean_ms("h100-80gb", "prompt_time")
    power = Power(clock_share=1.0)
    above = (0.5 - power.shares.idle) / (1.0 - power.shares.idle)
    assert power.slowdown(above ** (1 / power.clock_exponent)) == pytest.approx(measured, rel=0.01)
    decoding = mean_ms("h100-80gb-pcap", "token_time") / mean_ms("h100-80gb", "token_time")
    assert decoding == pytest.approx(1.0, abs=0.01)


def test_a_node_that_trains_takes_what_is_published() -> None:
    # 16 chips of 400 W: about 9.5 kW in the estimate of the reference site
    assert plant().draw({"training": 16}, 1, 0).it_w == pytest.approx(9500, rel=0.05)
    # an 8-GPU node of H100: 8.4 kW at most, 76 % of 10.2 kW when it computes hard
    node = Plant(Power(host_idle_w=1500, host_busy_w=2800, network_w_per_chip=0), {"h100": 700.0})
    assert 0.72 * 10_200 <= node.draw({"training": 8}, 1, 0).it_w <= 8400


def test_the_year_keeps_the_published_pue_and_summer_is_worse() -> None:
    site = plant("2026-01-01")
    pues = [site.pue(hour * HOUR) for hour in range(365 * 24)]
    assert sum(pues) / len(pues) == pytest.approx(1.25, abs=0.01)
    assert site.pue(200 * DAY + 15 * HOUR) > site.pue(15 * DAY + 4 * HOUR)
    assert min(pues) >= 1
    table = plant("2026-01-01", pue=Pue(monthly=tuple(1.1 + 0.01 * month for month in range(12))))
    assert table.pue(0) == 1.1
    assert table.pue(364 * DAY) == pytest.approx(1.21)


def test_the_heat_of_the_day_costs_throughput_1_to_2_percent() -> None:
    day = [plant().draw(SITE, 625, hour * HOUR).throttle for hour in range(24)]
    assert 0.01 <= max(day) - min(day) <= 0.02
    assert min(day) >= 1
    assert day.index(max(day)) == 15


def test_a_cooling_event_lowers_the_cap_for_a_while() -> None:
    events = (CoolingEvent(at="2h", lasts="90m", share=0.7),)
    site = plant(cap_w=9e6, events=events)
    assert site.draw(SITE, 625, 2 * HOUR - 1).cap_w == 9_000_000
    during = site.draw(SITE, 625, 2 * HOUR)
    assert during.cap_w == 6_300_000 >= during.site_w
    assert site.draw(SITE, 625, 3 * HOUR + 30 * MINUTE).cap_w == 9_000_000
    assert site.next_change(3 * HOUR) == 3 * HOUR + 30 * MINUTE
    site.limit(10 * HOUR, HOUR, 0.5)
    assert site.draw(SITE, 625, 10 * HOUR + MINUTE).throttle > during.throttle
    uncapped = plant(events=events)
    assert uncapped.draw(SITE, 625, 0).cap_w is None
    assert uncapped.draw(SITE, 625, 2 * HOUR).cap_w == math.floor(0.7 * uncapped.rated_w(SITE, 625))


def test_several_kinds_of_chips_each_draw_their_own() -> None:
    mixed = Plant(Power(), {"h20": 500.0, "zhenwu-810e": 400.0})
    both = mixed.draw({"h20/training": 80, "zhenwu-810e/idle": 160}, 20, 0)
    assert both.it_w == math.floor(
        80 * 500 * 0.85 + 160 * 400 * 0.12 + 20 * (1500 + 1600 * 80 / 240) + 240 * 40
    )
    with pytest.raises(AssertionError, match="none of"):
        mixed.draw({"training": 1}, 1, 0)


# ---- energy and money


def test_energy_adds_up_however_often_somebody_looks() -> None:
    chance = Stream(3, "looks")
    changes = [(0, SITE), (5 * HOUR + 7, {**SITE, "training": 100}), (31 * HOUR + 1, SITE)]
    meters = [Meter(plant(cap_w=6.5e6), Tariff()) for _ in range(2)]
    for often, meter in zip((False, True), meters, strict=True):
        for at, chips in changes:
            if often:
                for look in sorted(chance.integer(0, at) for _ in range(50)):
                    meter.advance(max(look, meter._at))
            meter.set(at, chips, 625)
        meter.advance(4 * DAY)
    seldom, often_ = meters
    assert seldom.energy_j == often_.energy_j
    assert seldom.electricity == often_.electricity
    assert seldom.throttled_ns == often_.throttled_ns > 0
    assert seldom.peak_w <= 6_500_000


def test_a_meter_integrates_what_is_drawn() -> None:
    site = plant(climate=Climate(year_swing_c=0, day_swing_c=0), afternoon_slowdown=0.0)
    meter = Meter(site)
    first = meter.set(0, SITE, 625)
    second = meter.set(90 * MINUTE, {"idle": 10_000}, 625)
    meter.advance(100 * MINUTE)
    assert meter.energy_j == pytest.approx(5400 * first.site_w + 600 * second.site_w)
    assert meter.mean_pue == pytest.approx(site.pue(0), rel=1e-5)
    assert meter.throttled_ns == meter.over_ns == 0
    assert meter.peak_w == first.site_w
    assert meter.electricity == 0


def test_guangdong_pays_by_the_hour() -> None:
    tariff, almanac = Tariff(kwh=1.0), Almanac("2026-07-01")

    def price(hour: float, day: int = 0) -> float:
        return tariff.price(almanac.local(day * DAY + int(hour * HOUR)))

    assert [price(hour) for hour in (3, 9, 10.5, 13, 18.9, 19)] == [0.38, 1, 1.7, 1, 1.7, 1]
    assert price(11.5) == price(16) == 1.7 * 1.25
    assert price(11.5, day=100) == 1.7  # in October
    mean = sum(price(hour) for hour in range(24)) / 24
    meter = Meter(plant(climate=Climate(day_swing_c=0, year_swing_c=0)), tariff)
    meter.set(0, {"idle": 1000}, 10)
    meter.advance(DAY)
    # the plant stands in April: no sharp peak
    assert meter.electricity < mean * meter.energy_j / 3.6e6
    assert meter.electricity == pytest.approx((8 * 0.38 + 7 * 1.7 + 9) / 24 * meter.energy_j / 3.6e6)


def test_costs_add_up_and_grow_with_time() -> None:
    costs = Costs()
    bill = costs.bill(30 * DAY, nodes=625, chips=10_000, electricity=1e6, peak_w=7e6)
    twice = costs.bill(60 * DAY, nodes=625, chips=10_000, electricity=2e6, peak_w=7e6)
    assert bill.total == pytest.approx(sum(bill))
    assert twice.total == pytest.approx(2 * bill.total)
    assert all(part > 0 for part in bill)
    useful = 10_000 * 30 * DAY * 0.8
    per_hour = money.per_useful_chip_hour(bill, int(useful))
    assert per_hour is not None
    assert per_hour * useful / HOUR == pytest.approx(bill.total)
    assert money.per_useful_chip_hour(bill, 0) is None
    whole = costs.bill(int(365.25 * 5 * DAY), nodes=625, chips=10_000, electricity=0, peak_w=0)
    assert whole.hardware == pytest.approx(costs.hardware(625, 10_000))
    assert money.annual(bill, 30 * DAY) == pytest.approx(bill.total * 365.25 / 30)


# ---- what people write


def test_the_shipped_parts_are_the_defaults() -> None:
    for name, type_ in (("power-guangdong", Power), ("costs-guangdong", Costs)):
        path = PARTS / f"{name}.yaml"
        [tree] = documents.documents(path.read_text(), path.name)
        assert documents.convert(tree, type_, path.name) == type_()


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"cap_w": -1}, "cap_w must be more than 0"),
        ({"cap_kw": 1}, "cap_w"),
        ({"pue": {"floor": 0.9}}, "1 or more"),
        ({"pue": {"monthly": [1.2]}}, "12 figures"),
        ({"shares": {"idle": 0.9}}, "idle must not be above"),
        ({"events": [{"at": "2", "lasts": "1h", "share": 0.5}]}, "no unit"),
        ({"clock_min": 0}, "clock_min"),
        ({"climate": {"warmest_day": 0}}, "warmest_day"),
    ],
)
def test_bad_power_is_refused(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        documents.convert(tree, Power, "scenario")


def test_bad_chips_and_dates_are_refused() -> None:
    with pytest.raises(UserError, match="h20"):
        Plant(Power(chip_w={"h2O": 500.0}), {"h20": 500.0})
    with pytest.raises(UserError, match="2026-04-08"):
        Almanac("8 April")
    with pytest.raises(UserError, match="whole hour"):
        Almanac("2026-04-08T06:30")
    with pytest.raises(msgspec.ValidationError, match="hours"):
        msgspec.convert({"bands": [{"factor": 1, "hours": [[5, 3]]}]}, Tariff)


def test_an_almanac_counts_from_its_start() -> None:
    almanac = Almanac("2026-04-08T06")
    assert almanac.local(0)[:1] == (4,)
    assert almanac.local(90 * MINUTE).hour == 7.5
    assert almanac.local(18 * HOUR) == almanac.local(18 * HOUR)._replace(weekday=3, hour=0.0)
    assert almanac.day(18 * HOUR - 1) == 0
    assert almanac.day(18 * HOUR) == 1
    assert almanac.midnight(1) == 18 * HOUR
    assert Shares().off == 0 and SECOND
