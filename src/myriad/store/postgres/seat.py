"""The one seat of the leader: who holds it, how it is taken, and until when its holder may act.

Three things together, and each has its own part to play:

- **The lock.** A session-level advisory lock of the connection that writes. Nobody writes without it, and it
  ends with the session, so what a leader has not committed when it loses the seat never is: fencing.
- **The term.** A number that goes up whenever the seat changes hands. Who lost its connection and finds the
  same term and the same last record when it has the lock again never was deposed.
- **The lease.** The holder changes `beat` several times in a lease. It acts on the world only while it knows
  that its last proven renewal is younger than the lease; a candidate takes the seat only after it has watched
  for a whole lease and seen no change. Both count on their own clock, which goes on while a process is
  stopped: no clock is ever compared with another one. A lock that is free does not shorten the wait: the
  leader may have lost its connection and not know it yet.

A seat that was given back (`holder` is empty) is free at once.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import psycopg

from myriad.kernel.errors import UserError
from myriad.store.head import Mark
from myriad.store.postgres import schema
from myriad.store.postgres.connection import (
    Connection,
    Damaged,
    connect,
    damaged,
    explained,
    is_lost,
    shown,
)

T = TypeVar("T")

LEASE_S: Final = 3.0
#: How long a database that is away is waited for, by its leader.
PATIENCE_S: Final = 60.0
_BEATS_A_LEASE: Final = 6
#: The holder stops a little earlier than a candidate may start: clocks do not tick exactly alike.
_MARGIN: Final = 0.9
_RETRY_S: Final = 0.1
_LOCK: Final = 0x4D595244_0002

#: One statement each, so that no process can stop between the lock and the row that names its holder.
_TAKE = """
    WITH got AS MATERIALIZED (SELECT pg_try_advisory_lock(%(lock)s) AS mine)
    UPDATE myriad.leader
    SET term = term + 1, holder = %(holder)s, api_url = '', gateway_url = '', beat = 0,
        backend = pg_backend_pid(), renewed_at = clock_timestamp()
    FROM got WHERE got.mine AND term = %(term)s AND beat = %(beat)s AND holder = %(held)s
    RETURNING term, seq, digest
"""
_RETAKE = """
    WITH got AS MATERIALIZED (SELECT pg_try_advisory_lock(%(lock)s) AS mine)
    UPDATE myriad.leader SET beat = beat + 1, backend = pg_backend_pid(), renewed_at = clock_timestamp()
    FROM got WHERE got.mine AND term = %(term)s RETURNING seq, digest
"""
_RENEW = """
    UPDATE myriad.leader
    SET beat = beat + 1, renewed_at = clock_timestamp(), seq = %(seq)s, digest = %(digest)s
    WHERE term = %(term)s RETURNING beat
"""
#: Ends the session that holds the seat, if it is still the one that was watched.
_END = """
    SELECT pg_terminate_backend(held.pid)
    FROM pg_locks held JOIN myriad.leader ON held.pid = leader.backend
    WHERE held.locktype = 'advisory' AND held.granted AND held.pid <> pg_backend_pid()
      AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND held.classid::bigint = %(lock)s >> 32 AND held.objid::bigint = %(lock)s & 4294967295
      AND leader.term = %(term)s AND leader.beat = %(beat)s
