"""What one run of the queue came to, in the same words for both who ran it."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.clusters.watch import Watch
from bench.clusters.work import Gang


class Side(NamedTuple):
    """What a side hands over when its last gang has ended."""

    name: str
    submit_s: float
    released_at: float
    #: Gang's number -> its job in Slurm.
    jobs: Mapping[int, int]
    #: When the gangs' own processes began and ended.
    begun: Mapping[int, float]
    ended: Mapping[int, float]
    #: Milliseconds that the one who decides spent, for each gang.
    decided_ms: float
    cpu_s: Mapping[str, float]
    load: float


class Figures(NamedTuple):
    """Seconds are from the release of the queue."""

    makespan_s: float
    #: Every gang that had nodes before any ended runs.
    wave_s: float
    wave_gangs: int
    peak_nodes: int
    #: Leaf switches of a gang; those over the fewest that could hold it; and by its number of nodes.
    racks: float
    racks_over_least: float
    racks_by_size: Mapping[int, float]
    #: From Slurm's giving of nodes until the gang's own process, and from its end until Slurm knew.
    start_s: float
    end_s: float


def figures(side: Side, watch: Watch, queue: Sequence[Gang], rack_of: Mapping[str, str]) -> Figures:
    """Both sides are measured by the marks of the gangs' own processes and by Slurm's log."""
    starts = {number: watch.starts[job] for number, job in side.jobs.items()}
    first_end = min(side.ended.values())
    wave = [number for number, start in starts.items() if start.at < first_end]
    size = {gang.number: gang.nodes for gang in queue}
    changes = [(at, size[k]) for k, at in side.begun.items()] + [
        (at, -size[k]) for k, at in side.ended.items()
    ]
    held = np.cumsum([count for _, count in sorted(changes)])
    largest = max(np.unique(list(rack_of.values()), return_counts=True)[1])
    spans = np.array(
        [[len({rack_of[node] for node in starts[k].nodes}), -(-size[k] // largest)] for k in starts], float
    )
    sizes = np.array([size[number] for number in starts])
    return Figures(
        makespan_s=max(side.ended.values()) - side.released_at,
        wave_s=max(side.begun[number] for number in wave) - side.released_at,
        wave_gangs=len(wave),
        peak_nodes=int(held.max()),
        racks=float(spans[:, 0].mean()),
        racks_over_least=float((spans[:, 0] / spans[:, 1]).mean()),
        racks_by_size={n: round(float(spans[sizes == n, 0].mean()), 3) for n in sorted(set(size.values()))},
        start_s=float(np.median([side.begun[k] - start.at for k, start in starts.items()])),
        end_s=float(np.median([watch.ends[job].at - side.ended[k] for k, job in side.jobs.items()])),
    )


class Cpu:
    """CPU seconds of this machine and of some processes, since this was made."""

    def __init__(self, **pids: int) -> None:
        self._pids = pids
        self._busy, self._before = _busy_s(), {name: of(pid) for name, pid in pids.items()}

    def spent(self) -> dict[str, float]:
        """By name; `machine` is all that ran here, others' work included."""
        own = {name: round(of(pid) - self._before[name], 2) for name, pid in self._pids.items()}
        return own | {"machine": round(_busy_s() - self._busy, 2)}


def of(pid: int) -> float:
    """CPU seconds that a process used, and its children that are over."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _busy_s() -> float:
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, interrupt, soft = map(int, fields[:7])
    return (user + nice + system + interrupt + soft) / os.sysconf("SC_CLK_TCK")


class Progress:
    """A line every few seconds while a side runs."""

    def __init__(self, name: str, every_s: float = 5.0) -> None:
        self._name, self._every_s = name, every_s
        self._began = self._told = time.monotonic()

    def say(self, text: str, *, now: bool = False) -> None:
        """If it is time to."""
        at = time.monotonic()
        if now or at - self._told >= self._every_s:
            self._told = at
            load = os.getloadavg()[0]
            print(f"  {self._name} {at - self._began:5.0f} s: {text}; load {load:.1f}", flush=True)
