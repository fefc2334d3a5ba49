"""Files in a folder of another user: read if they are what they should be, or not at all.

Whoever owns a folder may put anything under any name in it: a link to a file that only we may read, a pipe
that never ends, a file of a third user. What counts is what was opened: a plain file of the expected owner.

Only the standard library: see forking.
"""

import errno
import os
import stat
from pathlib import Path

#: Never waits for the other end of a pipe, follows no link, takes no terminal.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: What somebody who owns a folder can bring about in it; anything else is said of the folder as a whole.
_DOINGS = (
    errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR,
    errno.EAGAIN,  # under a lease of fcntl
)  # fmt: skip


def brought_about(error: OSError) -> bool:
    """Whether the owner of a folder may be why something in it is not read; else all of it may be away."""
    return error.errno in _DOINGS


def opened(path: Path, owner: int) -> int:
    """A descriptor of a plain file of that user. Raises FileNotFoundError for all else, OSError."""
    try:
        found = os.open(path, _FLAGS)
    except OSError as error:
        if brought_about(error):
            raise FileNotFoundError(errno.ENOENT, "is not to be read", os.fspath(path)) from error
        raise
    it = os.fstat(found)
    if not stat.S_ISREG(it.st_mode) or it.st_uid != owner:
        os.close(found)
        raise FileNotFoundError(errno.ENOENT, "is no file of its owner", os.fspath(path))
    return found


def text(path: Path, owner: int, most: int) -> str:
    """Its first bytes, so many at most. Raises FileNotFoundError as `opened`, OSError."""
    found = opened(path, owner)
    try:
        return os.read(found, most).decode(errors="replace")
    finally:
        os.close(found)


def exists(path: Path) -> bool:
    """Whether something of that name is there, as far as we may see. Raises OSError."""
    try:
        look_anew(path.parent)
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        if brought_about(error):
            return False
        raise
    return True


def look_anew(*folders: Path) -> None:
    """Ask the file server what is in them: what was not there a moment ago may be remembered so for long.

    Raises FileNotFoundError as `opened`, OSError.
    """
    for folder in folders:
        try:
            os.close(os.open(folder, _FLAGS | os.O_DIRECTORY))
        except OSError as error:
            if brought_about(error):
                raise FileNotFoundError(errno.ENOENT, "is not to be read", os.fspath(folder)) from error
            raise


def owner_of(folder: Path) -> int | None:
    """Whose a folder of results is that may be a link into a user's own; None: it is ours.

    The link is ours, and so is what the user's folder lies in; whatever is in there is not. Raises OSError.
    """
    try:
        target = folder.parent / os.readlink(folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):  # no link, or nothing yet
            return None
        raise
    return target.parent.parent.lstat().st_uid


def opened_in(folder: Path, path: Path) -> int:
    """A descriptor of a file in a folder of results. Raises FileNotFoundError, OSError."""
    owner = owner_of(folder)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC) if owner is None else opened(path, owner)