"""


class Leader(NamedTuple):
    """The seat as the database has it. `holder` is empty when nobody has it."""

    term: int
    holder: str
    api_url: str
    gateway_url: str
    beat: int

    def __str__(self) -> str:
        return f"{self.holder}{self.api_url and ' at '}{self.api_url}"


class Deposed(UserError):
    """Another control plane leads: what this one still wanted to do has no effect."""


def clock() -> float:
    """Seconds that go on while this process is stopped, and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Seat:
    """One process' way to the seat: a candidate until `try_take` says True, then the leader until deposed.

    Any thread may call anything. While it leads, a thread of its own renews, so that a long decision of the
    event loop costs no lease. `on_renewed` and `on_lost` are called from other threads.
    """

    def __init__(self, url: str, *, lease_s: float = LEASE_S, patience_s: float = PATIENCE_S) -> None:
        self.url = url
        self.term = 0
        #: Whether the one before us had given it back.
        self.was_free = False
        self.holder = f"{socket.gethostname()} (pid {os.getpid()})"
        #: The last record that is certainly there.
        self.tail = Mark(0, b"")
        self.on_renewed: Callable[[], object] = lambda: None
        self.on_lost: Callable[[UserError], object] = lambda _: None
        self._lease_s, self._patience_s = lease_s, patience_s
        self._connection: Connection | None = None
        self._busy = threading.RLock()
        self._until = 0.0
        self._lost: UserError | None = None
        self._watched = _Watched()
        self._over = threading.Event()
        self._renewer: threading.Thread | None = None

    # ---- candidates ------------------------------------------------------------------------------

    def look(self) -> Leader:
        """Who leads. Raises UserError when the database cannot say."""
        with self._busy:
            return self._look(self._connected())

    def try_take(self) -> bool:
        """To be called several times a second; True once the seat is ours. Raises UserError."""
        with self._busy:
            try:
                leader = self.look()
                quiet_s = self._watched.seen(leader, clock())
                return (not leader.holder or quiet_s >= self._lease_s) and self._take(leader)
            except psycopg.Error as error:
                self._drop()
                raise explained(error, self.url) from None

    def take(self) -> None:
        """Take the seat, or be refused because somebody leads. Raises UserError naming the leader."""
        first = self.look()
        while not self.try_take():
            now = self.look()
            if now.holder and now != first:
                raise UserError(
                    f"is led by another control plane: {now}",
                    field="journal",
                    value=shown(self.url),
                    remedy="Stop that one, or start this one with --standby",
                    status=409,
                )
            time.sleep(_RETRY_S)

    @property
    def seen(self) -> Leader:
        """Who led at the last look."""
        return self._watched.last

    def _take(self, leader: Leader) -> bool:
        connection, begun = self._connected(), clock()
        same = {"lock": _LOCK, "term": leader.term, "beat": leader.beat, "held": leader.holder}
        row = connection.execute(_TAKE, same | {"holder": self.holder}).fetchone()
        if row is None:
            connection.execute("SELECT pg_advisory_unlock_all()")
            if leader.holder and connection.execute(_END, same).fetchone():
                time.sleep(_RETRY_S / 2)  # its session ends any moment: the next try finds the lock free
            return False
        term, seq, digest = row
        self.tail = tail_of(connection)
        _check_tail(connection, self.url, Mark(seq, digest))
        self.was_free = not leader.holder
        self.term, self._until = term, begun + self._lease_s * _MARGIN
        self._renewer = threading.Thread(target=self._renew_on, name="seat", daemon=True)
        self._renewer.start()
        return True

    # ---- the leader ------------------------------------------------------------------------------

    def may_act(self) -> bool:
        """Whether it is certain that nobody else leads yet."""
        return self._lost is None and clock() < self._until

    def write(self, work: Callable[[Connection], T], after: Mark | None = None) -> T | None:
        """Do something on the connection that holds the lock, for certain: a lost connection is mended first.

        `after`: the last record there will be when it is done; None back then means that it had been done
        when the connection was lost. Raises Deposed, or UserError when the database stays away or refuses.
        """
        with self._busy:
            while True:
                self._check()
                try:
                    if connection := self._connection:
                        done = work(connection)
                        self.tail = after or self.tail
                        return done
                except psycopg.Error as error:
                    assert connection
                    if not is_lost(connection, error):
                        raise explained(error, self.url) from None
                if self._mended(after):
                    return None

    def tell(self, api_url: str, gateway_url: str) -> None:
        """Let others know where the leader is found."""
        addresses = {"api": api_url, "gateway": gateway_url, "term": self.term}
        text = "UPDATE myriad.leader SET api_url = %(api)s, gateway_url = %(gateway)s WHERE term = %(term)s"
        self.write(lambda connection: connection.execute(text, addresses))

    def renew(self) -> None:
        """Prove that we lead, for another lease. Raises Deposed or UserError."""
        begun = clock()

        def beat(connection: Connection) -> None:
            nonlocal begun
            begun = clock()
            values = {"term": self.term, "seq": self.tail.seq, "digest": self.tail.digest}
            if connection.execute(_RENEW, values).fetchone() is None:
                raise self._fail(self._deposed(self._look(connection)))

        self.write(beat)
        self._until = max(self._until, begun + self._lease_s * _MARGIN)

    def close(self) -> None:
        """Give the seat back if it is ours. Idempotent."""
        self._over.set()
        with self._busy:
            leads, self._until = self.term and not self._lost, 0.0
            if leads and self._connection and not self._connection.closed:
                try:
                    self.renew()
                    self._connection.execute(
                        "UPDATE myriad.leader SET holder = '', beat = beat + 1 WHERE term = %s", (self.term,)
                    )
                except (psycopg.Error, UserError):
                    pass  # whoever comes next waits for the lease
            self._until, self.term = 0.0, 0
            self._drop()
        if self._renewer and self._renewer is not threading.current_thread():
            self._renewer.join()

    def _renew_on(self) -> None:
        while not self._over.wait(self._lease_s / _BEATS_A_LEASE):
            try:
                self.renew()
            except UserError as error:
                if not self._over.is_set():
                    self.on_lost(error)
                return
            self.on_renewed()

    # ---- a connection that was lost --------------------------------------------------------------

    def _mended(self, after: Mark | None) -> bool:
        """Lead again; whether what was in flight had been committed. Raises Deposed or UserError."""
        while True:
            self._regain()
            try:
                return self._settled(after)
            except psycopg.Error:
                continue  # lost once more

    def _regain(self) -> None:
        """Have the lock again, in the same term. Raises Deposed, or UserError when patience ends."""
        self._drop()
        give_up_at = clock() + self._patience_s
        while True:
            try:
                if self._retake():
                    return
                trouble = None
            except UserError as error:
                trouble = error
            except psycopg.Error as error:
                trouble = explained(error, self.url)
            if isinstance(trouble, Deposed | Damaged):
                raise self._fail(trouble)
            if self._over.is_set() or clock() > give_up_at:
                raise self._fail(trouble or _held(self.url))
            self._drop()
            time.sleep(_RETRY_S)

    def _retake(self) -> bool:
        connection, begun = self._connected(), clock()
        ours = {"lock": _LOCK, "term": self.term}
        row = connection.execute(_RETAKE, ours).fetchone()
        if row is None:
            leader = self._look(connection)
            if leader.term != self.term:
                raise self._deposed(leader)
            # the server has not noticed yet that our old session is dead
            connection.execute(_END, ours | {"beat": leader.beat})
            return False
        _check_tail(connection, self.url, Mark(*row))
        self._until = begun + self._lease_s * _MARGIN
        return True

    def _settled(self, after: Mark | None) -> bool:
        """Whether what was in flight had been committed. Raises Deposed when somebody else wrote."""
        assert self._connection
        found = tail_of(self._connection)
        if after and found == after:
            self.tail = found
            return True
        if found != self.tail:
            raise self._fail(
                Deposed(
                    f"ends with record {found.seq}, which this control plane did not write",
                    field="journal",
                    value=shown(self.url),
                    remedy="Start it again: it folds what is there",
                    status=503,
                )
            )
        return False

    # ---- small parts -----------------------------------------------------------------------------

    def _look(self, connection: Connection) -> Leader:
        try:
            row = connection.execute(
                "SELECT term, holder, api_url, gateway_url, beat FROM myriad.leader"
            ).fetchone()
        except psycopg.Error as error:
            self._drop()
            raise explained(error, self.url) from None
        if row is None:
            raise damaged(self.url, 0, "of the leader is missing")
        return Leader(*row)

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self.url)
            if not self.term:
                schema.prepare(self._connection, self.url)
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            connection.close()

    def _check(self) -> None:
        if self._lost:
            raise self._lost
        if not self.term:
            raise UserError("does not lead", field="control plane", remedy="Ask the leader", status=503)

    def _fail(self, error: UserError) -> UserError:
        self._lost, self._until = error, 0.0
        self._drop()
        return error

    def _deposed(self, leader: Leader) -> Deposed:
        return Deposed(
            f"another control plane leads: {leader} (term {leader.term}, this one had term {self.term})",
            field="journal",
            value=shown(self.url),
            remedy="Nothing is lost: ask that one",
            status=503,
        )


