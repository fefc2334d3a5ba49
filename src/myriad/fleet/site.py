"""The site as people declare it: pods of racks of nodes of chips. One laptop or 6,250 nodes, same file."""

from typing import NamedTuple

import msgspec

from myriad.catalog import chips
from myriad.kernel import documents
from myriad.kernel.ids import NodeId


class Pod(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Racks that share a scale-out switch level."""

    name: str
    racks: int
    nodes_per_rack: int

    def __post_init__(self) -> None:
        if self.racks < 1 or self.nodes_per_rack < 1:
            raise ValueError("racks and nodes_per_rack must be 1 or more")


class NodePlace(NamedTuple):
    """One node of a site, where it stands and what it holds."""

    node: NodeId
    pod: str
    rack: str  # unique in the site: `<pod>/r<k>`
    chips: int  # how many


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A data centre: its chip type, its topology, and how many nodes are kept as hot spares."""

    name: str
    #: Catalogue name of the chip type.
    chip: str
    pods: tuple[Pod, ...]
    #: Zero means: as the catalogue says for the chip.
    chips_per_node: int = 0
    #: Hot spares: nodes booted, qualified and kept idle for replacement.
    spares: int = 0

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
        if not 0 <= self.spares < self.node_count:
            raise ValueError(f"spares must be 0 to {self.node_count - 1}, one node must be left")

    @property
    def node_count(self) -> int:
        """Nodes of the whole site."""
        return sum(pod.racks * pod.nodes_per_rack for pod in self.pods)

    @property
    def chip_count(self) -> int:
        """Chips of the whole site."""
        return self.node_count * self.chips_per_node

    def places(self) -> tuple[NodePlace, ...]:
        """Every node in site order; names are `n<k>`, k counting from 0 over the site."""
        found: list[NodePlace] = []
        for pod in self.pods:
            for rack in range(pod.racks):
                for _ in range(pod.nodes_per_rack):
                    node = NodeId(f"n{len(found)}")
                    place = NodePlace(node, pod.name, f"{pod.name}/r{rack}", self.chips_per_node)
                    found.append(place)
        return tuple(found)


def parse(text: str, source: str) -> Site:
    """The site of a YAML text. Raises UserError naming the field."""
    tree = next(documents.documents(text, source))
    return documents.convert(tree, Site, source)
