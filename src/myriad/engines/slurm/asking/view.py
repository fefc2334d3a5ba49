"""One look at all of Slurm: its nodes, our jobs, and what others run."""

import os
import pwd
import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from myriad.engines.slurm.asking import commands, reading
from myriad.engines.slurm.spool import Whose


class View(NamedTuple):
    """What Slurm said at one moment."""

    #: Monotonic seconds before it was asked: what was done later may not be in it.
    asked_at: float
    nodes: Mapping[str, reading.Node]
    #: Our jobs that Slurm has not done with, by their name without our prefix.
    own: Mapping[str, list[reading.Job]]
    #: Jobs that look as if they had been ours, and can only be cancelled.
    left: Mapping[str, list[reading.Job]]
    #: A job of somebody else on the node.
    others: Mapping[str, reading.Job]

    def job(self, name: str, number: str) -> reading.Job | None:
        """One of our jobs."""
        return next((job for job in self.own.get(name, ()) if job.id == number), None)

    def named(self, name: str) -> list[reading.Job]:
        """All jobs of that name which are ours, or look as if they had been."""
        return [*self.own.get(name, ()), *self.left.get(name, ())]

    def responds(self, node: str) -> bool:
        """Whether Slurm hears that node."""
        found = self.nodes.get(node)
        return found is not None and found.usable


async def look(
    prefix: str, wanted: Collection[str], read: reading.Reader, whose: Callable[[str, str, str], Whose]
) -> View:
    """Ask Slurm. Raises SlurmSilent, SlurmError.

    `whose`: what a job is by its name without our prefix, its user, and ours.
    """
    asked_at, mark = time.monotonic(), os.urandom(8).hex()
    nodes = await commands.run(["scontrol", "--oneliner", "show", "nodes"])
    jobs = await commands.run(["squeue", "--noheader", "--all", f"--format={mark}|{reading.JOB_FORMAT}"])
    named: dict[Whose, dict[str, list[reading.Job]]] = {"ours": {}, "left": {}}
    others: dict[str, reading.Job] = {}
    me = _me()
    for job in reading.jobs(jobs, mark):
        name = job.name.removeprefix(prefix)
        if job.name.startswith(prefix) and (found := named.get(whose(name, job.user, me))) is not None:
            found.setdefault(name, []).append(job)
        else:
            others.update({node: job for node in job.nodes if node in wanted})
    known = {node.name: node for node in read.nodes(nodes) if node.name in wanted}
    return View(asked_at, known, named["ours"], named["left"], others)


def _me() -> str:
    """Our name, as squeue says it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
