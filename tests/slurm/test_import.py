"""`myriad site import-slurm` on the real thing."""

import yaml
from click.testing import CliRunner

from myriad.cli.main import cli
from myriad.fleet import site
from tests.slurm.cluster import Cluster


def imported(cluster: Cluster, *words: str) -> tuple[str, site.Site]:
    done = CliRunner().invoke(cli, ["site", "import-slurm", *words], env=cluster.env)
    assert done.exit_code == 0, done.output
    tree = yaml.safe_load(done.output)
    assert tree.pop("slurm") == {"partition": "main"}
    assert set(tree.pop("policy")) == {"recover"}
    return done.output, site.parse(yaml.safe_dump(tree, sort_keys=False), "imported")


def test_the_site_has_slurms_nodes_where_they_are(slurm: Cluster) -> None:
    slurm.run("scontrol", "update", "nodename=node06", "state=drain", "reason=any Gres=gpu:1 [x]")
    _, found = imported(slurm, "--chip", "local-cpu")
    assert [place.node for place in found.places()] == slurm.names and found.chips_per_node == 8
    racks = {place.node: place.rack for place in found.places()}
    assert [racks[name] for name in ("node04", "node05", "node16")] == [
        "pod1/leaf1",
        "pod1/leaf2",
        "pod2/leaf4",
    ]


def test_what_it_needs_is_asked_for(slurm: Cluster) -> None:
    done = CliRunner().invoke(cli, ["site", "import-slurm"], env=slurm.env)
    assert done.exit_code == 2 and "chip: is not given, and Slurm does not say the type" in done.stderr


def test_a_slurm_without_topology(slurm: Cluster) -> None:
    with Cluster(slurm.folder / "flat", nodes=3, changed={"TopologyPlugin": "topology/none"}) as flat:
        text, found = imported(flat, "--chip", "h20")
    assert "knows no topology" in text
    assert {place.rack for place in found.places()} == {"all/r0"} and found.chip_count == 24
