"""One real Slurm of 16 nodes for the whole session, as it was at first for every test that asks for it."""

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, available


@pytest.fixture(scope="session")
def slurm_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if problem := available():
        pytest.skip(f"Slurm: {problem}")
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def slurm(slurm_running: Cluster) -> Cluster:
    """16 idle nodes of 8 chips, nothing running."""
    slurm_running.clear()
    return slurm_running
