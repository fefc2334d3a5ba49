"""Balance: one prefix keeps its replica, no replica drowns, and little moves when replicas change."""

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from myriad.route import balance

NAMES = st.lists(st.text("abcdef.0123", min_size=1, max_size=6), min_size=1, max_size=8, unique=True)
FACTORS = st.sampled_from([1.0, 1.25, 2.0])


@given(NAMES, st.data(), st.text(max_size=20), FACTORS)
def test_no_chosen_replica_exceeds_the_bound(
    names: list[str], data: st.DataObject, prefix: str, factor: float
) -> None:
    load = {name: data.draw(st.integers(0, 30)) for name in names}
    chosen = balance.choose(names, load, prefix, factor)
    assert load[chosen] + 1 <= math.ceil(factor * (sum(load.values()) + 1) / len(names))


@given(NAMES, st.data(), st.text(max_size=20))
def test_the_order_of_replicas_does_not_matter(names: list[str], data: st.DataObject, prefix: str) -> None:
    load = {name: data.draw(st.integers(0, 5)) for name in names}
    shuffled = data.draw(st.permutations(names))
    assert balance.choose(names, load, prefix, 1.25) == balance.choose(shuffled, load, prefix, 1.25)


@given(NAMES, st.text(min_size=1, max_size=20), st.data())
def test_only_the_prefixes_of_a_lost_replica_move(names: list[str], prefix: str, data: st.DataObject) -> None:
    before = balance.choose(names, {}, prefix, 1.25)
    lost = data.draw(st.sampled_from(names))
    left = [name for name in names if name != lost]
    if left and lost != before:
        assert balance.choose(left, {}, prefix, 1.25) == before


@given(NAMES, st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=60))
def test_without_releases_loads_stay_within_the_bound(names: list[str], prefixes: list[str]) -> None:
    load: dict[str, int] = {}
    for prefix in prefixes:
        chosen = balance.choose(names, load, prefix, 1.25)
        load[chosen] = load.get(chosen, 0) + 1
        assert max(load.values()) <= math.ceil(1.25 * sum(load.values()) / len(names))


def test_an_empty_prefix_takes_the_least_loaded() -> None:
    assert balance.choose(["a", "b", "c"], {"a": 2, "b": 1, "c": 2}, "", 1.25) == "b"


def test_prefixes_spread_evenly() -> None:
    names = ["svc.1", "svc.2", "svc.3", "svc.4"]
    counts = Counter(balance.choose(names, {}, f"prompt {number}", 1.25) for number in range(4000))
    assert all(800 < counts[name] < 1200 for name in names)


def test_a_hot_prefix_overflows_to_one_other_replica() -> None:
    names, load = ["a", "b", "c", "d"], dict.fromkeys("abcd", 2)
    first = balance.choose(names, load, "hot", 1.25)
    load[first] = 9
    second = balance.choose(names, load, "hot", 1.25)
    assert second != first
    assert balance.choose(names, {**load, second: 3}, "hot", 1.25) == second
