"""`myriad backup`, `myriad restore`: the journal as one file, and back, between SQLite and PostgreSQL too."""

from pathlib import Path

import click

from myriad.cli import homes, show
from myriad.cli.context import Context, given
from myriad.store import copies, opening
from myriad.store.copies import Copied
from myriad.store.postgres.connection import is_url, shown

_JOURNAL = "postgresql://user@host:port/database, or a file; that of the home."


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--journal", "location", metavar="URL|FILE", help=_JOURNAL)
@given
def backup(context: Context, *, file: Path, location: str | None) -> None:
    """Write the whole journal into one file, checked; the control plane may go on meanwhile.

    The file is a journal of its own (SQLite), wherever the original is: restore it into SQLite or PostgreSQL.

    \b
    Example:
      myriad backup /backups/monday.db
      myriad backup monday.db --journal postgresql://myriad@db.example/myriad
    """
    journal = opening.to_read(location or homes.journal(context))
    try:
        done = copies.backup(journal, file)
    finally:
        journal.close()
    _tell(done, file)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--journal", "location", metavar="URL|FILE", help=_JOURNAL)
@given
def restore(context: Context, *, file: Path, location: str | None) -> None:
    """Fill an empty journal with a backup, or with any journal of SQLite; all of it or nothing.

    This is also how a journal moves from SQLite to PostgreSQL and back: stop the control plane first.

    \b
    Example:
      myriad restore monday.db --journal postgresql://myriad@db.example/myriad
      myriad restore ~/.myriad/journal.db --journal postgresql://myriad@db.example/myriad
    """
    into = location or homes.journal(context)
    if not is_url(into):
        Path(into).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _tell(copies.restore(file, into), into)


def _tell(done: Copied, where: Path | str) -> None:
    place = shown(where) if isinstance(where, str) and is_url(where) else where
    show.pairs([("records", done.records), ("digest", done.digest), ("written to", place)])
