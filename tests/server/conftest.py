"""A server over the simulated world, shared by tests that only ask; and one over real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.harness import Server, running


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A control plane over the simulated world, whose tenants and jobs pile up."""
    with running(tmp_path_factory.mktemp("asked"), "--engine", "memory") as server:
        server.wait_ready()
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A control plane over the simulated world, all new; its nodes may still be on their way."""
    with running(tmp_path / "home", "--engine", "memory") as found:
        yield found


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A control plane over real processes, one for the tests of a module."""
    with running(tmp_path_factory.mktemp("local")) as found:
        found.wait_ready()
        yield found
