"""Can gangs run as the users of the site file? For `myriad doctor --engine slurm`; changes nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

from myriad.engines.slurm.config import Config
from myriad.engines.slurm.users import homes, users
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
        unborn = os.geteuid() == 0 and not homes.folder(data, name).exists()  # root makes it at the start
        if why := users.refusal(config, user):
            yield fail(check, f"{field}: Myriad may not become it: {why}", users.remedy(user))
        elif why := homes.exposed(data):
            yield fail(check, why, homes.OWN)
        elif not unborn and (found := homes.trouble(data, user)):
            yield fail(check, *found)
        else:
            yield ok(check, f"{field}: uid {user.uid}, Myriad may submit for it")
