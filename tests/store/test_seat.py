"""The seat of the leader: one holder at a time, no write without it, and what was in flight is certain."""

import threading
import time

import psycopg
import pytest
from bench.peers.postgres import Cluster

from myriad.kernel.errors import UserError
from myriad.store.postgres.journal import PostgresJournal
from myriad.store.postgres.seat import Deposed, Seat, clock

#: So long that a test's leader renews no more once it has the seat: as if it were frozen.
_FROZEN_S = 600.0
_SHORT_S = 0.5


@pytest.fixture
def url(postgres: Cluster) -> str:
    """A new database."""
    return postgres.database()


def end_sessions(url: str) -> None:
    """What an operator, or a crash of the server, does to everyone's session."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def leading(url: str, **more: float) -> PostgresJournal:
    """A journal whose seat is taken."""
    journal = PostgresJournal(url, Seat(url, **more))
    assert journal.seat
    try:
        journal.seat.take()
    except UserError:
        journal.close()
        raise
    return journal


def wait_taken(seat: Seat) -> float:
    """Be a candidate until it leads; the seconds it took."""
    begun = time.monotonic()
    while not seat.try_take():
        time.sleep(0.02)
    return time.monotonic() - begun


def test_a_second_one_is_refused_and_told_who_leads(url: str) -> None:
    first = leading(url, lease_s=_SHORT_S)
    assert first.seat
    first.seat.tell("http://10.0.0.1:7700", "http://10.0.0.1:7701")
    with pytest.raises(UserError, match=r"is led by another control plane: .* at http://10.0.0.1:7700"):
        leading(url)
    first.close()
    again = leading(url)
    assert again.seat and again.seat.term == 2 and again.seat.was_free
    again.close()


def test_who_is_silent_for_a_lease_is_deposed_and_can_write_no_more(url: str) -> None:
    frozen, next_one = leading(url, lease_s=_FROZEN_S), PostgresJournal(url, Seat(url, lease_s=_SHORT_S))
    frozen.append([b"a", b"b"])
    assert next_one.seat and wait_taken(next_one.seat) >= _SHORT_S
    assert next_one.append([b"c"]) == 3
    with pytest.raises(Deposed, match="another control plane leads"):
        frozen.append([b"not this"])
    assert frozen.seat and not frozen.seat.may_act()
    with pytest.raises(Deposed):
        frozen.append([b"nor this"])
    assert [record.body for record in next_one.read()] == [b"a", b"b", b"c"]
    frozen.close()
    assert next_one.append([b"d"]) == 4, "closing the deposed one changes nothing"
    next_one.close()


def test_a_lease_is_waited_out_even_when_the_lock_is_free(url: str) -> None:
    """Its session has ended, and it may not know: until its lease is over it may still act."""
    frozen, next_one = leading(url, lease_s=_FROZEN_S), Seat(url, lease_s=_SHORT_S)
    end_sessions(url)
    assert frozen.seat and frozen.seat.may_act()
    assert wait_taken(next_one) >= _SHORT_S
    frozen.close()
    next_one.close()


def test_one_of_many_candidates_wins(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no turn for a lease loses the seat: several may win, one after another, and one leads."""
    frozen = leading(url, lease_s=_FROZEN_S)
    won: list[Seat] = []
    candidates = [Seat(url, lease_s=_SHORT_S) for _ in range(4)]
    renewed = {seat: threading.Event() for seat in candidates}
    over = threading.Event()

    def compete(seat: Seat) -> None:
        seat.on_renewed = renewed[seat].set
        while not over.is_set():
            if seat.try_take():
                won.append(seat)
                return
            time.sleep(0.01)

    threads = [threading.Thread(target=compete, args=(seat,)) for seat in candidates]
    for thread in threads:
        thread.start()
    give_up_at = time.monotonic() + 60
    while not won:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    time.sleep(3 * _SHORT_S)  # the others go on, and see it renewed
    over.set()
    for thread in threads:
        thread.join()
    won.sort(key=lambda seat: seat.term)
    assert [seat.term for seat in won] == list(range(2, 2 + len(won)))
    assert renewed[won[-1]].wait(20)
    now = clock()
    monkeypatch.setattr("myriad.store.postgres.seat.clock", lambda: now)
    won[-1].renew()
    assert [seat for seat in candidates if seat.may_act()] == [won[-1]]
    for seat in candidates:
        seat.close()
    frozen.close()


def test_the_right_to_act_ends_with_the_lease_and_comes_back_with_a_renewal(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock()
    monkeypatch.setattr("myriad.store.postgres.seat.clock", lambda: now)
    journal = leading(url, lease_s=_FROZEN_S)
    seat = journal.seat
    assert seat and seat.may_act()
    now += 0.89 * _FROZEN_S
    assert seat.may_act()
    now += 0.02 * _FROZEN_S
    assert not seat.may_act(), "before a candidate may start, for clocks do not tick exactly alike"
    seat.renew()
    assert seat.may_act()
    journal.close()


def test_a_lost_session_is_mended_in_the_same_term(url: str) -> None:
    journal = leading(url)
    journal.append([b"a"])
    end_sessions(url)
    assert journal.append([b"b"]) == 2
    end_sessions(url)
    assert [record.body for record in journal.read()] == [b"a", b"b"]
    assert journal.append([b"c"]) == 3
    assert journal.seat and journal.seat.look().term == 1
    journal.close()


@pytest.mark.parametrize("committed", [True, False])
def test_what_was_in_flight_when_the_session_was_lost_is_there_once(url: str, committed: bool) -> None:
    journal = leading(url)
    journal.append([b"a"])
    assert journal.seat
    write, tries = journal.seat.write, 0

    def cut(work, after=None):  # type: ignore[no-untyped-def]
        def once_cut(connection: psycopg.Connection) -> None:
            nonlocal tries
            tries += 1
            if committed or tries > 1:
                work(connection)
            if tries == 1:
                end_sessions(url)
                connection.execute("SELECT 1")

        return write(once_cut, after)

    journal.seat.write = cut  # type: ignore[method-assign]
    assert journal.append([b"b", b"c"]) == 3
    assert tries == (1 if committed else 2)
    journal.seat.write = write  # type: ignore[method-assign]
    assert journal.append([b"d"]) == 4
    assert [record.body for record in journal.read()] == [b"a", b"b", b"c", b"d"]
    assert not journal.verify().problem
    journal.close()


def test_a_journal_that_grew_by_another_hand_deposes(url: str) -> None:
    journal = leading(url)
    journal.append([b"a"])
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("INSERT INTO myriad.journal VALUES (2, 'x', 'y')")
    end_sessions(url)
    with pytest.raises(Deposed, match="ends with record 2, which this control plane did not write"):
        journal.append([b"b"])
    journal.close()


def test_patience_with_a_database_that_is_away_ends(postgres: Cluster, url: str) -> None:
    journal = leading(url, patience_s=0.3)
    postgres.stop()
    try:
        with pytest.raises(UserError, match=r"does not answer|is starting or stopping"):
            journal.append([b"a"])
    finally:
        postgres.start()
    assert journal.seat and not journal.seat.may_act()
    journal.close()
