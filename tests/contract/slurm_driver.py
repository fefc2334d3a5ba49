"""The world of the Slurm engine: three nodes of a real Slurm on this machine."""

import asyncio
import os
import time
from pathlib import Path

from myriad.engines.common import layout, procs
from myriad.engines.slurm.config import Config
from myriad.engines.slurm.engine import SlurmEngine
from myriad.fleet import site
from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import orders
from tests.contract.local_driver import _TALK, _WORK, program
from tests.slurm.cluster import Cluster

#: One chip of each of three nodes: gangs share nodes with nobody here, so that is a part of a node.
_SITE = """
name: test
chip: local-cpu
chips_per_node: {chips}
pods: [{{name: p, hosts: {{r1: "{hosts}"}}}}]
"""


class SlurmDriver:
    """Three nodes of the session's cluster, and a shared folder of their own."""

    #: With nothing running on a node only slurmctld's own pings tell, and they are the channel.
    can_pause = False

    def __init__(self, data: Path, cluster: Cluster) -> None:
        self.data, self.cluster = data, cluster
        os.environ["SLURM_CONF"] = str(cluster.conf)
        self._names = cluster.names[:3]
        self.site = site.parse(_SITE.format(chips=1, hosts=",".join(self._names)), "test site")
        self.config = Config(lease="3s", burn_in="quick", look_every="1s", options=("--mem=0",))

    def engine(self) -> SlurmEngine:
        return SlurmEngine(self.data, self.site, time.time_ns, self.config)

    def work(self, code: int = 0) -> orders.Launch:
        return program(_WORK, str(code))

    def talk(self) -> orders.Launch:
        return program(_TALK)

    def finish(self, attempt: AttemptId) -> None:
        self._output.mkdir(parents=True, exist_ok=True)
        (self._output / f"finish-{attempt}").touch()

    def starts(self, attempt: AttemptId, node: NodeId) -> int:
        file = self._output / f"started-{attempt}-{node}"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def runs(self, attempt: AttemptId, node: NodeId) -> bool:
        wanted = {f"MYRIAD_OUTPUT_DIR={self._output}", f"MYRIAD_ATTEMPT={attempt}", f"MYRIAD_NODE={node}"}
        return any(wanted <= set(procs.environment(p.pid)) for p in procs.table())

    def kill_node(self, node: NodeId) -> None:
        self.cluster.kill_slurmd(node)

    def pause_node(self, node: NodeId) -> None:
        raise NotImplementedError

    def resume_node(self, node: NodeId) -> None:
        raise NotImplementedError

    async def dispose(self) -> None:
        await asyncio.to_thread(self.cluster.clear)
        del os.environ["SLURM_CONF"]

    @property
    def _output(self) -> Path:
        return layout.job_dir(self.data, "job-a") / "output"
