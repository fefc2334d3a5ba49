"""The journal in PostgreSQL: what was changed behind our back is found, and every mistake has its remedy."""

import psycopg
import pytest
from bench.peers.postgres import Cluster

from myriad.kernel.errors import UserError
from myriad.store import opening
from myriad.store.postgres import schema
from myriad.store.postgres.connection import is_url, shown


@pytest.fixture
def url(postgres: Cluster) -> str:
    """A new database."""
    return postgres.database()


def run(url: str, *statements: str) -> None:
    """What a person does by hand."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type]


def written(url: str) -> None:
    """A journal of five records whose writer has ended."""
    journal = opening.to_write(url)
    journal.append([b"one", b"two", b"three"])
    journal.append([b"four", b"five"])
    journal.close()


def test_rows_cannot_be_changed_by_accident(url: str) -> None:
    written(url)
    for statement in (
        "DELETE FROM myriad.journal",
        "TRUNCATE myriad.journal",
        "UPDATE myriad.journal SET seq = 9",
    ):
        with pytest.raises(psycopg.Error, match="only ever appended to"):
            run(url, statement)


@pytest.mark.parametrize(
    ("harm", "good", "problem"),
    [
        ("UPDATE myriad.journal SET body = 'x' WHERE seq = 3", 2, "record 3 is not what was written"),
        ("DELETE FROM myriad.journal WHERE seq = 2", 1, r"record 2 is missing \(the next one is 3\)"),
        ("DELETE FROM myriad.journal WHERE seq > 4", 4, "record 5 was acknowledged but is missing"),
    ],
)
def test_what_was_changed_on_purpose_is_found(url: str, harm: str, good: int, problem: str) -> None:
    written(url)
    run(url, "ALTER TABLE myriad.journal DISABLE TRIGGER append_only", harm)
    journal = opening.to_read(url)
    found = journal.verify()
    assert found.records == good
    with pytest.raises(UserError, match=problem + ".*restore"):
        list(journal.read())
    journal.close()


def test_an_end_that_is_missing_is_not_written_over(url: str) -> None:
    written(url)
    run(
        url,
        "ALTER TABLE myriad.journal DISABLE TRIGGER append_only",
        "DELETE FROM myriad.journal WHERE seq > 4",
    )
    with pytest.raises(UserError, match="record 5 was acknowledged but is missing"):
        opening.to_write(url)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("postgresql://u@127.0.0.1:port/db", "is no address of a database"),
        ("postgresql://u@h/db?nonsense=1", "is no address of a database"),
        ("postgresql://u@127.0.0.1:1/db", "does not answer.*Start PostgreSQL"),
        ("postgresql://u@/db?host=/nowhere", "does not answer.*Start PostgreSQL"),
        ("postgresql://u@no-such-host.invalid/db", "names a host that is not known"),
    ],
)
def test_addresses_that_lead_nowhere(address: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as refused:
        opening.to_read(address)
    assert refused.value.field == "journal" and refused.value.remedy


def test_no_such_database_user_or_password(postgres: Cluster) -> None:
    with pytest.raises(UserError, match=r"has no such database.*createdb"):
        opening.to_read(postgres.url("nowhere"))
    with pytest.raises(UserError, match="refuses this user"):
        opening.to_read(postgres.url().replace("myriad@", "stranger@"))
    rules = postgres.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    run(postgres.url(), "CREATE ROLE careful LOGIN PASSWORD 'right'")
    rules.write_text("local all careful scram-sha-256\n" + before)
    run(postgres.url(), "SELECT pg_reload_conf()")
    url = postgres.url().replace("myriad@", "careful:wrong@")
    try:
        with pytest.raises(UserError, match="refuses the password") as refused:
            opening.to_read(url)
    finally:
        rules.write_text(before)
        run(postgres.url(), "SELECT pg_reload_conf()")
    assert "wrong" not in str(refused.value), "a password is never shown"
    assert shown(url) == f"postgresql://careful@{postgres.folder}/postgres"


def test_databases_that_are_not_ours(url: str, postgres: Cluster) -> None:
    with pytest.raises(UserError, match="holds no journal yet"):
        opening.to_read(url)
    run(url, "CREATE SCHEMA myriad", "CREATE TABLE myriad.other (x int)")
    with pytest.raises(UserError, match=r"not a journal of Myriad.*createdb"):
        opening.to_write(url)
    run(url, "DROP TABLE myriad.other")
    opening.to_write(url).close()  # an empty schema that the database's owner made is fine
    run(url, f"INSERT INTO myriad.migrations VALUES ({len(schema.MIGRATIONS) + 1})")
    with pytest.raises(UserError, match=r"written by a newer Myriad.*Upgrade"):
        opening.to_write(url)


def test_addresses_and_paths_are_told_apart() -> None:
    assert is_url("postgresql://a@b/c") and is_url("postgres://a@b/c")
    assert not is_url("journal.db") and not is_url("/var/lib/postgresql/journal.db")
