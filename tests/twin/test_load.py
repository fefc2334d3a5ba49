"""The load of services: conservation, Little's law, the promise at the rating, traces, shipped parts."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myriad.catalog.shelf import Catalog
from myriad.kernel import documents
from myriad.kernel.errors import UserError
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, HOUR, MINUTE, SECOND
from myriad.performance.serving import Lengths
from myriad.twin import requests
from myriad.twin.almanac import Almanac
from myriad.twin.curves import Bursts, Rate, Rates, Spikes
from myriad.twin.load import Demand, Observation, ServiceLoad, Services, Tokens, demand, wanted_replicas
from myriad.twin.replicas import Planned, Replica, Served, rated
from myriad.workload.services import InferenceService, ModelSource, ServiceLevel
from tests.twin import shared_data

PARTS = Path(__file__).parents[2] / "scenarios" / "parts"
SPEC = InferenceService(
    name="chat",
    tenant="serving",  # type: ignore[arg-type]
    model=ModelSource(path="/m"),
    chips_per_replica=16,
    concurrency=64,
    slo=ServiceLevel(ttft="2s", tpot="100ms"),
)
REPLICA = Replica(requests_per_s=10.0, in_flight=125.0, ttft="200ms", tpot="15ms")
FLAT: dict[str, Any] = {"diurnal": 0.0, "weekend": 1.0, "bursts": Bursts(cv=0.0), "arrivals_cv": 1.0}


def service(rate: Rate | None = None, **fields: Any) -> ServiceLoad:
    given: dict[str, Any] = {
        "service": SPEC,
        "rate": rate or Rate(mean=50.0),
        "prompt": Tokens(mean=1000),
        "answer": Tokens(mean=200),
        "replica": REPLICA,
    }
    return ServiceLoad(**{**given, **fields})


def started(load: ServiceLoad, seed: int = 1) -> Demand:
    return demand(load, Stream(seed, "services"), almanac=Almanac("2026-04-06"))  # a Monday


def steady(rate: float, ready: int, hours: int = 4) -> Observation:
    load = started(service(Rate(mean=rate, **FLAT)))
    load.observe(2 * HOUR, ready)
    return load.observe((2 + hours) * HOUR, ready)


# ---- queues


@given(st.floats(0.1, 95.0))
def test_littles_law_holds_below_capacity(rate: float) -> None:
    seen = steady(rate, 10)
    served = Served(REPLICA, SPEC.slo, 200.0, 64, 1.0)
    assert seen.requests == pytest.approx(rate * 4 * 3600, abs=1)
    assert seen.refused == seen.queued == 0
    # time in the replica grows linearly with the requests in it: T = T0 + b x (T1 - T0) / b1
    each = seen.in_flight / 10
    alone_s, full_s = 0.2 + 199 * 0.015, 125.0 / 10.0
    time_s = alone_s + (full_s - alone_s) * each / 125.0
    assert seen.in_flight == pytest.approx(rate * time_s, rel=1e-9)
    assert seen.busy == pytest.approx(rate / 100)
    assert seen.ttft_s == pytest.approx(served.seen(rate / 10).ttft_s)


def test_littles_law_holds_for_the_gateways_queue() -> None:
    seen = steady(200.0, 10)
    most = 10 * 11.5
    assert seen.requests == pytest.approx(most * 4 * 3600, rel=1e-3)
    assert seen.refused == pytest.approx((200 - most) * 4 * 3600, rel=1e-3)
    # full to its limit; everybody waits as long as that takes to serve
    assert seen.queued == 1000
    wait_s = seen.queued / most
    assert seen.ttft_s - Served(REPLICA, SPEC.slo, 200.0, 64, 1.0).seen(11.5).ttft_s == pytest.approx(
        wait_s, rel=1e-6
    )
    assert seen.late == 1.0
    assert seen.busy == 1.0


def test_at_its_rating_a_replica_keeps_its_promise_just() -> None:
    served = Served(REPLICA, SPEC.slo, 200.0, 64, arrivals_cv=1.0)
    assert served.seen(10.0).late == pytest.approx(REPLICA.late)
    assert served.seen(10.0).in_flight == pytest.approx(125.0)
    bursty = Served(REPLICA, SPEC.slo, 200.0, 64, arrivals_cv=2.0)
    assert bursty.seen(9.0).late > served.seen(9.0).late
    assert bursty.seen(9.0).ttft_s > served.seen(9.0).ttft_s


@given(st.floats(0.0, 12.0), st.floats(0.0, 12.0), st.floats(0.0, 5.0))
def test_more_load_and_longer_waits_are_never_better(one: float, other: float, waited: float) -> None:
    served = Served(REPLICA, SPEC.slo, 200.0, 64, 1.1)
    low, high = (served.seen(rate, waited) for rate in sorted((one, other)))
    assert all(a <= b + 1e-12 for a, b in zip(low, high, strict=True))
    assert 0 <= low.late <= 1 and 0 <= low.working <= 1 and 0 <= low.reading <= 1
    waiting = served.seen(one, waited)
    assert waiting.late >= served.seen(one).late
    assert waiting.ttft_s >= served.seen(one).ttft_s


@given(
    st.lists(st.tuples(st.integers(1, 4000), st.integers(0, 12)), min_size=1, max_size=30), st.integers(1, 9)
)
def test_every_request_is_served_refused_or_waiting(steps: list[tuple[int, int]], seed: int) -> None:
    load = started(service(Rate(mean=80.0, bursts=Bursts(cv=0.5))), seed)
    again = started(service(Rate(mean=80.0, bursts=Bursts(cv=0.5))), seed)
    at = served = refused = came = 0
    last = None
    for seconds, ready in steps:
        came_to, at = at, at + seconds * SECOND
        last = load.observe(at, ready)
        assert last == again.observe(at, ready)
        served, refused = served + last.requests, refused + last.refused
        while came_to < at:
            rate, end = load._rates.slot(came_to)
            came += rate * (min(end, at) - came_to) / SECOND
            came_to = min(end, at)
        assert min(last) >= 0 and last.busy <= 1 and last.late <= 1
        assert last.prefill + last.decode <= 1 + 1e-9
        assert last.tokens_in == pytest.approx(1000 * last.requests, abs=1000)
    assert served + refused + last.queued == pytest.approx(came, abs=2)


@given(st.integers(0, 5), st.integers(1, 20))
def test_more_replicas_never_serve_worse(fewer: int, more: int) -> None:
    small, large = (
        started(service(Rate(mean=80.0, **FLAT))).observe(6 * HOUR, n) for n in (fewer, fewer + more)
    )
    assert large.late <= small.late + 1e-12
    assert large.refused <= small.refused
    assert large.requests >= small.requests


def test_a_service_without_replicas_asks_for_one_at_once() -> None:
    load = started(service(Rate(mean=2.0, **FLAT)))
    assert load.next_at() <= SECOND
    seen = load.observe(2 * SECOND, 0)
    assert seen.queued == 4
    assert (seen.requests, seen.in_flight, seen.busy) == (0, 0.0, 0.0)
    waited = load.observe(10 * MINUTE, 0)
    assert waited.queued == 60  # half a minute's worth; the rest gave up
    assert waited.refused == 1200 - 60
    assert load.observe(20 * MINUTE, 4).queued == 0


def test_looking_at_an_instant_twice_counts_nothing_twice() -> None:
    load = started(service())
    load.observe(HOUR, 8)
    again = load.observe(HOUR, 8)
    assert (again.requests, again.refused, again.tokens_in, again.busy) == (0, 0, 0, 0.0)
    assert again.in_flight > 0


# ---- when to look


def test_a_flat_load_is_looked_at_once_an_hour_and_a_changing_one_at_each_change() -> None:
    load = started(service(Rate(mean=50.0, **FLAT)))
    load.observe(10 * MINUTE, 8)
    assert load.next_at() == 70 * MINUTE
    busy = started(service(Rate(mean=50.0, diurnal=0.9, weekend=1.0, bursts=Bursts(cv=0.0))))
    looks = at = 0
    told = busy.rate(0)
    while at < DAY:
        at = busy.next_at()
        busy.observe(at, 12)
        looks += 1
        before, told = told, busy.rate(at - 1)
        # a slot is over before its change is told
        assert abs(told - before) <= 0.35 * before
    assert 24 <= looks <= 60  # instead of 288


def test_how_often_somebody_looks_changes_no_count() -> None:
    rate = Rate(mean=50.0, bursts=Bursts(cv=0.3))
    often, seldom = started(service(rate)), started(service(rate))
    seen = [often.observe(minute * MINUTE, 7) for minute in range(7, 3 * 1440, 7)]
    end = often.observe(3 * DAY, 7)
    whole = seldom.observe(3 * DAY, 7)
    for name in ("requests", "refused", "tokens_in", "tokens_out"):
        assert sum(getattr(one, name) for one in (*seen, end)) == getattr(whole, name)
    assert whole.in_flight == end.in_flight


# ---- curves


def test_a_week_averages_the_mean_and_follows_the_clock() -> None:
    rate = Rate(mean=100.0, diurnal=0.6, busiest_hour=15, weekend=0.5, bursts=Bursts(cv=0.0))
    rates = Rates(rate, 5 * MINUTE, Stream(1, "r"), Almanac("2026-04-06"))
    week = [rates.slot(at)[0] for at in range(0, 7 * DAY, 5 * MINUTE)]
    assert sum(week) / len(week) == pytest.approx(100.0)
    monday, saturday = week[:288], week[5 * 288 : 6 * 288]
    assert monday.index(max(monday)) == 15 * 12
    assert sum(saturday) == pytest.approx(0.5 * sum(monday))
    assert min(week) > 0
    hours = tuple(float(hour == 3) for hour in range(24))
    night = Rates(Rate(mean=1.0, hours=hours, weekend=1.0), 5 * MINUTE, Stream(1), Almanac())
    assert night.slot(3 * HOUR)[0] > 0 == night.slot(4 * HOUR)[0]


@pytest.mark.parametrize("shape", ["gamma", "weibull"])
@pytest.mark.parametrize("cv", [0.1, 0.5, 1.5])
def test_bursts_have_their_mean_and_variation(shape: Any, cv: float) -> None:
    chance = Stream(5, shape)
    draws = np.array([Bursts(shape=shape, cv=cv).factor(chance) for _ in range(20_000)])
    assert draws.mean() == pytest.approx(1.0, abs=0.04)
    assert draws.std() == pytest.approx(cv, rel=0.08)
    assert draws.min() >= 0


def test_days_are_the_same_in_any_order() -> None:
    rate = Rate(mean=100.0, bursts=Bursts(cv=0.5), spikes=Spikes(a_day=4))
    there, back = (Rates(rate, 5 * MINUTE, Stream(9, "r"), Almanac()) for _ in range(2))
    days = range(12)
    forward = [there.slot(day * DAY + HOUR)[0] for day in days]
    assert forward == [back.slot(day * DAY + HOUR)[0] for day in reversed(days)][::-1]
    assert len(set(forward)) == len(forward)


def test_spikes_multiply_and_growth_grows() -> None:
    calm = Rate(mean=100.0, **FLAT)
    spiky = Rate(mean=100.0, **FLAT, spikes=Spikes(a_day=6, factor=4.0, lasts="30m"))
    rates = Rates(spiky, 5 * MINUTE, Stream(2, "r"), Almanac())
    seen = [rates.slot(at)[0] for at in range(0, 30 * DAY, 5 * MINUTE)]
    assert max(seen) == pytest.approx(400.0)
    assert min(seen) == pytest.approx(100.0)
    # the share of time in spikes: 30 minutes in every 4.5 hours
    assert np.mean(seen) == pytest.approx(100 * (1 + 3 * 0.5 / 4.5), rel=0.1)
    grown = Rates(Rate(mean=100.0, **FLAT, growth=0.1), 5 * MINUTE, Stream(2), Almanac())
    assert grown.slot(365 * DAY)[0] == pytest.approx(100 * 1.1**12, rel=0.01)
    assert Rates(calm, 5 * MINUTE, Stream(2), Almanac()).slot(0) == (100.0, 5 * MINUTE)


# ---- traces

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
GOOD = AZURE + "2023-11-16 18:15:50.9951690,396,109\n2023-11-16 18:25:51.0,879,55\n"
LINES = (
    '{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}\n'
    '{"timestamp": 3000, "input_length": 700, "output_length": 49, "hash_ids": [0, 3]}\n'
)


def test_both_formats_are_read() -> None:
    azure = requests.parse(GOOD, "azure.csv")
    assert azure.at_s.tolist() == pytest.approx([0, 4.314579, 604.31941])
    assert azure.prompt.tolist() == [374, 396, 879]
    assert azure.answer.tolist() == [44, 109, 55]
    assert (azure.cached, azure.skipped) == (0.0, 0)
    mooncake = requests.parse(LINES, "mooncake.jsonl")
    assert mooncake.span_s == 3.0
    assert mooncake.cached == 0.2  # block 0 came twice, of five


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (AZURE + "yesterday,1,2\n", r"line 3: TIMESTAMP 'yesterday' is not a time"),
        (AZURE + "2023-11-16 18:15:50,-4,2\n", r"line 3: ContextTokens '-4'"),
        (AZURE + "2023-11-16 18:15:50,4\n", r"line 3: has 2 columns, needs 3"),
        (AZURE + "2023-11-15 18:15:50,4,4\n", r"line 3: is earlier"),
        (AZURE, r"too few requests"),
        ("a,b\n1,2\n", r"line 1: is no request trace"),
        ("", r"line 1: is no request trace"),
        (LINES + "{oops\n", r"line 3: is not JSON"),
        (LINES + '{"timestamp": 9000, "input_length": 3}\n', r"line 3: has no 'output_length'"),
        (LINES + '{"timestamp": "x", "input_length": 3, "output_length": 3}\n', r"line 3: timestamp 'x'"),
        (LINES + '{"timestamp": 9000, "input_length": 3.5, "output_length": 3}\n', "line 3: input_length 3"),
        (LINES + "\n[1]\n", r"line 4: is not a JSON object"),
        (LINES + '{"timestamp": 9e3, "input_length": 3, "output_length": 3, "hash_ids": 7}\n', "line 3"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_its_line_and_skipped_only_when_asked(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        requests.parse(text, "trace")
    if "line 3" in words or "line 4" in words:
        enough = text + ("" if text.startswith("{") else "2023-11-16 18:25:51,5,5\n")
        assert requests.parse(enough, "trace", skip_bad_rows=True).skipped == 1


def test_a_trace_shapes_the_load_and_scales_to_a_rate(tmp_path: Path) -> None:
    rows = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for second in range(0, 1201, 5):
        rows += [f"2023-11-16 18:{second // 60:02}:{second % 60:02},100,10"] * (1 if second < 600 else 3)
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    own = ServiceLoad(service=SPEC, trace="t.csv", replica=REPLICA)
    load = demand(own, Stream(1), almanac=Almanac("2026-04-06"), folder=tmp_path)
    assert [load.rate(at * MINUTE) for at in (0, 6, 11, 16, 21)] == pytest.approx(
        [0.2, 0.2, 0.6, 0.6, 0.2], rel=0.05
    )
    seen = load.observe(DAY, 3)
    assert seen.tokens_in == 100 * seen.requests
    scaled = ServiceLoad(service=SPEC, trace="t.csv", replica=REPLICA, rate=Rate(mean=40.0, **FLAT))
    load = demand(scaled, Stream(1), almanac=Almanac("2026-04-06"), folder=tmp_path)
    assert load.observe(DAY, 9).requests == pytest.approx(40 * 86400, rel=0.01)
    assert load.rate(12 * MINUTE) == pytest.approx(60.0, rel=0.05)
    with pytest.raises(UserError, match="No such file"):
        demand(own, Stream(1), folder=tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("name", "rate", "prompt", "cached"),
    [
        ("azure_llm_2023_conv.csv", 5.53, 1155, 0.0),
        ("mooncake_conversation.jsonl", 3.40, 12035, 0.37),
    ],
)
def test_public_traces_give_what_their_parts_claim(
    name: str, rate: float, prompt: float, cached: float
) -> None:
    path = shared_data.file(f"traces/{name}")
    trace = requests.read(path)
    assert trace.skipped == 0
    assert trace.rate == pytest.approx(rate, rel=0.01)
    assert trace.prompt.mean() == pytest.approx(prompt, rel=0.01)
    assert trace.cached == pytest.approx(cached, abs=0.01)
    load = ServiceLoad(service=SPEC, trace=path.name, replica=REPLICA)
    replay = demand(load, Stream(1), folder=path.parent)
    seen = replay.observe(55 * MINUTE, 2)
    arrived = int((trace.at_s < 55 * 60).sum())
    assert seen.requests + seen.queued == pytest.approx(arrived, rel=0.03)


# ---- ratings and files


def test_the_performance_model_rates_a_replica() -> None:
    catalog = Catalog.shipped()
    plan = Planned(model="qwen3-30b-a3b", chip="zhenwu-810e")
    spec = InferenceService(
        name="code", tenant="t", model=ModelSource(path="/m"), chips_per_replica=2,  # type: ignore[arg-type]
        slo=ServiceLevel(ttft="1s", tpot="100ms"),
    )  # fmt: skip
    found = rated(plan, spec, Lengths(mean=2000, cv=1.0), Lengths(mean=60, cv=1.0), catalog)
    [tree] = documents.documents((PARTS / "services-telecom.yaml").read_text(), "part")
    shipped = documents.convert(tree, Services, "part").loads["code"].replica
    assert shipped is not None
    assert found.requests_per_s == pytest.approx(shipped.requests_per_s, rel=0.01)
    assert found.in_flight == pytest.approx(shipped.in_flight, rel=0.01)
    assert found.reading == pytest.approx(shipped.reading, abs=0.01)
    huge = Planned(model="llama3-405b", chip="zhenwu-810e")
    with pytest.raises(UserError, match="no layout of a replica"):
        rated(huge, spec, Lengths(mean=2000), Lengths(mean=60), catalog)


def _mend(tree: dict[str, Any], name: str, **fields: Any) -> dict[str, Any]:
    return {**tree, "loads": {name: {**tree["loads"][name], **fields}}}


def test_the_shipped_services_fill_a_fifth_of_their_site() -> None:
    [tree] = documents.documents((PARTS / "services-telecom.yaml").read_text(), "part")
    services = documents.convert(tree, Services, "part")
    chips = 0
    for load in services.scaled():
        spec = load.service
        busy = wanted_replicas(started(load), 7 * DAY)
        chips += busy * spec.chips_per_replica
        assert spec.replicas.min <= busy < spec.replicas.max
    assert 1300 <= chips <= 1800  # with an autoscaler's headroom 15 to 25 % of 10,000
    tenfold = documents.convert({**tree, "scale": 10.0}, Services, "part").scaled()
    first = services.loads["chat"]
    assert tenfold[0].rate is not None and first.rate is not None
    assert tenfold[0].rate.mean == 10 * first.rate.mean
    assert tenfold[0].service.replicas.max == 10 * first.service.replicas.max
    [day] = documents.documents((PARTS / "services-day.yaml").read_text(), "part")
    assert list(documents.convert(day, Services, "part").loads) == ["chat", "code"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rate": {"mean": -1}}, "mean must be 0"),
        ({"rate": {"mean": 1, "hours": [1, 2]}}, "24 levels"),
        ({"rate": {"mean": 1, "peak": 2}}, "peak"),
        ({"rate": None}, "a trace, or both"),
        ({"replica": None}, "exactly one of replica and plan"),
        ({"replica": {"requests_per_s": 0}}, "more than 0"),
        ({"replica": {"requests_per_s": 1, "late": 0.95}}, "below 1 / saturation"),
        ({"gateway": {"every": "7m"}}, "divide a day"),
        ({"prompt": {"mean": 0}}, "1 token or more"),
        ({"cached": 1.0}, "cached"),
    ],
)
def test_bad_services_are_refused(change: dict[str, Any], words: str) -> None:
    [tree] = documents.documents((PARTS / "services-telecom.yaml").read_text(), "part")
    with pytest.raises(UserError, match=words):
        documents.convert(_mend(tree, "chat", **change), Services, "scenario")


def test_names_must_agree_and_promises_must_be_possible() -> None:
    [tree] = documents.documents((PARTS / "services-telecom.yaml").read_text(), "part")
    renamed = {"loads": {"talk": tree["loads"]["chat"]}}
    with pytest.raises(UserError, match=r"service\.name must be 'talk'"):
        documents.convert(renamed, Services, "scenario")
    slow = Replica(requests_per_s=1.0, ttft="3s")
    with pytest.raises(UserError, match="promised faster"):
        started(service(replica=slow))


def test_ninety_days_need_few_looks() -> None:
    load, at, looks = started(service(Rate(mean=50.0))), 0, 0
    while at < 90 * DAY:
        at = load.next_at()
        load.observe(at, 8)
        looks += 1
    assert looks < 90 * 24 * 6
    assert math.isfinite(load.rate(at))
