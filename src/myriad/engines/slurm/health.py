"""Is the Slurm here fit to be a body of Myriad? For `myriad doctor --engine slurm`; changes nothing."""

import asyncio
import getpass
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Final

from myriad.engines.slurm.asking import commands, reading
from myriad.engines.slurm.asking.commands import SlurmError, SlurmSilent
from myriad.fleet import hostlist
from myriad.kernel.findings import Finding, fail, ok, skip, warn

PROGRAMS: Final = ("sinfo", "squeue", "scontrol", "sbatch", "scancel")
_OLDEST: Final = (22, 5)
_PATIENCE_S: Final = 10.0
#: Nodes that should answer.
_SHARE: Final = 0.95
_SKEW_S: Final = 5.0
_PARTITIONS: Final = re.compile(r"^NodeName=(\S+) .*?(?:\sPartitions=(\S*)|$)", re.MULTILINE)
_CONFIG: Final = re.compile(r"^(\w+)\s*=\s*(.*?)\s*$", re.MULTILINE)


def findings(partition: str = "", wanted: Collection[str] = ()) -> Iterator[Finding]:
    """All that can be looked at from here, in the order in which one needs the other.

    `wanted`: the nodes of the site file.
    """
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        remedy = "Install Slurm's client programs (slurm-client), or add their folder to PATH"
        yield fail("slurm: programs", f"{', '.join(missing)} not found", remedy)
        return
    yield ok("slurm: programs", str(shutil.which("sbatch")))
    yield version()
    answers = ping()
    yield answers
    if answers.result == "fail":
        yield skip("slurm: the rest", "needs slurmctld")
        return
    try:
        said = _ask("scontrol", "show", "config")
    except (SlurmError, SlurmSilent) as error:
        yield fail("slurm: configuration", str(error), "Run scontrol show config as this user")
        return
    config: dict[str, str] = dict(_CONFIG.findall(said))
    yield rights(config)
    yield clock(said, time.time())
    yield munge(config)
    yield of_partition(partition)
    yield nodes()
    if wanted:
        yield of_site(wanted, partition)


def version() -> Finding:
    """A release whose words we know."""
    try:
        found = reading.version(_ask("sinfo", "--version"))
    except (SlurmError, SlurmSilent) as error:
        return fail("slurm: version", str(error), "Put slurm.conf where SLURM_CONF says, or into /etc/slurm")
    text = f"{found[0]}.{found[1]:02}"
    if found < _OLDEST:
        return fail("slurm: version", text, f"Upgrade Slurm to {_OLDEST[0]}.{_OLDEST[1]:02} or newer")
    return ok("slurm: version", text)


def ping() -> Finding:
    """slurmctld answers."""
    remedy = "Start slurmctld (systemctl status slurmctld); check SlurmctldHost, SLURM_CONF and the network"
    try:
        said = _ask("scontrol", "ping")
    except (SlurmError, SlurmSilent) as error:
        return fail("slurm: slurmctld", str(error), remedy)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not any(line.endswith(" UP") for line in lines):
        return fail("slurm: slurmctld", "; ".join(lines) or "says nothing", remedy)
    down = [line for line in lines if line.endswith(" DOWN")]
    if down:
        return warn("slurm: slurmctld", "; ".join(lines), "Start the one that is down")
    return ok("slurm: slurmctld", "; ".join(lines))


def rights(config: Mapping[str, str], user: str = "") -> Finding:
    """Drains that Myriad decides on must reach Slurm, so this user must be one whom Slurm lets drain."""
    user = user or ("root" if os.geteuid() == 0 else getpass.getuser())
    owner = config.get("SlurmUser", "").partition("(")[0]
    if user in ("root", owner):
        return ok("slurm: rights", f"{user} may drain nodes ({'SlurmUser' if user == owner else 'root'})")
    level = ""
    if shutil.which("sacctmgr") and "none" not in config.get("AccountingStorageType", "none"):
        try:
            level = _ask("sacctmgr", "-nP", "show", "user", user, "format=AdminLevel").strip()
        except (SlurmError, SlurmSilent) as error:
            level = str(error)
    if level.lower() in ("operator", "administrator", "admin"):
        return ok("slurm: rights", f"{user} may drain nodes (admin level {level})")
    remedy = f"Run the control plane as {owner or 'SlurmUser'}"
    remedy += f", or, with accounting: sacctmgr modify user {user} set adminlevel=operator"
    return fail("slurm: rights", f"{user} may not drain nodes (admin level {level or 'unknown'})", remedy)


