"""Connections to PostgreSQL: the address people give, and what can go wrong, in words with a remedy."""

from typing import Any

import psycopg
from psycopg import conninfo

from myriad.kernel.errors import UserError

Connection = psycopg.Connection[Any]

_SCHEMES = ("postgresql://", "postgres://")
_FORM = "postgresql://user@host:port/database"
#: What libpq does when the address does not say otherwise: a host that is gone is noticed within seconds.
_DEFAULTS = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "myriad",
}
_OLDEST = 14
RESTORE = "Restore a backup into an empty database: `myriad restore FILE --journal URL`"
#: What PostgreSQL says, by code or words of it -> (what it means for us, what to do). The first that fits.
_MEANINGS = (
    (("28P01", "password authentication failed", "no password supplied"),
     ("refuses the password", "Put the right one into ~/.pgpass, PGPASSWORD or the address")),
    (("28000", "no pg_hba.conf entry", "Peer authentication failed", "role "),
     ("refuses this user", "Check the user in the address, and pg_hba.conf of the server")),
    (("3D000", "does not exist"),
     ("has no such database", "Create it: createdb --owner USER NAME")),
    (("57P01", "57P02", "57P03", "starting up", "shutting down", "not yet accepting"),
     ("is starting or stopping", "Try again in a moment")),
    (("53300", "too many clients", "remaining connection slots"),
     ("has no connection left", "Raise max_connections of the server")),
    (("42501", "permission denied"),
     ("does not let this user do that", "Let it own the database, or GRANT CREATE ON DATABASE to it")),
    (("53100", "No space left"), ("cannot grow: its disk is full", "Free space there, then try again")),
    (("25006", "read-only"), ("is a read-only replica", "Give the address of the primary")),
    (("invalid port number", "invalid integer value", "invalid percent-encoded"),
     ("is no address of a database", f"Write {_FORM}")),
    (("Name or service not known", "could not translate host name", "failed to resolve"),
     ("names a host that is not known", "Check the host in the address")),
    (("refused", "No such file or directory", "timeout expired", "unreachable", "No route to host"),
     ("does not answer", "Start PostgreSQL, or check host and port of the address")),
)  # fmt: skip


class Trouble(UserError):
    """The database, or the way to it, does not do what it should."""


class Damaged(UserError):
    """The journal is not what was written."""


#: What goes wrong in talking to the server, for those who do not know the library.
Failure = psycopg.Error


def is_url(location: str) -> bool:
    """Whether a journal's location is one in PostgreSQL; else it is a path of an SQLite file."""
    return location.startswith(_SCHEMES)


def shown(url: str) -> str:
    """The address without its password, for people and logs; a path as it is."""
    if not is_url(url):
        return url
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        return f"{url.partition('://')[0]}://…"
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"


def connect(url: str) -> Connection:
    """A connection that commits each statement, durably. Raises UserError."""
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.Error as error:
        raise UserError(
            f"is no address of a database: {_words(error)}",
            field="journal",
            value=shown(url),
            remedy=f"Write {_FORM}",
        ) from None
    given = {name: value for name, value in given.items() if value is not None}
    try:
        made = psycopg.connect("", autocommit=True, **{**_DEFAULTS, **given})  # type: ignore[arg-type]
    except psycopg.Error as error:
        raise explained(error, url) from None
    try:
        _settle(made, url)
    except psycopg.Error as error:
        made.close()
        raise explained(error, url) from None
    except UserError:
        made.close()
        raise
    return made


def _settle(connection: Connection, url: str) -> None:
    """Whatever the role's or the server's defaults are: durable commits, and no time limit that ends us."""
    if connection.info.server_version < _OLDEST * 10_000:
        raise UserError(
            f"is PostgreSQL {connection.info.server_version // 10_000}",
            field="journal",
            value=shown(url),
            remedy=f"Use version {_OLDEST} or newer",
        )
    connection.execute(
        "SELECT set_config('statement_timeout', '0', false), set_config('idle_session_timeout', '0', false),"
        " set_config('lock_timeout', '0', false), set_config('synchronous_commit', CASE"
        " current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)"
    )
    (fsync,) = connection.execute("SELECT current_setting('fsync')").fetchone() or ("on",)
    if fsync != "on":
        raise UserError(
            "runs with fsync off: what it acknowledges would not survive a power cut",
            field="journal",
            value=shown(url),
            remedy="Set fsync = on in postgresql.conf",
        )


def is_lost(connection: Connection, error: psycopg.Error) -> bool:
    """Whether the connection is gone, so that nobody knows what became of the last statement."""
    code = error.sqlstate or ""
    return connection.closed or code.startswith("08") or code in ("57P01", "57P02", "57P03", "57P05")


def explained(error: psycopg.Error, url: str) -> Trouble:
    """The same trouble for people."""
    said = f"{error.sqlstate or ''} {error}"
    for signs, (problem, remedy) in _MEANINGS:
        if any(sign in said for sign in signs):
            return Trouble(problem, field="journal", value=shown(url), remedy=remedy, status=503)
    return Trouble(
        f"cannot be used: {_words(error)}",
        field="journal",
        value=shown(url),
        remedy="Look into the log of PostgreSQL",
        status=503,
    )


def damaged(url: str, seq: int, what: str) -> Damaged:
    """The record is not what was written."""
    return Damaged(f"record {seq} {what}", field="journal", value=shown(url), remedy=RESTORE, status=503)


def _words(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
