"""The gangs of the benchmark: how many nodes each takes, for how long, and the marks that it leaves."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.peers import slurm
from myriad.kernel.rng import Stream

#: What both schedulers are told that a gang takes: Slurm counts in minutes.
EXPECTED_MINUTES = 1


class Gang(NamedTuple):
    """One of them."""

    number: int
    nodes: int
    seconds: float


def gangs(count: int, seed: int, least_s: float, most_s: float) -> list[Gang]:
    """A queue: many small ones, few large ones, each of its own length."""
    stream = Stream(seed, "seconds")
    sizes = slurm.mix(count, seed)
    return [Gang(k, nodes, round(stream.uniform(least_s, most_s), 2)) for k, nodes in enumerate(sizes, 1)]


class Marks:
    """A folder in which every gang says when its own process began and ended: the time of a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    def command(self, gang: Gang) -> list[str]:
        """What the gang runs, on its first node. A second start would leave a second line."""
        begun, ended = (shlex.quote(f"{self.folder}/{gang.number}.{word}") for word in ("begun", "ended"))
        return ["/bin/sh", "-c", f"echo >>{begun}; sleep {gang.seconds}; echo >>{ended}"]

    def read(self) -> tuple[dict[int, float], dict[int, float]]:
        """When each began, and when each ended, that did; seconds since the epoch."""
        begun: dict[int, float] = {}
        ended: dict[int, float] = {}
        with os.scandir(self.folder) as found:
            for entry in found:
                number, _, word = entry.name.partition(".")
                (begun if word == "begun" else ended)[int(number)] = entry.stat().st_mtime
        return begun, ended


def ideal_s(queue: Sequence[Gang], nodes: int) -> float:
    """No schedule ends sooner: all work on all nodes, or the longest gang."""
    longest = max(gang.seconds for gang in queue)
    return max(longest, sum(gang.nodes * gang.seconds for gang in queue) / nodes)
