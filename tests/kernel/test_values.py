"""Units are exact, chance is reproducible, and every document error names the field and the remedy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myriad.kernel import documents, units
from myriad.kernel.errors import UserError, near
from myriad.kernel.rng import Stream
from myriad.workload import files


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("90s", 90 * 10**9),
        ("0.1s", 10**8),
        ("1.5h", 5400 * 10**9),
        ("250ms", 250 * 10**6),
        ("2 d", 172800 * 10**9),
    ],
)
def test_spans_are_exact_integers(text: str, ns: int) -> None:
    assert units.span_ns(text) == ns


@pytest.mark.parametrize("text", ["5", "5 fortnights", "-5s", "s", "", "1e3s"])
def test_a_quantity_without_a_known_unit_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 90s"):
        units.span_ns(text)


@given(st.integers(0, 10**18))
def test_every_span_can_be_shown(span: int) -> None:
    assert units.show_span(span) and units.show_bytes(span)


def test_sizes_and_counts() -> None:
    assert units.size_bytes("1.5GiB") == 3 * 2**29
    assert units.count("15.6T") == 15_600_000_000_000


@given(st.integers(), st.text(max_size=5), st.integers(-50, 50), st.integers(0, 50))
def test_a_stream_is_a_function_of_seed_and_name(seed: int, name: str, low: int, width: int) -> None:
    draws = [Stream(seed, name).integer(low, low + width) for _ in range(2)]
    assert draws[0] == draws[1] and low <= draws[0] <= low + width


def test_splitting_does_not_disturb() -> None:
    left, right = Stream(7), Stream(7)
    left.split("a").uniform()
    assert left.uniform() == right.uniform()
    assert Stream(7).split("a").uniform() != Stream(7).split("b").uniform()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "kind: training\nname: a\ntenant: b\nnodez: 4",
            ["nodez", "is not a known field", "Did you mean nodes?"],
        ),
        ("kind: training\nname: a\ntenant: b", ["nodes", "is required"]),
        ("kind: training\nname: a\ntenant: b\nnodes: 4", ["give exactly one of recipe and command"]),
        ("kind: training\nname: A b\ntenant: b\nnodes: 4\nrecipe: x", ["name 'A b'", "lower-case"]),
        ("kind: training\nname: a\ntenant: b\nnodes: many\nrecipe: x", ["nodes", "int", "'many'"]),
        (
            "kind: training\nname: a\ntenant: b\nnodes: 1\ncommand: [x]\nexpected: 5",
            ["expected", "unit", "5s"],
        ),
        ("kind: service\nname: a\ntenant: b\nmodel: {job: x}\nslo: {ttft: '5'}", ["slo", "'5' has no unit"]),
        (
            "kind: service\nname: a\ntenant: b\nmodel: {job: x}\nreplicas: {min: 3, max: 2}",
            ["replicas", "min <= max"],
        ),
        ("kind: trainin", ["kind", "'trainin'", "Did you mean training?"]),
        ("a: [1", ["f.yaml, line 1, column 6"]),
        ("", ["holds no document"]),
        ("- 1", ["must be a mapping"]),
    ],
)
def test_a_bad_file_is_explained(text: str, says: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        files.parse(text, "f.yaml")
    for part in ["f.yaml", *says]:
        assert part in str(caught.value)


def test_an_exponent_without_a_point_is_a_number() -> None:
    (tree,) = documents.documents("{a: 3e-4, b: 1E5, c: -2e+3, d: e5, e: 12}", "f.yaml")
    assert tree == {"a": 3e-4, "b": 1e5, "c": -2e3, "d": "e5", "e": 12}


def test_near_misses_or_the_whole_choice() -> None:
    assert near("n1x", ["n1", "n2"]).startswith("Did you mean n1")
    assert near("zebra", ["b", "a"]) == "Known: a, b"
    assert near("zebra", []) == "Known: none yet"
