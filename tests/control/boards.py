"""Whether the indexes that a live core kept in step are those that would be built anew from its state."""

from collections import Counter

from myriad.control import holdings
from myriad.control.board import Board
from myriad.control.core import Core
from myriad.control.policy import Own, order_of
from myriad.control.state import State
from myriad.kernel.units import Instant
from myriad.schedule.queue import everything


def anew(core: Core, state: State, now: Instant = 0) -> Board:
    """The board of a restart at `now`, with the shares of the live one.

    The state knows of no time after its last fact: pauses that ended since are ended by their timers, which
    ring at once after a restart.

    Shares are worked out once in each period from what is used then, so a restart inside a period would
    have others: that is its one liberty.
    """
    board = Board(state, core.policy.order, order_of(core.policy, Own()))
    for owner in (*state.waiting, *state.services):
        board.refresh(owner, now)
    for name, branch in core.board.queue._branches.items():
        if name:
            board.queue.set_order(name, share=branch.order[1])
    board.queue._starved = set(core.board.queue._starved)
    for owner in list(board.queue._entries):
        board.queue.put(board.queue._entries[owner].ask)
    return board


def check_same(core: Core, state: State, now: Instant = 0) -> None:
    """Queue, order, ends and counts of the live board are those of one built from the state at `now`."""
    live, built = core.board, anew(core, state, now)
    queued = [ask.owner for ask in live.queue.walk(everything)]
    due = [ask.owner for ask in built.queue.walk(everything)]
    assert sorted(queued) == sorted(due), "what waits has drifted"
    for owner in queued:
        assert live.queue.get(owner) == built.queue.get(owner), f"the ask of {owner} has drifted"
    assert queued == due, "the order of the queue has drifted"
    assert [live.queue.position(owner) for owner in queued] == list(range(1, len(queued) + 1))
    alike = Counter({(ask.tenant, ask.shape): 0 for ask, _ in live.queue.groups()})
    for ask, number in live.queue.groups():
        alike[ask.tenant, ask.shape] += number
    assert alike == Counter((ask.tenant, ask.shape) for ask in live.queue.walk(everything))
    assert list(live.interrupted) == [job for job in state.waiting if state.jobs[job].history]
    since = [state.jobs[job].queued_at for job in state.waiting]
    assert since == sorted(since), "jobs wait in the order in which they began to"
    assert sum(holdings.waiting(core.moment(state.now)).values()) == len(state.waiting)
    assert live.jobs_waiting == built.jobs_waiting == sum(owner in state.jobs for owner in queued)
    assert list(live.small) == list(built.small), "elastic gangs below their size"
    assert live.queue._work == built.queue._work or +live.queue._work == +built.queue._work
    for attempt, gang in state.gangs.items():
        one, other = live.ends.get(attempt), built.ends.get(attempt)
        assert (one is None) == (other is None), f"the end of {attempt} is known to one only"
        if one and other and not gang.step_ns:
            # with steps it is predicted anew at each report, not at each question
            assert one == other, f"the end of {attempt} has drifted"
