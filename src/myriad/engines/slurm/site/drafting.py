"""The site file of a Slurm cluster: chip types named, pods and racks cut, what people should know said."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import yaml

from myriad.catalog import chips, files
from myriad.engines.slurm.site.importing import Cluster, Domain, Fields, Host, natural
from myriad.fleet import hostlist
from myriad.fleet.site import Site
from myriad.kernel import documents
from myriad.kernel.errors import UserError, near

#: Nodes of a rack where Slurm does not know which nodes are near one another.
BLOCK = 8
_SIZE = re.compile(r"\d+gb$|hbm|sxm\d?$")
#: A part of a chip, as in nvidia_h100_80gb_hbm3_3g.40gb.
_SLICE = re.compile(r"\dg\.\d+gb", re.IGNORECASE)
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")

K = TypeVar("K", bound=Hashable)

#: Slurm starts and ends gangs in its own time, above all while slurmctld is restarted: what is
#: short of these is no failure.
_PATIENCE = {"start_timeout": "10m", "stop_timeout": "1m"}


class Draft(NamedTuple):
    """A site file to be."""

    tree: dict[str, Any]
    #: What people should know, one line each: of the whole, and of each pod.
    remarks: list[str]
    pods: list[str]

    @property
    def text(self) -> str:
        """As YAML; what is to be known stands in comments."""
        lines = [f"# {line}\n" for line in self.remarks]
        for key, value in self.tree.items():
            if key != "pods":
                lines.append(_yaml({key: value}))
                continue
            lines.append("pods:\n")
            for remark, pod in zip(self.pods, value, strict=True):
                lines += [f"# {remark}\n", _yaml([pod])]
        return "".join(lines)


class _Pod(NamedTuple):
    name: str
    core: str
    racks: dict[str, list[Host]]

    @property
    def hosts(self) -> list[Host]:
        return [host for rack in self.racks.values() for host in rack]


def draft(cluster: Cluster, *, partition: str, gres: str, told: Sequence[str]) -> Draft:
    """The site of a partition's nodes; `told` are chip types: NAME, or TYPE=NAME. Raises UserError."""
    partition = _partition(cluster.partitions, partition)
    members = [host for host in cluster.hosts if partition in host.partitions]
    hosts = [host for host in members if host.chips]
    if not hosts:
        raise UserError(
            f"has no node with generic resource {gres}",
            field="partition",
            value=partition,
            remedy="Name the resource with --gres: sinfo --format='%N %G' shows it",
        )
    kinds = {kind: _chip(kind, told) for kind in sorted({host.kind for host in hosts})}
    chip = _most(kinds[host.kind] for host in hosts)
    each = _most(host.chips for host in hosts if kinds[host.kind] == chip)
    pods: list[dict[str, Any]] = []
    remarks: list[str] = []
    for pod in _pods(hosts, cluster.domains):
        first = pod.hosts[0]
        racks = {name: hostlist.fold(host.name for host in rack) for name, rack in pod.racks.items()}
        tree: dict[str, Any] = {"name": pod.name, "hosts": racks}
        if kinds[first.kind] != chip:
            tree["chip"] = kinds[first.kind]
        if (kinds[first.kind], first.chips) != (chip, each):
            tree["chips_per_node"] = first.chips
        if pod.core not in ("", "core"):
            tree["core"] = pod.core
        pods.append(tree)
        resource = ":".join(filter(None, (gres, first.kind, str(first.chips))))
        features = f", features {','.join(sorted(first.features))}" if first.features else ""
        remarks.append(f"{len(pod.hosts)} nodes of {resource}{features}")
    site = {"name": cluster.name, "chip": chip, "chips_per_node": each, "pods": pods}
    documents.convert(site, Site, "the site of Slurm's nodes")
    section = {"partition": partition} | ({"gres": gres} if gres != "gpu" else {})
    said = list(_remarks(cluster, partition, kinds, len(members) - len(hosts)))
    return Draft(site | {"policy": {"recover": _PATIENCE}, "slurm": section}, said, remarks)


def _partition(known: Mapping[str, Fields], name: str) -> str:
    if name in known:
        return name
    if name:
        raise UserError("is no partition of Slurm", field="partition", value=name, remedy=near(name, known))
    for default, fields in known.items():
        if fields.get("Default") == "YES":
            return default
    remedy = "Name one with --partition. " + near("", known)
    raise UserError("is not given, and Slurm has no default", field="partition", remedy=remedy)


def _remarks(cluster: Cluster, partition: str, kinds: Mapping[str, str], left_out: int) -> Iterator[str]:
    yield f"Partition {partition} of the Slurm cluster {cluster.name}, by `myriad site import-slurm`."
    for kind, chip in kinds.items():
        if kind:
            yield f"Chips of type {kind} are {chip} of the catalogue."
    if left_out:
        yield f"{left_out} nodes without chips are left out."
    if not cluster.domains:
        yield f"Slurm knows no topology: racks are {BLOCK} nodes each, by name. Say here what is near what."
    fields = cluster.partitions[partition]
    if (limit := fields.get("MaxTime", "UNLIMITED")) != "UNLIMITED":
        yield f"Slurm ends what runs longer than the partition's MaxTime, {limit}."
    if (most := fields.get("MaxNodes", "UNLIMITED")) != "UNLIMITED":
        yield f"Slurm starts no gang of more than the partition's MaxNodes, {most}."
    if (state := fields.get("State", "UP")) != "UP":
        yield f"The partition is {state}."


