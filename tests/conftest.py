"""What every test may use."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent.parent))  # tests.build, bench

from bench.peers.postgres import Cluster, missing

from tests.slurm.fixtures import slurm, slurm_running  # noqa: F401 - fixtures for every folder

# workers of pytest-xdist say 80, as if each were a terminal: pipes have no width
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

# how long an example takes says something of the machine, not of the code
settings.register_profile("myriad", deadline=None)
settings.load_profile("myriad")


@pytest.fixture(scope="session")
def volatile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory, where there is such a thing: for many small files that are synced.

    No test of ours pulls the plug, and a sync takes as long as the disk of the machine likes.
    """
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        memory = tmp_path_factory.mktemp("volatile")
    with tempfile.TemporaryDirectory(prefix="myriad-tests-", dir=memory) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A real PostgreSQL server; `database()` of it is a new one. Skips where it is not installed."""
    if why := missing():
        pytest.skip(why)
    # in memory, where there is such a folder: no test of ours pulls the plug, and files go away faster
    with Cluster(memory if (memory := Path("/dev/shm")).is_dir() else None) as cluster:
        yield cluster
