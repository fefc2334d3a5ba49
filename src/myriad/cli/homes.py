"""What runs for a home folder on this machine: its control plane, and nodes that one left behind."""

import os
from pathlib import Path

from myriad.cli.context import Context
from myriad.engines.local import nursery


def holder(home: Path) -> int:
    """The process that is the home's control plane; 0: none is.

    It holds server.pid open and locked; a number alone could belong to a stranger by now. Looking at
    what it holds open, unlike trying the lock, cannot get in the way of one that starts right now.
    """
    path = home / "server.pid"
    try:
        pid = int(path.read_text())
        wanted = path.stat()
        names = os.listdir(f"/proc/{pid}/fd")
    except (OSError, ValueError):
        return 0
    return pid if any(_is(f"/proc/{pid}/fd/{name}", wanted) for name in names) else 0


def _is(path: str, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(wanted, os.stat(path))
    except OSError:  # closed meanwhile, by a process that lives
        return False


def journal(context: Context) -> str:
    """Where the home's journal is: what its control plane used last."""
    known = context.addresses()
    return (known.journal if known else "") or str(context.home / "journal.db")


def data(context: Context) -> Path:
    """The folder that its nodes share."""
    known = context.addresses()
    return Path(known.data) if known and known.data else context.home


def nodes_left(home: Path) -> list[str]:
    """Nodes whose agent lives, whether or not a control plane does."""
    return [record.node for record in nursery.records(home) if nursery.is_alive(record)]


def last_lines(log: Path, after: int, count: int = 15) -> str:
    """The last lines that were written to a log after a position."""
    try:
        with log.open("rb") as file:
            file.seek(after)
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().split("\n")[-count:])
