"""What nodes tell of their own speed reaches the control plane as one word on the gang, not too often."""

from myriad.engines.common.paces import EVERY_NS, STALE_NS, Paces
from myriad.engines.common.reports import Listener, Pace
from myriad.kernel.ids import AttemptId, NodeId

ATTEMPT = AttemptId("job.1")
A, B, C = (NodeId(name) for name in ("n0", "n1", "n2"))


def test_a_node_is_as_slow_as_its_slowest_rank_and_says_so_once() -> None:
    listener = Listener("job.1", "n0", lambda _: None)
    assert listener.pace() == 0
    for rank, compute_s in ((0, 0.1), (1, 0.3), (0, 0.2)):
        listener.hear(Pace(attempt="job.1", rank=rank, step=1, compute_s=compute_s), 0.0, 0)
    assert listener.pace() == 300_000_000
    assert listener.pace() == 0, "nothing new"
    listener.hear(Pace(attempt="job.1", rank=0, step=2, compute_s=0.2), 0.0, 0)
    assert listener.pace() == 300_000_000, "the others' last word still holds"


def test_paces_are_told_together_and_seldom() -> None:
    paces = Paces()
    assert paces.hear(ATTEMPT, A, 10, 0) is None
    assert paces.hear(ATTEMPT, B, 11, EVERY_NS // 2) is None
    told = paces.hear(ATTEMPT, C, 30, EVERY_NS)
    assert told is not None and told.paces == {A: 10, B: 11, C: 30} and told.at == EVERY_NS
    assert paces.hear(ATTEMPT, A, 10, EVERY_NS + 1) is None
    again = paces.hear(ATTEMPT, A, 12, 2 * EVERY_NS)
    assert again is not None and again.paces == {A: 12, B: 11, C: 30}, "who tells seldom is not left out"
    late = paces.hear(ATTEMPT, A, 12, STALE_NS + EVERY_NS)
    assert late is not None and late.paces == {A: 12, C: 30}, "what is too old is"


def test_a_gang_of_one_has_no_peers_and_one_that_ended_is_forgotten() -> None:
    paces = Paces()
    for instant in (0, EVERY_NS, 2 * EVERY_NS):
        assert paces.hear(ATTEMPT, A, 10, instant) is None
    paces.hear(ATTEMPT, B, 10, 2 * EVERY_NS)
    paces.forget(ATTEMPT)
    assert paces.hear(ATTEMPT, B, 10, 9 * EVERY_NS) is None
