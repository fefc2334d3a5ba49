"""What Slurm knows of its nodes, their generic resources and their network: `myriad site import-slurm`.

    scontrol show nodes, partition, topology, config ──> Cluster ──> drafting ──> a site file

Reading is pure and tested on the texts of several releases; only `ask` runs Slurm's programs.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from myriad.engines.slurm.asking import commands
from myriad.fleet import hostlist
from myriad.kernel.errors import UserError

_FIELD = re.compile(r"(?:^|\s)([A-Za-z]\w*)=(\S*)")
_NOTHING = ("", "(null)", "N/A", "NONE", "none")
_NO_TOPOLOGY = ("", "topology/none", "topology/default", "topology/flat")
_MULTIPLES = {"": 1, "K": 1024, "M": 1024**2}
#: Fields of a record as scontrol writes them.
Fields = Mapping[str, str]


class Host(NamedTuple):
    """One node of Slurm."""

    name: str
    chips: int
    #: Of the generic resource, as in gpu:h100:8; empty without one.
    kind: str
    features: frozenset[str]
    partitions: frozenset[str]


class Domain(NamedTuple):
    """Nodes that are near one another: those under a switch, or of a block."""

    name: str
    level: int
    nodes: frozenset[str]


class Cluster(NamedTuple):
    """What Slurm told."""

    name: str
    hosts: tuple[Host, ...]
    partitions: Mapping[str, Fields]
    #: Empty: it knows of no topology.
    domains: tuple[Domain, ...]


# ---- asking and reading -----------------------------------------------------------------------------


def ask(gres: str) -> Cluster:
    """What the Slurm of this machine says. Raises UserError."""
    try:
        config, shown = _scontrol("config"), _scontrol("nodes")
        partitions = _scontrol("partition")
        plugin = re.search(r"^TopologyPlugin\s*=\s*(\S*)", config, re.MULTILINE)
        tree = _scontrol("topology") if plugin and plugin[1] not in _NO_TOPOLOGY else ""
    except (commands.SlurmError, commands.SlurmSilent) as error:
        raise UserError(
            str(error),
            field="Slurm",
            remedy="Slurm's programs must work here: does sinfo? Is SLURM_CONF right?",
        ) from None
    return read(config, shown, partitions, tree, gres)


def _scontrol(what: str) -> str:
    return commands.run_now(["scontrol", "--all", "--oneliner", "show", what])


def read(config: str, shown: str, partitions: str, tree: str, gres: str) -> Cluster:
    """The texts of `scontrol --all --oneliner show config|nodes|partition|topology` as values."""
    name = re.search(r"^ClusterName\s*=\s*(\S+)", config, re.MULTILINE)
    hosts = sorted(hosts_of(shown, gres), key=lambda host: natural(host.name))
    known = {fields["PartitionName"]: fields for fields in _records(partitions, "PartitionName")}
    return Cluster(name[1] if name else "slurm", tuple(hosts), known, tuple(domains_of(tree)))


def hosts_of(text: str, gres: str) -> Iterator[Host]:
    """Nodes of `show nodes`; those that do not exist yet (FUTURE) are none."""
    for fields in _records(text, "NodeName"):
        if "FUTURE" in fields.get("State", "").upper():
            continue
        count, kind = chips_of(fields.get("Gres", ""), gres)
        features, partitions = (_names(fields.get(key, "")) for key in ("AvailableFeatures", "Partitions"))
        yield Host(fields["NodeName"], count, kind, features, partitions)


def chips_of(text: str, gres: str) -> tuple[int, str]:
    """How many of a generic resource, and of which type, `gpu:h100:4(S:0),gpu:h100:4(S:1),mps:400` has."""
    count, kinds = 0, Counter[str]()
    # what stands in brackets, cores and device numbers, may hold commas
    for part in re.sub(r"\([^)]*\)", "", text).split(","):
        name, *words = part.split(":")
        if name != gres:
            continue
        number = re.fullmatch(r"(\d+)([KM]?)", words[-1]) if words else None
        here = int(number[1]) * _MULTIPLES[number[2]] if number else 1
        kind = ":".join(words[:-1] if number else words)
        count += here
        kinds[kind] += here
    return count, kinds.most_common(1)[0][0] if kinds else ""


def domains_of(text: str) -> Iterator[Domain]:
    """Switches (topology/tree) or blocks (topology/block) of `show topology`."""
    for line in text.splitlines():
        fields = dict(_FIELD.findall(line))
        nodes = fields.get("Nodes", "")
        if nodes in _NOTHING:
            continue
        names = frozenset(hostlist.expand(nodes))
        if name := fields.get("SwitchName"):
            yield Domain(name, int(fields.get("Level", "0")), names)
        elif name := fields.get("BlockName"):
            yield Domain(name, 0, names)
        elif name := fields.get("AggregatedBlock"):
            yield Domain(re.sub(r"[\[\]]", "", name).replace(",", "-"), len(names), names)


def _records(text: str, key: str) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        if line.startswith(f"{key}="):
            # of a key that is there twice the first counts: a reason may hold anything, but comes late
            yield dict(reversed(_FIELD.findall(line)))


def _names(text: str) -> frozenset[str]:
    return frozenset() if text in _NOTHING else frozenset(text.split(","))


def natural(name: str) -> list[tuple[int, str]]:
    """A key to sort names by, so that node9 stands before node10."""
    return [(int(part), part) if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", name)]
