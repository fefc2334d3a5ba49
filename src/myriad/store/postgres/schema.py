"""The tables in PostgreSQL, all in a schema called `myriad`, and how older ones become ours."""

from typing import Final

import psycopg

from myriad.kernel.errors import UserError
from myriad.store.postgres.connection import Connection, explained, shown

#: Held while migrating, so that two that start together do it once.
_LOCK: Final = 0x4D595244_0001
#: Number -> what leads to it from the one before. Add to the end, never change one that was released. A newer
#: standby applies them beside an older leader, which must be able to go on writing.
MIGRATIONS: Final = (
    """
    CREATE TABLE myriad.journal (
        seq bigint PRIMARY KEY, body bytea NOT NULL, digest bytea NOT NULL
    );
    CREATE FUNCTION myriad.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the journal of Myriad is only ever appended to'; END $$;
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON myriad.journal
        FOR EACH STATEMENT EXECUTE FUNCTION myriad.refuse();
    CREATE TABLE myriad.leader (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        term bigint NOT NULL DEFAULT 0,        -- goes up at each change of the leader
        holder text NOT NULL DEFAULT '',       -- empty: the seat was given back
        api_url text NOT NULL DEFAULT '',
        gateway_url text NOT NULL DEFAULT '',
        beat bigint NOT NULL DEFAULT 0,        -- goes up at each renewal
        backend integer NOT NULL DEFAULT 0,    -- the session that holds the lock
        renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        seq bigint NOT NULL DEFAULT 0,         -- the last acknowledged record at that renewal
        digest bytea NOT NULL DEFAULT ''
    ) WITH (fillfactor = 10);
    INSERT INTO myriad.leader DEFAULT VALUES;
    """,
)


def prepare(connection: Connection, url: str) -> None:
    """Make the tables, or bring them up to date. Raises UserError when they are not ours, or newer."""
    try:
        if version(connection, url) == len(MIGRATIONS):
            return
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            _migrate(connection, version(connection, url))
    except psycopg.Error as error:
        raise explained(error, url) from None


def _migrate(connection: Connection, known: int) -> None:
    if not known:
        # whoever owns the database may have made the schema for us
        if connection.execute("SELECT to_regnamespace('myriad')").fetchone() == (None,):
            connection.execute("CREATE SCHEMA myriad")
        connection.execute(
            "CREATE TABLE myriad.migrations (version integer PRIMARY KEY,"
            " applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
    for number, statements in enumerate(MIGRATIONS[known:], known + 1):
        connection.execute(statements)
        connection.execute("INSERT INTO myriad.migrations VALUES (%s)", (number,))


def version(connection: Connection, url: str) -> int:
    """Number of the last migration; 0: there is nothing yet. Raises UserError when not ours, or newer."""
    ours, tables = connection.execute(
        "SELECT to_regclass('myriad.migrations') IS NOT NULL,"
        " (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('myriad'))"
    ).fetchone() or (False, 0)
    if not ours:
        if tables:
            raise UserError(
                "has a schema called myriad that is not a journal of Myriad",
                field="journal",
                value=shown(url),
                remedy="Give a database of its own: createdb NAME",
            )
        return 0
    (found,) = connection.execute("SELECT coalesce(max(version), 0) FROM myriad.migrations").fetchone() or (
        0,
    )
    if found > len(MIGRATIONS):
        raise UserError(
            f"was written by a newer Myriad (schema {found}, this one knows {len(MIGRATIONS)})",
            field="journal",
            value=shown(url),
            remedy="Upgrade this Myriad",
        )
    return int(found)
