"""Host list expressions: what Slurm writes is read, what is written is read back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myriad.fleet.hostlist import expand, fold

NUMBERS = st.one_of(
    st.integers(0, 30).map(str),
    st.integers(0, 30).map(lambda n: f"{n:02d}"),
    st.sampled_from(["099", "100", "007"]),
)
NAMES = st.lists(
    st.builds(lambda prefix, number, end: prefix + number + end,
              st.sampled_from(["node", "gpu-", "r1n", "a.b"]), NUMBERS, st.sampled_from(["", "", "", "-ib"])),
    max_size=40,
)  # fmt: skip


@given(NAMES)
def test_what_is_folded_expands_to_the_same(names: list[str]) -> None:
    if names:
        assert expand(fold(names)) == names
        assert fold(expand(fold(names))) == fold(names)
    else:
        assert fold(names) == ""


@given(st.integers(0, 2_000), st.integers(0, 300), st.integers(1, 5))
def test_a_row_of_numbers_is_one_range(low: int, more: int, width: int) -> None:
    names = [f"n{k:0{width}d}" for k in range(low, low + more + 1)]
    text = fold(names)
    assert expand(text) == names
    # a number that outgrows its zeros goes on in the same range
    assert re.fullmatch(r"n\d+|n\[\d+-\d+\]", text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("node1", ["node1"]),
        ("node[01-03,07]", ["node01", "node02", "node03", "node07"]),
        ("node[8-11]", ["node8", "node9", "node10", "node11"]),
        ("node[099-101]", ["node099", "node100", "node101"]),
        ("r[1-2]n[1-2]-ib", ["r1n1-ib", "r1n2-ib", "r2n1-ib", "r2n2-ib"]),
        ("login, a[1,3]", ["login", "a1", "a3"]),
    ],
)
def test_expressions_of_slurm(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["node01", "node02", "node04"], "node[01-02,04]"),
        (["node9", "node10", "node011"], "node[9-10,011]"),
        (["b2", "a1", "a2", "login", "a3"], "b2,a[1-2],login,a3"),
        (["n1-ib", "n2-ib"], "n1-ib,n2-ib"),
    ],
)
def test_folded_in_the_order_given(names: list[str], text: str) -> None:
    assert fold(names) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("node[01-04", "is not closed"),
        ("node01-04]", "do not match"),
        ("node[[1-2]]", "do not match"),
        ("node[4-1]", r"counts down. Write \[1-4\]"),
        ("node[a-b]", "is not a range of numbers"),
        ("node[]", "is not a range of numbers"),
        ("", "an empty name"),
        ("a,,b", "an empty name"),
        ("a b", "is no host name"),
        ("a/b", "is no host name"),
        ("node[1-999999999]", "more than 200,000 names"),
        ("a[1-1000]b[1-1000]", "more than 200,000 names"),
        ("a[1-150000],b[1-150000]", "more than 200,000 names"),
    ],
)
def test_what_is_malformed_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        expand(text)
