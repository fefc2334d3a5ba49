"""A sweep on several Ray nodes of this machine, one of which is killed: the result stays the same."""

import time
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

    def heard(done: int) -> None:
        if done == 4:
            before = begun()
            while not (fresh := begun() - before):
                time.sleep(0.01)
            # a task that has only just been begun: it will not be done when its node is gone
            at = next(iter(fresh)).partition("@")[2]
            victim = next(node for node in cluster.worker_nodes if node.node_id == at)
            cluster.remove_node(victim, allow_graceful=False)
            killed.append(at)

    def begun() -> set[str]:
        return {path.name for path in tmp_path.iterdir()}

    found = sweeps.run(asked(marks=str(tmp_path)), workers.stand_in, executor, heard)
    assert found == sweeps.run(asked(), workers.stand_in, Here())
    again = len(begun()) - len({name.partition("@")[0] for name in begun()})
    assert len(killed) == 1 and again >= 1, "what the killed node had begun was begun again elsewhere"
