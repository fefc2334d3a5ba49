"""Site files from what Slurm's programs print, in the forms of several releases."""

from collections.abc import Sequence

import pytest
import yaml

from myriad.control import sitefile
from myriad.engines.slurm.site import drafting, importing
from myriad.engines.slurm.site.drafting import Draft, alike
from myriad.kernel.errors import UserError

CONFIG = "Configuration data as of 2026-11-28\nClusterName             = hall\nSLURM_VERSION           = {}\n"
MAIN = "PartitionName=main AllowGroups=ALL Default=YES MaxNodes=UNLIMITED MaxTime=UNLIMITED State=UP Nodes=x"
#: As 22.05.8 of Debian prints them; a reason may hold anything.
DEBIAN = (
    "NodeName={} Arch=x86_64 CoresPerSocket=16  CPUAlloc=0 CPUEfctv=16 CPUTot=16 CPULoad=2.65 "
    "AvailableFeatures={} ActiveFeatures=(null) Gres={} NodeAddr=127.0.0.1 NodeHostName=vm Port=18649 "
    "Version=22.05.8 OS=Linux 6.18.44 #1 SMP @0  RealMemory=1000 AllocMem=0 FreeMem=22290 Sockets=1 Boards=1 "
    "State={} ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions={}  "
    "BootTime=2026-11-28T20:40:56 SlurmdStartTime=2026-11-28T21:07:45 CfgTRES=cpu=16,mem=1000M,billing=16 "
    "AllocTRES= CapWatts=n/a ExtSensorsTemp=n/s Reason=x Gres=gpu:99 Partitions=none [a=b] "
    "[root@2026-11-28T21:08:38]"
)
#: As 23.11 and 24.05 do.
NEWER = (
    "NodeName={} Arch=x86_64 CoresPerSocket=48  CPUAlloc=0 CPUEfctv=192 CPUTot=192 CPULoad=0.08 "
    "AvailableFeatures={} ActiveFeatures=(null) Gres={} NodeAddr=10.0.0.1 NodeHostName=h Version=24.05.2 "
    "OS=Linux 5.15.133+ #1 SMP  RealMemory=1048576 AllocMem=0 FreeMem=1803228 Sockets=2 Boards=1 "
    "State={} ThreadsPerCore=2 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions={}  "
    "BootTime=2026-12-22T11:11:17 SlurmdStartTime=2026-12-22T11:11:17 LastBusyTime=2026-12-22T11:13:31 "
    "ResumeAfterTime=None CfgTRES=cpu=192,mem=1T,billing=192,gres/gpu=8 AllocTRES= "
    "Reason=Not responding [slurm@x]"
)
TREE = """SwitchName=leaf1 Level=0 LinkSpeed=1 Nodes=node[01-04]
SwitchName=leaf2 Level=0 LinkSpeed=1 Nodes=node[05-08]
SwitchName=leaf3 Level=0 LinkSpeed=1 Nodes=node[09-12]
SwitchName=pod1 Level=1 LinkSpeed=1 Nodes=node[01-08] Switches=leaf[1-2]
SwitchName=pod2 Level=1 LinkSpeed=1 Nodes=node[09-12] Switches=leaf3
SwitchName=east Level=2 LinkSpeed=1 Nodes=node[01-12] Switches=pod[1-2]
"""
NAMES = [f"node{k:02d}" for k in range(1, 13)]


def drafted(
    shown: Sequence[str], tree: str = TREE, partitions: str = MAIN, told: Sequence[str] = (), **given: str
) -> Draft:
    # lines come in no order that one may rely on
    cluster = importing.read(CONFIG, "\n".join(reversed(shown)), partitions, tree, given.get("gres", "gpu"))
    return drafting.draft(
        cluster, partition=given.get("partition", ""), gres=given.get("gres", "gpu"), told=told
    )


def nodes(form: str, gres: str = "gpu:h100:8", features: str = "(null)", state: str = "IDLE") -> list[str]:
    return [form.format(name, features, gres, state, "main") for name in NAMES]


