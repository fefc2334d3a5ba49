"""What SQLite says about a journal's file, in words that name the file and the remedy."""

import sqlite3
from pathlib import Path

from myriad.kernel.errors import UserError

REPAIR = (
    "Run `myriad journal --repair`: it keeps every good record and moves the damaged file aside, "
    "so nothing is destroyed"
)
#: Primary result code of SQLite -> (what it means for us, what to do).
_MEANINGS = {
    "SQLITE_CORRUPT": ("is damaged", REPAIR),
    "SQLITE_NOTADB": ("is damaged or not a journal: its first page is no SQLite page", REPAIR),
    "SQLITE_FULL": ("cannot grow: the disk is full", "Free space on that file system, then try again"),
    "SQLITE_READONLY": (
        "cannot be written: file or file system is read-only",
        "Give this user write permission on the file and its folder",
    ),
    "SQLITE_CANTOPEN": (
        "cannot be opened",
        "Check that the folder exists and that this user may write there",
    ),
    "SQLITE_PERM": ("may not be used by this user", "Check the owner and mode of the file"),
    "SQLITE_IOERR": (
        "could not be written or read: the disk reports an error",
        "Check the disk (dmesg), then restart: what was acknowledged is checked at start",
    ),
    "SQLITE_BUSY": ("is locked by another program", "Close what has it open (for example sqlite3)"),
    "SQLITE_LOCKED": ("is locked by another program", "Close what has it open (for example sqlite3)"),
}


class Damaged(UserError):
    """The file is not what was written: the kind of trouble that a repair mends."""


def code(error: sqlite3.Error) -> str:
    """The primary result code's name, such as SQLITE_FULL; empty when the module raised by itself."""
    name = str(getattr(error, "sqlite_errorname", ""))
    return "_".join(name.split("_")[:2])


def explained(error: sqlite3.Error, path: Path) -> UserError:
    """The same trouble for people."""
    problem, remedy = _MEANINGS.get(code(error), (f"is damaged ({error})", REPAIR))
    kind = Damaged if remedy == REPAIR else UserError
    return kind(problem, field="journal", value=str(path), remedy=remedy, status=503)


def damaged(path: Path, seq: int, what: str) -> Damaged:
    """The record is not what was written."""
    return Damaged(f"record {seq} {what}", field="journal", value=str(path), remedy=REPAIR, status=503)
