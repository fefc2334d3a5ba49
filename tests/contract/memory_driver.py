"""The world of the in-memory engine: three simulated nodes in virtual time."""

from pathlib import Path

from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import orders
from myriad.twin.engine import MemoryEngine
from myriad.twin.world import World
from tests import build


class MemoryDriver:
    """One world; engines come and go over it."""

    can_pause = True

    def __init__(self, home: Path) -> None:
        del home  # nothing of it is on disk
        self.site = build.site(racks=1, nodes_per_rack=3, spares=0)
        self.world = World(self.site)

    def engine(self) -> MemoryEngine:
        return MemoryEngine(self.world)

    def work(self, code: int = 0) -> orders.Launch:
        return orders.Launch(config={"exit_code": code})

    def talk(self) -> orders.Launch:
        return orders.Launch(config={"steps": 5, "tokens": 10, "lingers": True})

    def finish(self, attempt: AttemptId) -> None:
        self.world.finish(attempt)

    def starts(self, attempt: AttemptId, node: NodeId) -> int:
        return self.world.starts.get((attempt, node), 0)

    def runs(self, attempt: AttemptId, node: NodeId) -> bool:
        return self.world.runs(attempt, node)

    def kill_node(self, node: NodeId) -> None:
        self.world.kill_node(node)

    def pause_node(self, node: NodeId) -> None:
        self.world.pause_node(node)

    def resume_node(self, node: NodeId) -> None:
        self.world.resume_node(node)

    async def dispose(self) -> None:
        """Nothing outlives the object."""