@pytest.mark.parametrize("form", [DEBIAN, NEWER])
@pytest.mark.parametrize(
    "state", ["IDLE", "IDLE+DRAIN", "DOWN*", "DOWN+NOT_RESPONDING", "MIXED+CLOUD+PLANNED"]
)
def test_leaves_are_racks_and_what_is_above_them_are_pods(form: str, state: str) -> None:
    found = drafted(nodes(form, state=state))
    assert found.tree == {
        "name": "hall",
        "chip": "h100-sxm",
        "chips_per_node": 8,
        "pods": [
            {"name": "pod1", "hosts": {"leaf1": "node[01-04]", "leaf2": "node[05-08]"}, "core": "east"},
            {"name": "pod2", "hosts": {"leaf3": "node[09-12]"}, "core": "east"},
        ],
        "policy": {"recover": {"start_timeout": "10m", "stop_timeout": "1m"}},
        "slurm": {"partition": "main"},
    }
    assert yaml.safe_load(found.text) == found.tree
    assert "# 8 nodes of gpu:h100:8\n" in found.text and "# Chips of type h100 are h100-sxm" in found.text


def test_the_text_is_a_site_file() -> None:
    found = drafted(nodes(DEBIAN, gres="gpu:8"), told=["local-cpu"])
    tree = yaml.safe_load(found.text)
    del tree["slurm"], tree["policy"]
    site = sitefile.of_tree(tree, "x").site
    assert [place.node for place in site.places()] == NAMES and site.chip_count == 96
    assert {place.core for place in site.places()} == {"east"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gpu:8", (8, "")),
        ("gpu:h100:8(S:0-1)", (8, "h100")),
        ("gpu:a100:4(S:0),gpu:a100:4(S:1),mps:400", (8, "a100")),
        ("gpu:a100:2(IDX:0,2),gpu:h100:6(IDX:1,3-7)", (8, "h100")),
        ("mps:400,gpu", (1, "")),
        ("gpu:tesla", (1, "tesla")),
        ("gpu:1K", (1024, "")),
        ("gpu_mem:16280,gpu:1", (1, "")),
        ("(null)", (0, "")),
        ("", (0, "")),
    ],
)
def test_chips_of_a_generic_resource(text: str, found: tuple[int, str]) -> None:
    assert importing.chips_of(text, "gpu") == found


def test_nodes_that_differ_have_pods_of_their_own() -> None:
    shown = nodes(DEBIAN)
    shown[6] = DEBIAN.format("node07", "(null)", "gpu:h100:4", "IDLE", "main")
    shown[7] = DEBIAN.format("node08", "(null)", "(null)", "IDLE", "main")
    shown[8] = DEBIAN.format("node09", "(null)", "gpu:h20:8", "IDLE", "main")
    shown[9] = DEBIAN.format("node10", "roce", "gpu:h100:8", "IDLE", "main")
    shown.append(DEBIAN.format("spare01", "(null)", "gpu:h100:8", "FUTURE", "main"))
    shown.append(DEBIAN.format("other01", "(null)", "gpu:h100:8", "IDLE", "debug"))
    shown.append(DEBIAN.format("node99", "(null)", "gpu:h100:8", "IDLE", "debug,main"))
    found = drafted(shown)
    pods = {pod.pop("name"): pod for pod in found.tree["pods"]}
    assert pods == {
        "pod1": {"hosts": {"leaf1": "node[01-04]", "leaf2": "node[05-06]"}, "core": "east"},
        "pod1-2": {"hosts": {"leaf2": "node07"}, "chips_per_node": 4, "core": "east"},
        "pod2": {"hosts": {"leaf3": "node[11-12]"}, "core": "east"},
        "pod2-2": {"hosts": {"leaf3": "node09"}, "chip": "h20", "chips_per_node": 8, "core": "east"},
        "pod2-3": {"hosts": {"leaf3": "node10"}, "core": "east"},
        "no-switch": {"hosts": {"none": "node99"}, "core": "no-switch"},
    }
    assert "# 1 nodes without chips are left out.\n" in found.text
    assert "# 1 nodes of gpu:h100:8, features roce\n" in found.text


def test_a_feature_that_names_a_rack_parts_nothing() -> None:
    shown = [
        DEBIAN.format(name, f"ib,row{1 + k // 4}", "gpu:h100:8", "IDLE", "main")
        for k, name in enumerate(NAMES)
    ]
    assert [pod["name"] for pod in drafted(shown).tree["pods"]] == ["pod1", "pod2"]


