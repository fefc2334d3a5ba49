"""A sweep on several Ray nodes of this machine, one of which is killed: the result stays the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from myriad.kernel.errors import UserError
from myriad.studies import sweeps
from tests.studies import workers
from tests.studies.test_sweeps import Here, asked

ray = pytest.importorskip("ray", reason="Ray is not installed: make ray")
#: Ray's own start leaves files and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without CPUs, and two nodes of one each; all processes of this machine."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 << 20, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(2):
        found.add_node(num_cpus=1, object_store_memory=80 << 20)
    yield found
    ray.shutdown()
    found.shutdown()


def test_a_cluster_that_does_not_answer_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from myriad.studies.ray_executor import Ray

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match="nobody listens there"):
        Ray()


@pytest.mark.slow  # a cluster of processes takes ten seconds and more to start
def test_a_killed_node_changes_nothing(cluster: Any, tmp_path: Path) -> None:
    from myriad.studies.ray_executor import Ray

    executor = Ray(cluster.address)
    assert (executor.nodes, executor.places) == (3, 2)
    killed: list[str] = []

    def begun() -> list[str]:
        """Nodes where the task that takes for ever was begun."""
        return [path.name.partition("@")[2] for path in tmp_path.glob(f"{workers.STUCK}@*")]

    def heard(_done: int) -> None:
        if begun() and not killed:
            victim = next(node for node in cluster.worker_nodes if node.node_id in begun())
            cluster.remove_node(victim, allow_graceful=False)
            killed.append(victim.node_id)

    found = sweeps.run(asked(marks=str(tmp_path)), workers.stand_in, executor, heard)
    assert found == sweeps.run(asked(), workers.stand_in, Here())
    assert len(killed) == 1 and set(killed) < set(begun()), "begun again elsewhere"
