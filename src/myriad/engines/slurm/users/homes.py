"""The folders of users in the shared folder: made, or found made, and nobody can put others in their place.

    users/<user>/          of the user, its group Myriad's, which may read: mode 2750
        jobs/<job>/        results, logs, checkpoints; `jobs/<job>` of the shared folder is a link to it
        services/<service>/
        gangs/<attempt>/   what the members tell, see `spool`

Neither writes where the other does. What is above `users/<user>` is Myriad's alone; what is in it is read as
a stranger's (`common.theirs`).
"""

import errno
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from myriad.engines.slurm.config import Config
from myriad.engines.slurm.users.users import User
from myriad.kernel.errors import UserError

MODE = 0o2750
OWN = "Let Myriad's user own it and nobody else write it: chmod go-w"


def folder(data: Path, name: str) -> Path:
    """All that gangs of the user leave."""
    return data / "users" / name


def results(data: Path, place: Path, user: User | None) -> Path:
    """Where results go that are found at `place`, maybe by a link. Raises OSError if they are another's."""
    known = os.readlink(place) if place.is_symlink() else "" if place.exists() else None
    there = folder(data, user.name) / place.relative_to(data) if user else place
    wanted = os.path.relpath(there, place.parent) if user else ""
    if known is None and user:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(wanted)
    elif known not in (None, wanted):
        now = f"user {user.name}" if user else "Myriad's own user"
        raise FileExistsError(errno.EEXIST, f"it was begun as another user than {now}", str(place))
    return there


def prepare(data: Path, config: Config, users: Mapping[str, User]) -> None:
    """Make the users' folders, or find them made. Raises UserError."""
    try:
        _prepare(data, config, users)
    except OSError as error:
        remedy = "Give a folder with --data that Myriad's user may write here and on all nodes"
        raise UserError(str(error), field="data", value=str(data), remedy=remedy) from None


def _prepare(data: Path, config: Config, users: Mapping[str, User]) -> None:
    if not data.exists():
        data.mkdir(parents=True)
        data.chmod(0o711)
    if why := exposed(data):
        raise UserError(why, field="data", value=str(data), remedy=OWN)
    top = data / "users"
    if not top.exists():
        top.mkdir()
        top.chmod(0o711)
    for name in ("jobs", "services"):  # a service of theirs may find there what a job of theirs has made
        (data / name).mkdir(exist_ok=True)
        if not (data / name).stat().st_mode & 0o001:
            (data / name).chmod(0o711)
    for user in users.values():
        _make(folder(data, user.name), user)
        if found := trouble(data, user):
            field = config.users[user.name]
            raise UserError(found[0], field=field, value=user.name, remedy=found[1])


def _make(place: Path, user: User) -> None:
    """Where Myriad may; elsewhere an operator does."""
    try:
        place.mkdir(mode=0o700)
    except FileExistsError:
        return
    try:
        os.chown(place, user.uid, os.getegid())
        place.chmod(MODE)
    except PermissionError:
        place.rmdir()


def exposed(data: Path) -> str:
    """Why somebody else could put a folder of his own in the place of a user's."""
    for place in (data, data / "users"):
        if place.exists():
            found = place.lstat()
            if found.st_uid not in (0, os.geteuid()):
                return f"{place} belongs to user {found.st_uid}, who may replace what is in it"
            if found.st_mode & 0o022:  # a sticky one too: what is not there yet may be made first
                return f"{place} may be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def trouble(data: Path, user: User) -> tuple[str, str] | None:
    """Why gangs of the user cannot have what they need, and the remedy."""
    place, python = folder(data, user.name), Path(sys.executable)
    if why := _unfit(place, user):
        return f"{place} {why}", f"As root: install -d -o {user.uid} -g {os.getegid()} -m {MODE:04o} {place}"
    for path in (place, python, python.resolve()):
        if closed := closed_to(user, path):
            remedy = f"chmod o+x {closed}; if that is Myriad's home, keep the data elsewhere: --data DIR"
            return f"{closed} is closed to it, and with that {path}", remedy
    return None


def closed_to(user: User, path: Path) -> Path | None:
    """The first folder above that the user may not pass, as far as modes tell: ACLs may tell otherwise."""
    groups = os.getgrouplist(user.name, user.gid)
    for place in reversed(path.parents):
        if not place.exists():
            return None
        found = place.stat()
        bit = 0o100 if found.st_uid == user.uid else 0o010 if found.st_gid in groups else 0o001
        if not found.st_mode & bit and not any("acl" in name for name in os.listxattr(place)):
            return place
    return None


def _unfit(place: Path, user: User) -> str:
    """What is wrong with a user's folder."""
    try:
        found = place.lstat()
    except FileNotFoundError:
        return "does not exist, and Myriad may not give it away"
    right = (user.uid, os.getegid(), MODE)
    if not stat.S_ISDIR(found.st_mode) or (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != right:
        told = f"{found.st_uid}:{found.st_gid}, mode {stat.S_IMODE(found.st_mode):04o}"
        return f"must be a folder of {user.uid}:{os.getegid()}, mode {MODE:04o}, and is {told}"
    return ""