def test_blocks_are_racks_too() -> None:
    blocks = """BlockName=b0 BlockIndex=0 Nodes=node[01-04] BlockSize=4
BlockName=b1 BlockIndex=1 Nodes=node[05-08] BlockSize=4
BlockName=b2 BlockIndex=2 Nodes=node[09-12] BlockSize=4
AggregatedBlock=b[0-1] BlockIndex=3 Nodes=node[01-08] BlockSize=8
"""
    assert drafted(nodes(NEWER), blocks).tree["pods"] == [
        {"name": "b0-1", "hosts": {"b0": "node[01-04]", "b1": "node[05-08]"}},
        {"name": "b2", "hosts": {"b2": "node[09-12]"}},
    ]


def test_without_a_topology_racks_are_blocks_and_the_file_says_so() -> None:
    found = drafted(nodes(NEWER), tree="")
    assert found.tree["pods"] == [{"name": "all", "hosts": {"r0": "node[01-08]", "r1": "node[09-12]"}}]
    assert "# Slurm knows no topology: racks are 8 nodes each" in found.text


def test_a_partition_that_limits_gangs_is_told() -> None:
    partitions = (
        "PartitionName=debug Default=NO MaxNodes=2 MaxTime=01:00:00 State=UP\n"
        "PartitionName=main Default=NO MaxNodes=UNLIMITED MaxTime=2-00:00:00 State=DRAIN"
    )
    text = drafted(nodes(NEWER), partitions=partitions, partition="main").text
    assert "MaxTime, 2-00:00:00." in text and "The partition is DRAIN." in text and "MaxNodes" not in text
    with pytest.raises(
        UserError, match=r"Slurm has no default. Name one with --partition. Known: debug, main"
    ):
        drafted(nodes(NEWER), partitions=partitions)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("h100", ["h100-sxm"]),
        ("nvidia_h100_80gb_hbm3", ["h100-sxm"]),
        ("nvidia_a100-sxm4-80gb", ["a100-sxm-80gb"]),
        ("a100-40gb", ["a100-sxm-40gb"]),
        ("Ascend910B", ["ascend-910b"]),
        ("ascend_910c", ["ascend-910c"]),
        ("MI300X", ["mi300x"]),
        ("H20", ["h20"]),
        ("gb200", ["gb200"]),
        ("a100", ["a100-sxm-40gb", "a100-sxm-80gb"]),
        ("nvidia_h100_80gb_hbm3_3g.40gb", []),  # a part of one
        ("ppu", []),
        ("tesla_t4", []),
        ("80gb", []),
    ],
)
def test_types_are_found_in_the_catalogue_by_their_words(kind: str, found: list[str]) -> None:
    assert alike(kind) == found


def test_what_cannot_be_guessed_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"--chip a100=NAME: a100-sxm-40gb, a100-sxm-80gb"):
        drafted(nodes(DEBIAN, "gpu:a100:8"))
    with pytest.raises(UserError, match=r"is no chip .* \(got 'ppu'\).*--chip ppu=NAME: a100.*zhenwu-810e"):
        drafted(nodes(DEBIAN, "gpu:ppu:16"))
    with pytest.raises(UserError, match=r"Slurm does not say the type. Name it with --chip: a100"):
        drafted(nodes(DEBIAN, "gpu:8"))
    with pytest.raises(UserError, match=r"got 'zhenwu'.*Did you mean zhenwu-"):
        drafted(nodes(DEBIAN, "gpu:8"), told=["zhenwu"])
    with pytest.raises(UserError, match=r"got 'mian'.*Did you mean main"):
        drafted(nodes(DEBIAN), partition="mian")
    with pytest.raises(UserError, match="has no node with generic resource npu"):
        drafted(nodes(DEBIAN), gres="npu")
    found = drafted(nodes(DEBIAN, "npu:ppu:16"), told=["h20", "ppu=zhenwu-810e"], gres="npu")
    assert (found.tree["chip"], found.tree["chips_per_node"]) == ("zhenwu-810e", 16)
    assert found.tree["slurm"] == {"partition": "main", "gres": "npu"}
