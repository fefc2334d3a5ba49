"""One real Slurm of 16 nodes for the whole session, as it was at first for every test that asks for it."""

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, available


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if problem := available():
        pytest.skip(f"Slurm: {problem}")
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def slurm(_running: Cluster) -> Cluster:
    """16 idle nodes of 8 chips, nothing running."""
    _running.clear()
    return _running