def clock(config: str, now_s: float) -> Finding:
    """slurmctld's clock, by the date of its answer: `Configuration data as of 2026-11-28T12:00:00`."""
    try:
        skew_s = datetime.fromisoformat(config.partition("\n")[0].rpartition(" ")[2]).timestamp() - now_s
    except ValueError:
        return skip("slurm: clock", "slurmctld did not date its answer")
    if abs(skew_s) > _SKEW_S:
        remedy = (
            "Let one time service (chrony) keep all machines: chronyc tracking; munge refuses from 5 min on"
        )
        return warn("slurm: clock", f"slurmctld's differs from ours by {skew_s:+.0f} s", remedy)
    return ok("slurm: clock", f"slurmctld's and ours agree within {_SKEW_S:.0f} s")


def munge(config: Mapping[str, str]) -> Finding:
    """A credential can be made and read."""
    kind = config.get("AuthType", "")
    if kind != "auth/munge":
        return skip("slurm: munge", f"not used (AuthType {kind or 'unknown'})")
    remedy = "Start munged (systemctl status munge); the same /etc/munge/munge.key on all machines, mode 0400"
    socket = re.search(r"socket=([^,\s]+)", config.get("AuthInfo", ""))
    where = [f"--socket={socket.group(1)}"] if socket else []
    try:
        made = _ask("munge", "-n", *where)
        asyncio.run(commands.run(["unmunge", *where], feed=made, timeout_s=_PATIENCE_S))
    except (SlurmError, SlurmSilent) as error:
        return fail("slurm: munge", str(error), remedy)
    return ok("slurm: munge", "a credential was made and read")


def of_partition(name: str) -> Finding:
    """The partition that gangs go to exists and takes jobs."""
    check = f"slurm: partition {name}".rstrip()
    try:
        said = _ask("sinfo", "--noheader", "--format=%R|%a|%P")
    except (SlurmError, SlurmSilent) as error:
        return fail(check, str(error), "Run sinfo")
    rows = [line.split("|") for line in said.splitlines() if line.count("|") == 2]
    known = sorted({row[0] for row in rows})
    mine = [row for row in rows if row[0] == name or (not name and row[2].endswith("*"))]
    if not mine:
        found = f"there is no {name}" if name else "there is no default partition"
        return fail(
            check, found, f"Set slurm: partition in the site file; known: {', '.join(known) or 'none'}"
        )
    if any(row[1] != "up" for row in mine):
        return fail(
            check, f"{mine[0][0]} is {mine[0][1]}", f"scontrol update PartitionName={mine[0][0]} State=UP"
        )
    return ok(check, f"{mine[0][0]} is up")


def nodes() -> Finding:
    """How many answer."""
    try:
        found = list(reading.nodes(_ask("scontrol", "--oneliner", "show", "nodes")))
    except (SlurmError, SlurmSilent) as error:
        return fail("slurm: nodes", str(error), "Run scontrol show nodes")
    good = [node for node in found if node.usable]
    held = sum(node.held for node in good)
    told = f"{len(good)} of {len(found)} answer" + (f", {held} of them drained" if held else "")
    bad = [f"{node.name} {node.state}" for node in found if not node.usable][:4]
    remedy = "sinfo -R says why; systemctl status slurmd there"
    if not good:
        return fail("slurm: nodes", told, remedy)
    if len(good) < _SHARE * len(found):
        return warn("slurm: nodes", f"{told}; not: {', '.join(bad)}", remedy)
    return ok("slurm: nodes", told)


def of_site(wanted: Collection[str], partition: str) -> Finding:
    """Slurm knows the nodes of the site file, and gives them to the partition that gangs go to."""
    try:
        said = _ask("scontrol", "--oneliner", "show", "nodes")
    except (SlurmError, SlurmSilent) as error:
        return fail("slurm: site", str(error), "Run scontrol show nodes")
    known = {one.group(1): (one.group(2) or "").split(",") for one in _PARTITIONS.finditer(said)}
    unknown = hostlist.fold(name for name in wanted if name not in known)
    outside = hostlist.fold(
        name for name in wanted if partition and partition not in known.get(name, [partition])
    )
    remedy = "Import the site again: myriad site import-slurm; or mend slurm.conf, then scontrol reconfigure"
    if unknown:
        return fail("slurm: site", f"Slurm does not know {unknown} of the site file", remedy)
    if outside:
        return fail("slurm: site", f"not in partition {partition}: {outside} of the site file", remedy)
    return ok("slurm: site", f"Slurm knows all {len(wanted)} nodes of the site file")


def _ask(*argv: str) -> str:
    return commands.run_now(argv, timeout_s=_PATIENCE_S)
