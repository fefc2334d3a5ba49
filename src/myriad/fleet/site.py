"""The site as people declare it: pods of racks of nodes of chips. One laptop or 6,250 nodes, same file."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from myriad.catalog import chips
from myriad.fleet import hostlist
from myriad.kernel import documents
from myriad.kernel.ids import NodeId

_RACK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Pod(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Racks that share a scale-out switch level: so many alike, or named ones with their hosts."""

    name: str
    racks: int = 0
    nodes_per_rack: int = 0
    #: Catalogue name of its chip type, and chips of a node; empty and zero mean: as the site says.
    chip: str = ""
    chips_per_node: int = 0
    #: Pods of one core are joined by one more switch level; between cores the path is longest.
    core: str = "core"
    #: Pods or racks on one feed fail together. Empty: the pod has a feed of its own.
    power: str = ""
    #: Name of a rack -> its hosts as in `node[01-04,07]`. Instead of racks and nodes_per_rack, where nodes
    #: have names already.
    hosts: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.hosts:
            self._check_hosts()
        elif self.racks < 1 or self.nodes_per_rack < 1:
            raise ValueError(
                "racks and nodes_per_rack must be 1 or more, or hosts name the nodes of each rack"
            )
        if self.chips_per_node < 0 or self.chips_per_node > 64:
            raise ValueError("chips_per_node must be between 1 and 64")
        if self.chip:
            chips.named(self.chip)

    def _check_hosts(self) -> None:
        if self.racks or self.nodes_per_rack:
            raise ValueError(
                f"pod {self.name} has hosts, which say it all: leave out racks and nodes_per_rack"
            )
        for rack, text in self.hosts.items():
            if not _RACK.fullmatch(rack):
                raise ValueError(
                    f"hosts: {rack!r} is no name for a rack. Use letters, digits, '-', '_' and '.'"
                )
            try:
                hostlist.expand(text)
            except ValueError as error:
                raise ValueError(f"hosts.{rack}: {error}") from None

    @property
    def rack_sizes(self) -> tuple[int, ...]:
        """Nodes of each rack, in order."""
        if self.hosts:
            return tuple(len(hostlist.expand(text)) for text in self.hosts.values())
        return (self.nodes_per_rack,) * self.racks

    @property
    def node_count(self) -> int:
        """Nodes of the pod."""
        return sum(self.rack_sizes)

    def racks_from(self, first: int) -> Iterator[tuple[str, list[NodeId]]]:
        """Each rack and its nodes: the hosts named, or `n<k>` with k counting from `first`."""
        for named, text in self.hosts.items():
            yield f"{self.name}/{named}", [NodeId(name) for name in hostlist.expand(text)]
        for rack in range(self.racks):
            start = first + rack * self.nodes_per_rack
            yield f"{self.name}/r{rack}", [NodeId(f"n{start + k}") for k in range(self.nodes_per_rack)]


class NodePlace(NamedTuple):
    """One node of a site, where it stands and what it holds."""

    node: NodeId
    pod: str
    rack: str  # unique in the site: `<pod>/r<k>` or `<pod>/<name>`
    chips: int  # how many
    chip: str = ""  # catalogue name of the type
    core: str = "core"
    power: str = ""


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A data centre: its chip type, its topology, and how many nodes are kept as hot spares."""

    name: str
    #: Catalogue name of the chip type; pods may have another.
    chip: str
    pods: tuple[Pod, ...]
    #: Zero means: as the catalogue says for the chip.
    chips_per_node: int = 0
    #: Hot spares: nodes booted, qualified and kept idle for replacement. `auto`: as many in each pod as the
    #: observed losses and repairs call for.
    spares: int | Literal["auto"] = 0

    def __post_init__(self) -> None:
        kind = chips.named(self.chip)
        if self.chips_per_node < 0 or self.chips_per_node > 64:
            raise ValueError("chips_per_node must be between 1 and 64")
        if self.chips_per_node == 0:
            count = int(kind.chips_per_node.value)
            msgspec.structs.force_setattr(self, "chips_per_node", count)
        names = [pod.name for pod in self.pods]
        if not names or len(set(names)) != len(names):
            raise ValueError("pods must be one or more, each with a name of its own")
        if any(pod.hosts for pod in self.pods):
            self._check_names()
        if not 0 <= self.fixed_spares < self.node_count:
            raise ValueError(f"spares must be 0 to {self.node_count - 1}, one node must be left")

    def _check_names(self) -> None:
        racks: dict[NodeId, str] = {}
        for place in self.places():
            if place.node in racks:
                where = f"in {racks[place.node]} and in {place.rack}"
                raise ValueError(f"hosts: {place.node} is {where}; name each host once")
            racks[place.node] = place.rack

    @property
    def node_count(self) -> int:
        """Nodes of the whole site."""
        return sum(pod.node_count for pod in self.pods)

    @property
    def fixed_spares(self) -> int:
        """Hot spares by number; 0 if each pod's are worked out."""
        return 0 if self.spares == "auto" else self.spares

    @property
    def chip_count(self) -> int:
        """Chips of the whole site."""
        return sum(pod.node_count * self.chips_in(pod) for pod in self.pods)

    def chips_in(self, pod: Pod) -> int:
        """Chips of each node of the pod."""
        if pod.chips_per_node:
            return pod.chips_per_node
        if pod.chip and pod.chip != self.chip:
            return int(chips.named(pod.chip).chips_per_node.value)
        return self.chips_per_node

    def kinds(self) -> dict[str, tuple[int, int]]:
        """Each chip type of the site: nodes that have it, and chips of the largest of these nodes."""
        return {kind: (sum(nodes.values()), max(nodes)) for kind, nodes in self.sizes().items()}

    def sizes(self) -> dict[str, dict[int, int]]:
        """Of each chip type of the site: how many nodes (values) have so many chips (keys)."""
        found: dict[str, dict[int, int]] = {}
        for pod in self.pods:
            nodes, chips_in = found.setdefault(pod.chip or self.chip, {}), self.chips_in(pod)
            nodes[chips_in] = nodes.get(chips_in, 0) + pod.node_count
        return found

    def places(self) -> tuple[NodePlace, ...]:
        """Every node in site order; without names of their own they are `n<k>`, k from 0 over the site."""
        found: list[NodePlace] = []
        for pod in self.pods:
            count, kind, power = self.chips_in(pod), pod.chip or self.chip, pod.power or pod.name
            for rack, nodes in pod.racks_from(len(found)):
                found += [NodePlace(node, pod.name, rack, count, kind, pod.core, power) for node in nodes]
        return tuple(found)


def parse(text: str, source: str) -> Site:
    """The site of a YAML text. Raises UserError naming the field."""
    tree = next(documents.documents(text, source))
    return documents.convert(tree, Site, source)
