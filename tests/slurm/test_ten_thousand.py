"""A real Slurm of 10,000 chips held by Myriad: 2,000 gangs are placed, started and ended, without drift."""

import tempfile
from pathlib import Path

import pytest
from bench import cluster
from bench.clusters import work
from tools.slurm.cluster import Cluster

from tests.slurm.cluster import available

_SECONDS = (1.0, 3.0)


def _held(folder: Path, nodes: int, gangs: int) -> None:
    if problem := available():
        pytest.skip(f"Slurm: {problem}")
    queue = work.gangs(gangs, 7, *_SECONDS)
    queue = [gang._replace(nodes=min(gang.nodes, nodes)) for gang in queue]
    with Cluster(folder / "slurm", nodes, 8, 64, cluster.HELD) as slurm:
        racks = cluster.racks_of(slurm)
        _, made, differences = cluster.held_by_myriad(slurm, folder / "held", queue, racks)
    assert differences == []
    assert made.makespan_s >= work.ideal_s(queue, nodes)


def _in_short(nodes: int, gangs: int) -> None:
    """In a folder of a short name: Slurm's sockets have the number of a job in theirs."""
    with tempfile.TemporaryDirectory(prefix="myriad-", ignore_cleanup_errors=True) as folder:
        _held(Path(folder), nodes, gangs)


def test_gangs_of_all_sizes_leave_both_books_alike() -> None:
    _in_short(16, 20)


@pytest.mark.slow  # five minutes on two cores: 1,250 slurmd, and 2,000 batch jobs that really run
@pytest.mark.timeout(2400)
def test_two_thousand_gangs_on_ten_thousand_chips() -> None:
    _in_short(1250, 2000)
