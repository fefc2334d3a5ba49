"""Whose the data folder is: that of one journal, and of every control plane that decides by it.

Two that decide by different journals would each end the gangs of the other as strays. So the folder names
the journal that has it, by the digest of its first record: a standby, a backup that was restored and one
which moved to another store have the same.
"""

import contextlib
import os
import socket
from pathlib import Path

import msgspec

from myriad.kernel.errors import UserError
from myriad.kernel.ports import Journal
from myriad.store import chain

_NAME = "owner.json"


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """What the folder says of who has it."""

    #: Hex digest of its first record.
    journal: str
    #: For people: which site it is of, and where it was when it was last begun with.
    site: str
    place: str


def identity(journal: Journal) -> str:
    """Which journal it is; empty while nothing is in it."""
    first = next(journal.read(), None)
    return chain.link(chain.GENESIS, first.body).hex() if first else ""


def here(journal: str) -> str:
    """Where a journal is, as people on other machines have to know it."""
    return journal if "://" in journal else f"{journal} on {socket.gethostname()}"


def check(folder: Path, journal: str) -> None:
    """Raises UserError when the folder belongs to another journal than the one of that identity."""
    if (found := _read(folder)) and found.journal != journal:
        raise _of_another(folder, found)


def take(folder: Path, owner: Owner) -> None:
    """Say that the folder is ours from now on. Raises UserError when it is not ours to take."""
    path = folder / _NAME
    draft = path.with_name(f".{_NAME}.{os.urandom(6).hex()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(owner)) + b"\n")
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # of two that begin at once one wins, also on file servers
        check(folder, owner.journal)
        if _read(folder) != owner:
            draft.replace(path)
    except OSError as error:
        raise _unusable(folder, error) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _read(folder: Path) -> Owner | None:
    path = folder / _NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Owner)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(folder, error) from None
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise UserError(
            f"cannot be understood: {error}",
            field="data",
            value=str(path),
            remedy="Remove it if no other control plane uses this folder",
        ) from None


def _of_another(folder: Path, found: Owner) -> UserError:
    return UserError(
        f"belongs to the journal {found.place} of site {found.site}",
        field="data",
        value=str(folder),
        remedy="Give another folder with --data, or that journal with --journal. If it is gone for good and"
        f" nothing of it runs any more, remove {folder / _NAME}",
        status=409,
    )


def _unusable(folder: Path, error: OSError) -> UserError:
    return UserError(
        error.strerror or str(error),
        field="data",
        value=str(error.filename or folder),
        remedy="Give a folder with --data that this user may write here and on all nodes",
    )
