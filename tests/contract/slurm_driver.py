"""The world of the Slurm engine: three nodes of a real Slurm on this machine."""

import asyncio
import os
import time
from pathlib import Path

from myriad.engines.slurm.config import Config
from myriad.engines.slurm.engine import SlurmEngine
from myriad.fleet import site
from myriad.kernel.ids import NodeId
from tests.contract.local_driver import Programs
from tests.slurm.cluster import Cluster

#: One chip of each of three nodes: gangs share nodes with nobody here, so that is a part of a node.
_SITE = """
name: test
chip: local-cpu
chips_per_node: {chips}
pods: [{{name: p, hosts: {{r1: "{hosts}"}}}}]
"""


class SlurmDriver(Programs):
    """Three nodes of the session's cluster, and a shared folder of their own."""

    #: With nothing running on a node only slurmctld's own pings tell, and they are the channel.
    can_pause = False

    def __init__(self, data: Path, cluster: Cluster) -> None:
        super().__init__(data)
        self.cluster = cluster
        os.environ["SLURM_CONF"] = str(cluster.conf)
        self._names = cluster.names[:3]
        self.site = site.parse(_SITE.format(chips=1, hosts=",".join(self._names)), "test site")
        self.config = Config(lease="3s", burn_in="quick", look_every="1s", options=("--mem=0",))

    def engine(self) -> SlurmEngine:
        return SlurmEngine(self.data, self.site, time.time_ns, self.config)

    def kill_node(self, node: NodeId) -> None:
        self.cluster.kill_slurmd(node)

    def pause_node(self, node: NodeId) -> None:
        raise NotImplementedError

    def resume_node(self, node: NodeId) -> None:
        raise NotImplementedError

    async def dispose(self) -> None:
        await asyncio.to_thread(self.cluster.clear)
        del os.environ["SLURM_CONF"]