# ---- chips ------------------------------------------------------------------------------------------


def _chip(kind: str, told: Sequence[str]) -> str:
    """The catalogue's name for a type of GRES: as somebody said, or the one that shares its words."""
    names = dict(text.split("=", 1) for text in told if "=" in text)
    plain = [text for text in told if "=" not in text]
    if named := names.get(kind) or (plain[-1] if plain else ""):
        chips.named(named)
        return named
    known = files.shipped_names("chip")
    if not kind:
        raise UserError(
            "is not given, and Slurm does not say the type",
            field="chip",
            remedy=f"Name it with --chip: {', '.join(known)}",
        )
    found = alike(kind)
    if len(found) == 1:
        return found[0]
    raise UserError(
        "may be several chips of the catalogue" if found else "is no chip of the catalogue",
        field="type of generic resource",
        value=kind,
        remedy=f"Say which with --chip {kind}=NAME: {', '.join(found or known)}",
    )


def alike(kind: str) -> list[str]:
    """Chips of the catalogue that a type as in `h100`, `nvidia_h100_80gb_hbm3` or `Ascend910B` means best."""
    words = set() if _SLICE.search(kind) else _words(kind)
    scores: dict[str, tuple[int, int]] = {}
    for name in files.shipped_names("chip"):
        # what tells a chip from others is in its name, and has letters and digits: h100, 910b
        own = _words(name)
        if not words & {
            word for word in own if re.search(r"[a-z]\d|\d[a-z]", word) and not _SIZE.match(word)
        }:
            continue
        both = words & (own | _words(chips.named(name).title))
        scores[name] = (len(both), -len(own - words))
    best = max(scores.values(), default=None)
    return [name for name, score in scores.items() if score == best]


def _words(text: str) -> set[str]:
    """Words in small letters, `80 GB` as one, and the first two together: ascend-910b is ascend910b too."""
    found = re.findall(r"[a-z0-9]+", re.sub(r"(\d) gb\b", r"\1gb", text.lower()))
    return {*found, "".join(found[:2])}


# ---- pods and racks ---------------------------------------------------------------------------------


def _pods(hosts: Sequence[Host], domains: Sequence[Domain]) -> Iterator[_Pod]:
    """Pods of equal nodes: those under one switch above the racks, cut where nodes differ."""
    if not domains:
        yield from _cut("all", "", {"": list(hosts)}, plain=True)
        return
    leaves = [domain for domain in domains if domain.level == 0]
    by_pod: dict[Domain | None, dict[str, list[Host]]] = {}
    rack_of = {name: leaf for leaf in reversed(leaves) for name in leaf.nodes}
    pod_of = {leaf: _above(leaf, domains) or leaf for leaf in leaves}
    for host in hosts:
        leaf = rack_of.get(host.name)
        racks = by_pod.setdefault(pod_of[leaf] if leaf else None, {})
        racks.setdefault(leaf.name if leaf else "none", []).append(host)
    # a feature that a whole rack has, and nobody else, says where nodes are and not what they are
    places = {
        label
        for label, count in Counter(label for host in hosts for label in host.features).items()
        for racks in by_pod.values()
        for rack in racks.values()
        if count == len(rack) and all(label in host.features for host in rack)
    }
    plain = [host._replace(features=host.features - places) for host in hosts]
    equal = {host.name: host for host in plain}
    for pod, racks in by_pod.items():
        core = _above(pod, domains) if pod else None
        name = pod.name if pod else "no-switch"
        yield from _cut(
            _fit(name),
            _fit(core.name) if core else ("" if pod else "no-switch"),
            {_fit(rack): [equal[host.name] for host in inside] for rack, inside in racks.items()},
        )


def _above(domain: Domain, domains: Iterable[Domain]) -> Domain | None:
    """The smallest that holds it and stands higher."""
    found = [one for one in domains if one.level > domain.level and one.nodes >= domain.nodes]
    return min(found, key=lambda one: (one.level, len(one.nodes), natural(one.name)), default=None)


def _cut(name: str, core: str, racks: Mapping[str, list[Host]], plain: bool = False) -> Iterator[_Pod]:
    """One pod for each kind of node; the most frequent keeps the name."""
    sorts = Counter(_sort(host) for rack in racks.values() for host in rack)
    for number, (sort, _) in enumerate(sorts.most_common(), 1):
        inside = {
            rack: [host for host in members if _sort(host) == sort]
            for rack, members in racks.items()
            if any(_sort(host) == sort for host in members)
        }
        if plain:
            (row,) = inside.values()
            inside = {f"r{at // BLOCK}": row[at : at + BLOCK] for at in range(0, len(row), BLOCK)}
        yield _Pod(name if number == 1 else f"{name}-{number}", core, inside)


def _sort(host: Host) -> tuple[int, str, tuple[str, ...]]:
    return host.chips, host.kind, tuple(sorted(host.features))


def _fit(name: str) -> str:
    """A name of Slurm's as the name of a rack or pod."""
    return _UNFIT.sub("-", name).strip("-_.") or "unnamed"


def _most(values: Iterable[K]) -> K:
    return Counter(values).most_common(1)[0][0]


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000))
