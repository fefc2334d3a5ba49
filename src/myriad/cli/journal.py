"""`myriad journal`: everything that ever happened, whether the record of it is whole, and its repair."""

from collections.abc import Iterable
from pathlib import Path

import click

from myriad.cli import homes, show
from myriad.cli.client import JournalEntry
from myriad.cli.context import Context, given
from myriad.kernel.errors import UserError
from myriad.kernel.ports import Verification
from myriad.protocol.facts import Fact
from myriad.server import stories
from myriad.store import opening
from myriad.store import repair as repairs
from myriad.store.postgres.connection import RESTORE, is_url, shown


@click.command()
@click.option(
    "--after", type=click.IntRange(0), help="Entries with a number above this; by default the last ones."
)
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="At most so many."
)
@click.option("--verify", is_flag=True, help="Check every record; works without a control plane too.")
@click.option("--repair", is_flag=True, help="Cut off a damaged end; the damaged file is kept beside.")
@click.option(
    "--journal",
    "location",
    metavar="URL|FILE",
    help="Which one to verify or repair; by default that of the home.",
)
@show.as_json
@given
def journal(
    context: Context,
    *,
    after: int | None,
    limit: int,
    verify: bool,
    repair: bool,
    location: str | None,
    as_json: bool,
) -> None:
    """Show the journal: what caused what, and when.

    \b
    Example:
      myriad journal --limit 50
      myriad journal --verify
    """
    if repair:
        _repair(location or homes.journal(context))
    elif verify:
        _verify(context, location, as_json=as_json)
    else:
        _list(context, after, limit, as_json=as_json)


def _list(context: Context, after: int | None, limit: int, *, as_json: bool) -> None:
    with context.client() as client:
        if after is None:
            after = max(0, client.journal(limit=1).last - limit)
        page = client.journal(after, limit)
    if as_json:
        show.dump(page)
        return
    show.table((">SEQ", "AT", "CAUSE", "FACTS"), (_row(entry) for entry in page.entries), empty="No entries.")


def _row(entry: JournalEntry) -> tuple[object, ...]:
    at = max((fact.at for fact in entry.facts), default=0)
    return entry.seq, show.clock(at), entry.cause, "\n".join(line(fact) for fact in entry.facts)


_SUBJECTS = ("attempt", "job", "service", "node", "tenant", "key", "request", "subject")
_LONGEST = 110


def line(fact: Fact) -> str:
    """A fact in one line: what, about whom, and what there is to say; all of it is in --json."""
    named = (getattr(fact, name, "") for name in _SUBJECTS)
    subject = next((value for value in named if value and isinstance(value, str)), "")
    text = f"{type(fact).__name__} {subject}".rstrip()
    if said := stories.words(fact):
        text += f": {said}"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _verify(context: Context, location: str | None, *, as_json: bool) -> None:
    if not location and (context.remote or homes.holder(context.home)):
        with context.client() as client:
            found = client.verify()
        same = ("live state", "equal to the folded one" if found.equal else "DIFFERS from the folded one")
        problem, equal = found.problem, found.equal
        told: list[tuple[str, object]] = [("records", found.records), ("digest", found.digest), same]
        if as_json:
            show.dump(found)
    else:
        offline = _offline(location or homes.journal(context))
        problem, equal = offline.problem, True
        told = [("records", offline.records), ("digest", offline.digest)]
        if as_json:
            show.dump(offline._asdict())
    if not as_json:
        show.pairs([*told, ("journal", problem or "whole")])
    if problem or not equal:
        raise SystemExit(1)


def _offline(location: str) -> Verification:
    kept = opening.to_read(location)
    try:
        return kept.verify()
    finally:
        kept.close()


def _repair(location: str) -> None:
    if is_url(location):
        raise UserError(
            "is in PostgreSQL, where nothing is cut off",
            field="journal",
            value=shown(location),
            remedy=RESTORE,
        )
    done = repairs.repair(Path(location))
    told: Iterable[tuple[str, object]] = [
        ("records kept", done.kept),
        ("digest", done.digest),
        ("was wrong", done.problem or "nothing: nothing was changed"),
        ("kept beside", done.aside or ""),
    ]
    show.pairs(told)
