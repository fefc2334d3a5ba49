"""Can gangs run as the users of the site file? For `myriad doctor --engine slurm`; changes nothing."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from myriad.engines.slurm import homes, users
from myriad.engines.slurm.config import Config
from myriad.engines.slurm.users import User
from myriad.kernel.errors import UserError
from myriad.kernel.findings import Finding, fail, ok


def findings(config: Config, data: Path) -> Iterator[Finding]:
    """Every user that is named: is there, may be become, has a folder, reaches what its gangs need."""
    for name, field in config.users.items():
        check = f"slurm: user {name}"
        try:
            user = users.find(name, field)
        except UserError as error:
            yield fail(check, f"{field}: {error.problem}", error.remedy)
            continue
        if why := users.refusal(config, user):
            yield fail(check, f"Myriad may not become it: {why}", users.remedy(user))
        elif found := _unreached(data, user):
            yield fail(check, *found)
        else:
            yield ok(check, f"{field}: uid {user.uid}, Myriad may submit for it")


def _unreached(data: Path, user: User) -> tuple[str, str] | None:
    """What its gangs need and cannot have, and the remedy."""
    if trouble := homes.exposed(data):
        return trouble, homes.OWN
    place = homes.folder(data, user.name)
    # root makes it when it starts
    if (place.exists() or os.geteuid() != 0) and (trouble := homes.unfit(place, user)):
        return f"{place} {trouble}", f"As root: {homes.install(place, user)}"
    python = Path(sys.executable)
    for path in (place, python, python.resolve()):
        if closed := _closed(path, user):
            return f"{closed} is closed to it, and with that {path}", f"chmod o+x {closed}"
    return None


def _closed(path: Path, user: User) -> Path | None:
    """The first folder above that the user may not pass, as far as modes tell: ACLs may tell otherwise."""
    groups = os.getgrouplist(user.name, user.gid)
    for place in reversed([*path.parents, *([path] if path.is_dir() else [])]):
        found = place.stat() if place.exists() else None
        if found is None:
            return None
        bit = 0o100 if found.st_uid == user.uid else 0o010 if found.st_gid in groups else 0o001
        if not found.st_mode & bit and "system.posix_acl_access" not in os.listxattr(place):
            return place
    return None
