"""Where a journal is, as people write it: path of an SQLite file, or address of a PostgreSQL database."""

from pathlib import Path

from myriad.kernel.errors import UserError
from myriad.kernel.ports import Journal
from myriad.store.postgres.connection import is_url
from myriad.store.postgres.journal import PostgresJournal
from myriad.store.postgres.seat import Seat
from myriad.store.sqlite import SqliteJournal


def to_read(location: str) -> Journal:
    """A journal to look into, beside whoever writes it. Raises UserError when it is not there."""
    if is_url(location):
        return PostgresJournal(location)
    if not Path(location).exists():
        raise UserError("is not there", field="journal", value=location, remedy="Check the path")
    return SqliteJournal(Path(location), read_only=True)


def to_write(location: str) -> SqliteJournal | PostgresJournal:
    """A journal, made if it is not there. Raises UserError when a control plane uses it."""
    if not is_url(location):
        return SqliteJournal(Path(location))
    journal = PostgresJournal(location, Seat(location))
    try:
        assert journal.seat
        journal.seat.take()
    except UserError:
        journal.close()
        raise
    return journal
