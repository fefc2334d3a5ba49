"""A journal that was restored from a backup, over a real Slurm that runs gangs which it does not know."""

from pathlib import Path

import pytest

from tests.server.harness import wait_for
from tests.server.restoring import Past
from tests.slurm import plane
from tests.slurm.cluster import Cluster


@pytest.mark.timeout(240)
def test_what_a_restored_journal_does_not_know_is_ended_and_what_it_knows_goes_on(
    slurm: Cluster, tmp_path: Path
) -> None:
    with plane.running(slurm, tmp_path) as server:
        past = Past(server, server.home, tmp_path, nodes=slurm.shape.nodes, chips=slurm.shape.chips)
        past.check(past.go_back())
        wait_for(lambda: not slurm.run("squeue", "-ho", "%j").strip(), patience_s=plane.PATIENCE_S)
