"""One look at all of Slurm: its nodes, our jobs, and what others run."""

import os
import pwd
import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from myriad.engines.slurm import commands, reading


class View(NamedTuple):
    """What Slurm said at one moment."""

    #: Monotonic seconds before it was asked: what was done later may not be in it.
    asked_at: float
    nodes: Mapping[str, reading.Node]
    #: Our jobs that Slurm has not done with, by their name without our prefix.
    own: Mapping[str, list[reading.Job]]
    #: A job of somebody else on the node.
    others: Mapping[str, reading.Job]

    def job(self, name: str, number: str) -> reading.Job | None:
        """One of our jobs."""
        return next((job for job in self.own.get(name, ()) if job.id == number), None)

    def responds(self, node: str) -> bool:
        """Whether Slurm hears that node."""
        found = self.nodes.get(node)
        return found is not None and found.usable


async def look(
    prefix: str, wanted: Collection[str], read: reading.Reader, ours: Callable[[str, str, str], bool]
) -> View:
    """Ask Slurm. Raises SlurmSilent, SlurmError.

    `ours`: whether a job of that name, without our prefix, and user is ours; we are the last.
    """
    asked_at, mark = time.monotonic(), os.urandom(8).hex()
    nodes = await commands.run(["scontrol", "--oneliner", "show", "nodes"])
    jobs = await commands.run(["squeue", "--noheader", "--all", f"--format={mark}|{reading.JOB_FORMAT}"])
    own: dict[str, list[reading.Job]] = {}
    others: dict[str, reading.Job] = {}
    me = _me()
    for job in reading.jobs(jobs, mark):
        name = job.name.removeprefix(prefix)
        if job.name.startswith(prefix) and ours(name, job.user, me):
            own.setdefault(name, []).append(job)
        else:
            others.update({node: job for node in job.nodes if node in wanted})
    known = {node.name: node for node in read.nodes(nodes) if node.name in wanted}
    return View(asked_at, known, own, others)


def _me() -> str:
    """Our name, as squeue says it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
