"""Metering: cumulative reports, repeated and out of order, count once."""

from hypothesis import given
from hypothesis import strategies as st

from myriad.kernel.ids import ServiceId
from myriad.ledger import views
from myriad.ledger.tokens import Tokens
from tests.ledger.story import OTHER, Story


@given(
    order=st.permutations([(5, 0, False), (5, 10, False), (5, 20, False), (5, 32, True)]),
    again=st.lists(st.integers(0, 3), max_size=4),
)
def test_any_order_and_any_repetition_gives_the_last_word(
    order: list[tuple[int, int, bool]], again: list[int]
) -> None:
    story = Story(nodes=1)
    story.serve(0)
    for prompt, completion, final in [*order, *(order[k] for k in again)]:
        story.tokens(1, "r1", prompt, completion, final)
    story.tokens(2, "r2", 1, 1, True)
    assert views.service(story.ledger, ServiceId("chat")).tokens == Tokens(6, 33, 2)
    assert views.tenant(story.ledger, OTHER).tokens == {"chat": Tokens(6, 33, 2)}


def test_what_no_model_counted_is_known_as_an_estimate_until_one_does() -> None:
    story = Story(nodes=1)
    story.serve(0)
    story.tokens(1, "r1", 5, 10, estimated=True)
    story.tokens(1, "r2", 7, 3, estimated=True, final=True)
    assert list(story.ledger.meter.estimated.values()) == [15 + 10]
    story.tokens(2, "r1", 6, 12, final=True)
    story.tokens(3, "r1", 5, 11, estimated=True)  # late news
    story.tokens(3, "r2", 7, 4, final=True, estimated=True)
    assert list(story.ledger.meter.estimated.values()) == [11]
    assert views.service(story.ledger, ServiceId("chat")).tokens == Tokens(13, 16, 2)
