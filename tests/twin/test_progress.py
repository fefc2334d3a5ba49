"""Progress in closed form is what counting gives; shared storage moves every byte at its rate."""

from hypothesis import given
from hypothesis import strategies as st

from myriad.kernel.units import SECOND
from myriad.twin.progress import Pace, Progress
from myriad.twin.storage import Storage
from myriad.twin.timeline import Timeline

PACES = st.builds(
    Pace,
    step_ns=st.integers(1, 50),
    save_every=st.integers(0, 5),
    save_ns=st.integers(0, 40),
    copy_every=st.integers(0, 4),
    copy_ns=st.integers(0, 9),
)


def counted(progress: Progress, now: int) -> tuple[int, int]:
    """Steps done by `now` and the last save that is complete, one step after the other."""
    pace, at, step, saved = progress.pace, progress.at, progress.step, 0
    while at + pace.step_ns <= now:
        at += pace.step_ns
        step += 1
        if pace.save_every and step % pace.save_every == 0:
            saved = step if at + pace.save_ns <= now else saved
            at += pace.save_ns
        if pace.copy_every and step % pace.copy_every == 0:
            at += pace.copy_ns
    return step, saved


@given(PACES, st.integers(0, 30), st.integers(0, 100), st.integers(0, 3000))
def test_closed_form_is_what_counting_gives(pace: Pace, step: int, at: int, later: int) -> None:
    progress = Progress(step, at, pace)
    assert (progress.steps_at(at + later), progress.saved_at(at + later, pace.save_every, pace.save_ns)) == (
        counted(progress, at + later)
    )


@given(PACES, st.integers(0, 500), st.integers(1, 50))
def test_another_pace_takes_up_where_the_old_one_is(pace: Pace, later: int, step_ns: int) -> None:
    progress = Progress(0, 0, pace)
    turned = progress.turned(later, pace._replace(step_ns=step_ns))
    assert turned.step == progress.steps_at(later)
    assert turned.steps_at(later) == turned.step, "no step is won or lost by the change itself"
    same = progress.turned(later, pace)
    assert same.done_at(same.step + 1) == progress.done_at(same.step + 1), "the same pace changes nothing"


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 1000), st.integers(1, 30)), min_size=1, max_size=8),
    st.sampled_from([0.0, 40.0]),
)
def test_all_bytes_move_at_no_more_than_the_rate(given_: list[tuple[int, int, int]], own: float) -> None:
    total = 100.0
    timeline = Timeline()
    storage = Storage(timeline, total, own)
    done: list[tuple[int, float]] = []

    def begin(size: int, nodes: int) -> None:
        started = timeline.now
        storage.transfer(size, nodes, lambda: done.append((started, timeline.now)))

    for at_s, size, nodes in given_:
        timeline.at(at_s * SECOND, lambda size=size, nodes=nodes: begin(size, nodes))
    while timeline.pending():
        timeline.happen()
    assert len(done) == len(given_)
    first, last = min(at for at, _ in done), max(at for _, at in done)
    moved = sum(size for _, size, _ in given_)
    assert (last - first) / SECOND >= moved / total * 0.999
    alone = Timeline()
    lone = Storage(alone, total, own)
    _, size, nodes = given_[0]
    lone.transfer(size, nodes, lambda: None)
    while alone.pending():
        alone.happen()
    rate = min(total, own * nodes) if own else total
    assert abs(alone.now / SECOND - size / rate) < 1e-6
