"""The site as people declare it: pods of racks of nodes of chips. One laptop or 6,250 nodes, same file."""

from typing import Literal, NamedTuple

import msgspec

from myriad.catalog import chips
from myriad.kernel import documents
from myriad.kernel.ids import NodeId


class Pod(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Racks that share a scale-out switch level."""

    name: str
    racks: int
    nodes_per_rack: int
    #: Catalogue name of its chip type, and chips of a node; empty and zero mean: as the site says.
    chip: str = ""
    chips_per_node: int = 0
    #: Pods of one core are joined by one more switch level; between cores the path is longest.
    core: str = "core"
    #: Pods or racks on one feed fail together. Empty: the pod has a feed of its own.
    power: str = ""

    def __post_init__(self) -> None:
        if self.racks < 1 or self.nodes_per_rack < 1:
            raise ValueError("racks and nodes_per_rack must be 1 or more")
        if self.chips_per_node < 0 or self.chips_per_node > 64:
            raise ValueError("chips_per_node must be between 1 and 64")
        if self.chip:
            chips.named(self.chip)


class NodePlace(NamedTuple):
    """One node of a site, where it stands and what it holds."""

    node: NodeId
    pod: str
    rack: str  # unique in the site: `<pod>/r<k>`
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
        if not 0 <= self.fixed_spares < self.node_count:
            raise ValueError(f"spares must be 0 to {self.node_count - 1}, one node must be left")

    @property
    def node_count(self) -> int:
        """Nodes of the whole site."""
        return sum(pod.racks * pod.nodes_per_rack for pod in self.pods)

    @property
    def fixed_spares(self) -> int:
        """Hot spares by number; 0 if each pod's are worked out."""
        return 0 if self.spares == "auto" else self.spares

    @property
    def chip_count(self) -> int:
        """Chips of the whole site."""
        return sum(pod.racks * pod.nodes_per_rack * self.chips_in(pod) for pod in self.pods)

    def chips_in(self, pod: Pod) -> int:
        """Chips of each node of the pod."""
        if pod.chips_per_node:
            return pod.chips_per_node
        if pod.chip and pod.chip != self.chip:
            return int(chips.named(pod.chip).chips_per_node.value)
        return self.chips_per_node

    def kinds(self) -> dict[str, tuple[int, int]]:
        """Each chip type of the site: nodes that have it, and chips of the largest of these nodes."""
        found: dict[str, tuple[int, int]] = {}
        for pod in self.pods:
            nodes, largest = found.get(pod.chip or self.chip, (0, 0))
            here = pod.racks * pod.nodes_per_rack
            found[pod.chip or self.chip] = (nodes + here, max(largest, self.chips_in(pod)))
        return found

    def places(self) -> tuple[NodePlace, ...]:
        """Every node in site order; names are `n<k>`, k counting from 0 over the site."""
        found: list[NodePlace] = []
        for pod in self.pods:
            count, kind, power = self.chips_in(pod), pod.chip or self.chip, pod.power or pod.name
            for rack in range(pod.racks):
                for _ in range(pod.nodes_per_rack):
                    node, place = NodeId(f"n{len(found)}"), f"{pod.name}/r{rack}"
                    found.append(NodePlace(node, pod.name, place, count, kind, pod.core, power))
        return tuple(found)


def parse(text: str, source: str) -> Site:
    """The site of a YAML text. Raises UserError naming the field."""
    tree = next(documents.documents(text, source))
    return documents.convert(tree, Site, source)
