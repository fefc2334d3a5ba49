"""Tenants as Unix users: who they are, and how Myriad submits for them.

`sbatch` itself runs as the user, so Slurm sees nothing special: its limits, accounts and plugins judge the
user, and cgroups, modes and signals keep gangs apart. Only draining and cancelling are Myriad's own.
"""

import os
import pwd
from typing import NamedTuple

from myriad.engines.slurm.asking import commands
from myriad.engines.slurm.config import Config
from myriad.kernel.errors import UserError

#: What of our environment a job of somebody else is to have; anything else may be a secret.
_PASSED = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "SLURM_CONF", "LANG", "LC_ALL", "TZ")
_PATIENCE_S = 15.0


class User(NamedTuple):
    """One that gangs may run as."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


def find(name: str, field: str) -> User:
    """The user of that name. Raises UserError when gangs cannot be its."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        remedy = "Name one that `getent passwd` shows here and on all nodes, with the same number"
        raise UserError("is no user of this machine", field=field, value=name, remedy=remedy) from None
    if found.pw_uid == 0 or found.pw_uid == os.geteuid() or "/" in name or name.startswith("."):
        remedy = "Name a user of the tenant's own, or leave it out: then gangs are Myriad's own"
        raise UserError("cannot be a tenant's", field=field, value=name, remedy=remedy)
    if os.getegid() in os.getgrouplist(name, found.pw_gid):
        remedy = f"Take it out of group {os.getegid()}, or run Myriad with a group of its own"
        raise UserError(
            "is in Myriad's group, which reads every tenant's", field=field, value=name, remedy=remedy
        )
    if (called := pwd.getpwuid(found.pw_uid).pw_name) != name:
        remedy = f"Write {called}: squeue calls it so, and by that its jobs are known"
        raise UserError("is another name of a user", field=field, value=name, remedy=remedy)
    return User(name, found.pw_uid, found.pw_gid, found.pw_dir, found.pw_shell)


def named(config: Config) -> dict[str, User]:
    """Everybody whom the section names. Raises UserError at the first that cannot be."""
    return {name: find(name, field) for name, field in config.users.items()}


def check(config: Config) -> None:
    """That Myriad may submit for everybody named. Raises UserError."""
    for user in named(config).values():
        if why := refusal(config, user):
            field, how = config.users[user.name], remedy(user)
            raise UserError(f"Myriad may not become it ({why})", field=field, value=user.name, remedy=how)


# ---- becoming another -------------------------------------------------------------------------------


def becoming(config: Config, user: User) -> list[str]:
    """What goes before a command to run it as that user."""
    if config.submit_as:
        return [word.replace("{user}", user.name) for word in config.submit_as]
    # capabilities that Myriad has without being root go no further
    words = [f"--reuid={user.uid}", f"--regid={user.gid}", "--init-groups", "--inh-caps=-all"]
    return ["setpriv", *words, "--"]


def environment(user: User) -> dict[str, str]:
    """Of a command that is run as that user, and so of its job."""
    own = {"HOME": user.home, "SHELL": user.shell, "USER": user.name, "LOGNAME": user.name}
    return passed() | own


def passed() -> dict[str, str]:
    """What of our environment goes into a job of somebody else."""
    return {name: os.environ[name] for name in _PASSED if name in os.environ}


def refusal(config: Config, user: User) -> str:
    """Why Myriad may not run sbatch as that user; empty: it may."""
    try:
        argv = [*becoming(config, user), "sbatch", "--version"]
        commands.run_now(argv, env=environment(user), timeout_s=_PATIENCE_S)
    except (commands.SlurmError, commands.SlurmSilent) as error:
        return str(error)
    return ""


def remedy(user: User) -> str:
    """How it could."""
    return (
        "Run Myriad as root or with AmbientCapabilities=CAP_SETUID CAP_SETGID, or set slurm: submit_as, such "
        f'as [sudo, -n, -u, "{{user}}"], and see that it works: sudo -n -u {user.name} sbatch --version'
    )