class _Watched:
    """What a candidate has seen of the leader, on its own clock."""

    #: Not looking for so long begins the watch anew: the database was away, and its leader may want it back.
    _GAP_S = 1.0

    def __init__(self) -> None:
        self.last = Leader(0, "", "", "", -1)
        self._looked_at = self._since = 0.0

    def seen(self, leader: Leader, now: float) -> float:
        """Take note; how long nothing has changed."""
        if leader != self.last or now - self._looked_at > self._GAP_S:
            self._since = now
        self.last, self._looked_at = leader, now
        return now - self._since


def tail_of(connection: Connection) -> Mark:
    """The last record there is."""
    row = connection.execute("SELECT seq, digest FROM myriad.journal ORDER BY seq DESC LIMIT 1").fetchone()
    return Mark(*row) if row else Mark(0, b"")


def _check_tail(connection: Connection, url: str, mark: Mark) -> None:
    """Raises UserError when a record that was acknowledged is not there any more."""
    if not mark.seq:
        return
    row = connection.execute("SELECT digest FROM myriad.journal WHERE seq = %s", (mark.seq,)).fetchone()
    if row != (mark.digest,):
        what = "was acknowledged but is missing" if row is None else "is not the one that was acknowledged"
        raise damaged(url, mark.seq, what)


def _held(url: str) -> UserError:
    return UserError(
        "is locked by a session that does not end",
        field="journal",
        value=shown(url),
        remedy="End it: SELECT pg_terminate_backend(backend) FROM myriad.leader",
        status=503,
    )
