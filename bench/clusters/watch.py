"""What slurmctld itself logs of jobs, whoever had them submitted: where and when each began and ended."""

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from bench.peers.slurm_site import Log
from myriad.fleet import hostlist

_STARTED = re.compile(
    r"\[(?P<at>[^]]+)\] sched(?P<backfill>/backfill)?: "
    r"(?:Allocate JobId=(?P<one>\d+) NodeList=(?P<there>\S+)|"
    r"\w+: Started JobId=(?P<other>\d+) in \S+ on (?P<where>\S+))"
)
_ENDED = re.compile(
    r"\[(?P<at>[^]]+)\] _job_complete: JobId=(?P<job>\d+) (?P<how>WEXITSTATUS|WTERMSIG) (?P<code>\d+)"
)


class Start(NamedTuple):
    """Slurm gave a job its nodes."""

    at: float
    nodes: tuple[str, ...]
    backfilled: bool


class End(NamedTuple):
    """Its batch script was over."""

    at: float
    ok: bool


class Watch:
    """The log, read on as it grows."""

    def __init__(self, log: Path) -> None:
        self._log = Log(log)
        self._log.lines()
        self.starts: dict[int, Start] = {}
        self.ends: dict[int, End] = {}

    def read(self) -> None:
        """Everything new."""
        self.take(self._log.lines())

    def take(self, lines: Iterable[str]) -> None:
        """Starts and ends among these lines."""
        for line in lines:
            if found := _STARTED.match(line):
                nodes = tuple(hostlist.expand(found["there"] or found["where"]))
                job = int(found["one"] or found["other"])
                self.starts[job] = Start(_instant(found["at"]), nodes, bool(found["backfill"]))
            elif found := _ENDED.match(line):
                good = found["how"] == "WEXITSTATUS" and found["code"] == "0"
                self.ends[int(found["job"])] = End(_instant(found["at"]), good)


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
