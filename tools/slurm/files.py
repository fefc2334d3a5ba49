"""The configuration files of a cluster: slurm.conf, gres.conf, topology.conf, slurmdbd.conf; from a `Shape`.

One way for root and for ordinary users: the daemons run as whoever starts them, munged has its own key and
socket under the folder, and the chips are plain files (slurmd asks only that they exist). Run by an ordinary
user, the cluster runs jobs of that user alone.
"""

import getpass
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PARTITION = "main"


class Ports(NamedTuple):
    """Of slurmctld, the first of the slurmd, which follow one another, and slurmdbd (0: there is none)."""

    controller: int
    first_node: int
    accounting: int = 0


class Shape(NamedTuple):
    """How large the cluster is."""

    nodes: int = 16
    chips: int = 8
    cpus: int = 16

    @property
    def names(self) -> list[str]:
        """Node names in order: node01 … node16."""
        return [f"node{k:0{self.digits}d}" for k in range(1, self.nodes + 1)]

    @property
    def digits(self) -> int:
        """Digits of a node's number, so that names sort as numbers do."""
        return max(2, len(str(self.nodes)))

    @property
    def leaf_nodes(self) -> int:
        """Nodes under one leaf switch."""
        return 4 if self.nodes <= 64 else 32

    @property
    def pod_leaves(self) -> int:
        """Leaves under one pod switch."""
        return 2 if self.nodes <= 64 else 8

    def span(self, first: int, last: int) -> str:
        """The nodes of these numbers as Slurm writes them."""
        return f"node[{first:0{self.digits}d}-{last:0{self.digits}d}]"


def settings(folder: Path, shape: Shape, ports: Ports) -> dict[str, object]:
    """Every key of slurm.conf but nodes and partition."""
    user = getpass.getuser()
    return {
        "ClusterName": "here",
        "SlurmctldHost": f"{platform.node()}(127.0.0.1)",
        "SlurmctldPort": ports.controller,
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        "CredType": "cred/munge",
        # a job that is requeued waits for its old credential to expire: 120 s unless said; 5 is the least
        "AuthInfo": f"socket={folder}/munge/socket,cred_expire=5",
        "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool" / "%n",
        "SlurmctldPidFile": folder / "run" / "slurmctld.pid",
        "SlurmdPidFile": folder / "run" / "%n.pid",
        "SlurmctldLogFile": folder / "log" / "slurmctld.log",
        "SlurmdLogFile": folder / "log" / "%n.log",
        "SlurmctldDebug": "info",
        "SlurmdDebug": "info",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "MpiDefault": "none",
        "MailProg": "/bin/true",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "sched_interval=2,sched_min_interval=0,batch_sched_delay=0,bf_interval=2",
        "TopologyPlugin": "topology/tree",
        "PriorityType": "priority/basic",
        # a node that was silent comes back by itself; one that somebody set down or drained stays so
        "ReturnToService": 1,
        # a silent node is down after about three times this; many nodes on few cores answer late
        "SlurmdTimeout": 10 if shape.nodes <= 64 else 300,
        "MessageTimeout": 10 if shape.nodes <= 64 else 100,
        "SlurmctldTimeout": 30,
        "KillWait": 2,
        # slurmd drains a node where a process had no turn to die for so long: 60 s unless said, and Slurm
        # itself wants five times MessageTimeout
        "UnkillableStepTimeout": 300 if shape.nodes <= 64 else 500,
        "InactiveLimit": 0,
        "MinJobAge": 300,
        "MaxJobCount": 50_000,
        "JobRequeue": 0,
        "TreeWidth": 64,
        "GresTypes": "gpu",
        "AccountingStorageType": "accounting_storage/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "JobCompType": "jobcomp/none",
        # the nodes are larger than this machine
        "SlurmdParameters": "config_overrides",
    }


def configuration(folder: Path, shape: Shape, ports: Ports, changed: Mapping[str, object]) -> dict[str, str]:
    """Contents of the files by name; `changed` are keys of slurm.conf that shall be otherwise."""
    last_port = ports.first_node + shape.nodes - 1
    # sockets and cores are told: many sockets of one core, the default, make decisions several times slower
    node = (
        f"NodeName={shape.span(1, shape.nodes)} NodeHostname={platform.node()} NodeAddr=127.0.0.1 "
        f"Port=[{ports.first_node}-{last_port}] Sockets=1 CoresPerSocket={shape.cpus} ThreadsPerCore=1 "
        f"RealMemory=1000 Gres=gpu:{shape.chips} State=UNKNOWN"
    )
    partition = f"PartitionName={PARTITION} Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO"
    keys = settings(folder, shape, ports) | (accounting(folder, ports) if ports.accounting else {}) | changed
    lines = [*(f"{key}={value}" for key, value in keys.items()), node, partition]
    return {
        "slurm.conf": "\n".join(lines) + "\n",
        "gres.conf": f"Name=gpu File={folder}/dev/gpu[0-{shape.chips - 1}]\n",
        "topology.conf": topology(shape),
    }


def accounting(folder: Path, ports: Ports) -> dict[str, object]:
    """What slurm.conf says of accounts: nobody submits without one, and none beyond its limits."""
    return {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": platform.node(),
        "AccountingStoragePort": ports.accounting,
        # not a password: where munge listens, when slurmdbd is meant
        "AccountingStoragePass": folder / "munge" / "socket",
        "AccountingStorageEnforce": "associations,limits,qos",
        "AccountingStorageTRES": "gres/gpu",
    }


def slurmdbd(folder: Path, ports: Ports) -> str:
    """slurmdbd.conf, which nobody else may read: slurmdbd insists on that."""
    user = getpass.getuser()
    keys = {
        "DbdHost": platform.node(),
        "DbdAddr": "127.0.0.1",
        "DbdPort": ports.accounting,
        "SlurmUser": user,
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/munge/socket",
        "CommunicationParameters": "NoInAddrAny",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",
        "StorageUser": user,
        "StorageLoc": "slurm",
        "PidFile": folder / "run" / "slurmdbd.pid",
        "LogFile": folder / "log" / "slurmdbd.log",
        "DebugLevel": "info",
    }
    return "".join(f"{key}={value}\n" for key, value in keys.items())


def topology(shape: Shape) -> str:
    """A tree: leaves of nodes, pods of leaves, one core."""
    leaves = [
        (first, min(shape.nodes, first + shape.leaf_nodes - 1))
        for first in range(1, shape.nodes + 1, shape.leaf_nodes)
    ]
    pods = [
        (first, min(len(leaves), first + shape.pod_leaves - 1))
        for first in range(1, len(leaves) + 1, shape.pod_leaves)
    ]
    lines = [f"SwitchName=leaf{k} Nodes={shape.span(*span)}" for k, span in enumerate(leaves, 1)]
    lines += [f"SwitchName=pod{k} Switches=leaf[{low}-{high}]" for k, (low, high) in enumerate(pods, 1)]
    lines += [f"SwitchName=core Switches=pod[1-{len(pods)}]"]
    return "\n".join(lines) + "\n"
