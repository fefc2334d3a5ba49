"""What scenarios expect: each way to write it, and each way to write it wrong."""

import pytest

from myriad.kernel.errors import UserError
from myriad.studies import expectations


@pytest.mark.parametrize(
    ("text", "holds", "breaks"),
    [
        (">= 0.9", [0.9, 1.0], [0.899]),
        ("> 0.9", [0.901], [0.9]),
        ("<= 90%", [0.9, -1], [0.901]),
        ("< 1e3", [999], [1000]),
        ("419 +- 41", [378, 460], [377.9, 460.1]),
        ("419 ± 10%", [377.2, 460.8], [377, 461]),
        ("14% +- 1%", [0.131, 0.149], [0.12]),
        ("between 0.9 and 1", [0.9, 1], [0.8, 1.1]),
        (3, [3], [4]),
        ("1,024", [1024], [1023]),
    ],
)
def test_bounds(text: object, holds: list[float], breaks: list[float]) -> None:
    (one,) = expectations.parse({"goodput": text}, "here.yaml")
    assert all(expectations.judge([one], {"goodput": found})[0].held for found in holds)
    assert not any(expectations.judge([one], {"goodput": found})[0].held for found in breaks)
    assert not expectations.judge([one], {})[0].held, "a figure that is not there breaks its own"


def test_spans_have_units() -> None:
    (one,) = expectations.parse({"mttr_ns": "<= 1.5h"}, "here.yaml")
    assert one.high == 5_400_000_000_000


@pytest.mark.parametrize(
    ("figure", "text", "said"),
    [
        ("goodput", "about 0.9", "is no expectation"),
        ("goodput", ["0.9"], "is no expectation"),
        ("goodput", True, "is no expectation"),
        ("goodput", "between 2 and 1", "Write the smaller first"),
        ("goodput", ">= 3h", "has a unit that this figure has not"),
        ("mttr_ns", "<= 5", "needs a unit"),
    ],
)
def test_mistakes_name_the_figure(figure: str, text: object, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        expectations.parse({figure: text}, "here.yaml")
    assert caught.value.field == f"here.yaml: expect.{figure}"


def test_unknown_figures_are_told_with_near_ones() -> None:
    found = expectations.parse({"godput": ">= 0.9"}, "here.yaml")
    with pytest.raises(UserError, match="Did you mean goodput"):
        expectations.check_names(found, ("goodput", "jobs"), "here.yaml")


def test_what_was_not_counted_is_none() -> None:
    (one,) = expectations.parse({"jobs.failed": 0}, "here.yaml")
    assert expectations.judge([one], {})[0].held


def test_figures_are_shown_in_their_unit() -> None:
    assert expectations.shown("mttr_s", 5400.0) == "1h 30m"
    assert expectations.shown("goodput", 0.91234) == "0.9123"
    assert expectations.shown("tokens_per_s", 12345.6) == "12,346"
