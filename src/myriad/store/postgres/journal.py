"""The journal of a leader and its standbys: one table in PostgreSQL, synced before `append` returns.

Writing goes through the `Seat`, on the connection that holds the lock. Reading has a connection of its own,
so it sees committed records only, never waits for a commit, and needs no seat.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import psycopg
from psycopg.types.numeric import Int8

from myriad.kernel.errors import UserError
from myriad.kernel.ports import Record, Verification
from myriad.store import chain
from myriad.store.head import Mark
from myriad.store.postgres import schema
from myriad.store.postgres.connection import Connection, connect, damaged, explained, is_lost, shown
from myriad.store.postgres.seat import Seat

#: Rows fetched at once while reading.
_BATCH: Final = 4096
_ONE = "INSERT INTO myriad.journal VALUES (%b, %b, %b)"
#: However many: one statement, one round trip, one transaction.
_MANY = """
    INSERT INTO myriad.journal
    SELECT %b::bigint + place, body, digest
    FROM unnest(%b::bytea[], %b::bytea[]) WITH ORDINALITY AS rows (body, digest, place)
"""
_LAST = "SELECT coalesce(max(seq), 0) FROM myriad.journal"
_READ = "SELECT seq, body, digest FROM myriad.journal WHERE seq > %s AND seq <= %s ORDER BY seq LIMIT %s"
_ACKNOWLEDGED = """
    SELECT leader.seq, leader.digest, journal.digest
    FROM myriad.leader LEFT JOIN myriad.journal ON journal.seq = leader.seq
"""

Row = tuple[int, bytes, bytes]


class PostgresJournal:
    """Read by anyone; `append` wants a seat that has been taken. `close` gives it back."""

    def __init__(self, url: str, seat: Seat | None = None) -> None:
        """Makes the tables when there is a seat. Raises UserError."""
        self.url, self.seat = url, seat
        self._reader: Connection | None = None
        self._reading = threading.Lock()
        self._closed = False
        connection = connect(url)
        try:
            if seat:
                schema.prepare(connection, url)
            elif not schema.version(connection, url):
                raise _none_yet(url)
            self._reader = connection
        except psycopg.Error as error:
            connection.close()
            raise explained(error, url) from None
        except UserError:
            connection.close()
            raise

    def append(self, bodies: Sequence[bytes]) -> int:
        """Append all or none; return the last sequence number once it is durable. Raises UserError."""
        assert self.seat, "reads only"
        if not bodies:
            return self.seat.tail.seq
        last, digest = self.seat.tail
        digests = []
        for body in bodies:
            digest = chain.link(digest or chain.GENESIS, body)
            digests.append(digest)
        after = Mark(last + len(bodies), digest)

        def insert(connection: Connection) -> None:
            if len(bodies) == 1:
                connection.execute(_ONE, (Int8(after.seq), bodies[0], digest))
            else:
                connection.execute(_MANY, (Int8(last), list(bodies), digests))

        self.seat.write(insert, after)
        return after.seq

    def fill(self, bodies: Callable[[], Iterable[bytes]]) -> Mark:
        """Write a whole journal into an empty one: all of it or nothing. Raises UserError."""
        assert self.seat, "reads only"
        if self.seat.tail.seq:
            raise UserError(
                f"holds {self.seat.tail.seq} records already",
                field="journal",
                value=shown(self.url),
                remedy="Give an empty database: createdb NAME",
                status=409,
            )

        def copy(connection: Connection) -> Mark:
            mark = Mark(0, chain.GENESIS)
            # one statement, one transaction
            with connection.cursor().copy("COPY myriad.journal FROM STDIN (FORMAT BINARY)") as rows:
                rows.set_types(("int8", "bytea", "bytea"))
                for body in bodies():
                    mark = Mark(mark.seq + 1, chain.link(mark.digest, body))
                    rows.write_row((mark.seq, body, mark.digest))
            return mark

        filled = self.seat.write(copy)
        assert filled, "only what has an `after` may have been done already"
        if filled.seq:
            self.seat.tail = filled
        return filled

    def read(self, after: int = 0) -> Iterator[Record]:
        """As the protocol says; each record is checked against the chain, the end against the seat."""
        ((last,),) = self._rows(_LAST, ())
        seq, digest = max(after, 0), chain.GENESIS
        if seq:
            rows = self._rows(_READ, (seq - 1, seq, 1))
            if not rows or rows[0][0] != seq:
                return
            digest = rows[0][2]
        while True:
            rows = self._rows(_READ, (seq, last, _BATCH))
            for found, body, linked in rows:
                seq += 1
                if found != seq:
                    raise damaged(self.url, seq, f"is missing (the next one is {found})")
                if linked != chain.link(digest, body):
                    raise damaged(self.url, seq, "is not what was written (its digest does not match)")
                digest = linked
                yield Record(seq, body)
            if len(rows) < _BATCH:
                break
        for acknowledged, mark, there in self._rows(_ACKNOWLEDGED, ()):
            if acknowledged and there is None:
                raise damaged(self.url, acknowledged, "was acknowledged but is missing")
            if acknowledged and there != mark:
                raise damaged(self.url, acknowledged, "is not the one that was acknowledged")

    def verify(self) -> Verification:
        """Walk everything. The problem names the first record that is not what was written."""
        return chain.walked(self.read())

    def close(self) -> None:
        """Give the seat back, and let go of the connections. Idempotent."""
        self._closed = True
        if self.seat:
            self.seat.close()
        with self._reading:
            if self._reader:
                self._reader.close()

    def _rows(self, query: str, values: tuple[int, ...]) -> list[Any]:
        """The rows of a query; a connection that was lost meanwhile is made once more. Raises UserError."""
        assert not self._closed, "closed"
        with self._reading:
            for again in (True, False):
                if self._reader is None or self._reader.closed:
                    self._reader = connect(self.url)
                try:
                    return self._reader.execute(query, values, binary=True).fetchall()
                except psycopg.Error as error:
                    if not (again and is_lost(self._reader, error)):
                        raise explained(error, self.url) from None
                    with contextlib.suppress(psycopg.Error):
                        self._reader.close()
        raise AssertionError("unreachable")


def _none_yet(url: str) -> UserError:
    return UserError(
        "holds no journal yet",
        field="journal",
        value=shown(url),
        remedy="Start a control plane on it: `myriad up --journal URL`; or restore a backup into it",
        status=503,
    )
