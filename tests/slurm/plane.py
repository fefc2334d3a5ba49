"""Control planes over a real Slurm: the site that `import-slurm` writes, and what tests ask of both."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from myriad.cli.main import cli
from tests.server.harness import Server, wait_for
from tests.slurm.cluster import Cluster

#: A busy machine of two cores; nothing here is about speed.
PATIENCE_S = 90.0
#: States of nodes that Myriad gives work to.
IN_SERVICE = ("ready", "spare", "allocated")


def site_file(
    cluster: Cluster, folder: Path, recover: Mapping[str, str] | None = None, **section: Any
) -> Path:
    """All of the cluster as a site, with more in its sections `policy: recover` and `slurm`."""
    done = CliRunner().invoke(cli, ["site", "import-slurm", "--chip", "local-cpu"], env=cluster.env)
    assert done.exit_code == 0, done.output
    tree = yaml.safe_load(done.output)
    # a machine that has no turn for members for seconds is not what is tested here
    tree["slurm"] |= {"burn_in": "quick", "lease": "8s", **section}
    # nodes that are made to come and go would be left alone for longer every time
    tree["policy"]["recover"] |= {"flap_ceiling": "5s"} | dict(recover or {})
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


@contextlib.contextmanager
def running(cluster: Cluster, folder: Path, tools: Path | None = None, **section: Any) -> Iterator[Server]:
    """A control plane whose nodes are all in service, and a tenant who may have them all; more: `site_file`.

    Programs in `tools` are found by what runs on the nodes: Slurm hands the environment on.
    """
    site = site_file(cluster, folder, **section)
    env = cluster.env | {"PATH": f"{tools}{os.pathsep}{cluster.env['PATH']}"}
    server = Server(folder / "home", "--engine", "slurm", "--site", str(site), env=env)
    try:
        server.start()
        wait_for(lambda: usable(server) == len(cluster.names), server.said, PATIENCE_S)
        server.tenant(chips=cluster.shape.nodes * cluster.shape.chips)
        yield server
    finally:
        server.end()
        cluster.clear()


def usable(server: Server) -> int:
    """How many nodes are in service."""
    states = server.get("/site")["nodes_by_state"]
    return sum(states.get(word, 0) for word in IN_SERVICE)


def mend(server: Server, cluster: Cluster) -> None:
    """All nodes in service again, whatever a test that failed half way left dead or kept out."""
    cluster.whole()
    for one in out_of_service(server):
        if one["cordoned"]:
            server.post(f"/nodes/{one['node']}/undrain")
    wait_for(lambda: not out_of_service(server), lambda: str(out_of_service(server)), PATIENCE_S)


def empty(server: Server) -> None:
    """End all jobs, and wait until nothing of Myriad's runs."""
    for one in server.get("/jobs"):
        if not one["ended_at"]:
            server.post(f"/jobs/{one['job']}/cancel")
    wait_for(lambda: server.get("/site")["gangs_live"] == 0, server.said, PATIENCE_S)


def out_of_service(server: Server) -> list[dict[str, Any]]:
    """Nodes that get no work, as Myriad shows them."""
    return [one for one in server.get("/nodes") if one["state"] not in IN_SERVICE]


def node(server: Server, name: str) -> Any:
    """One node as Myriad shows it."""
    return next(one for one in server.get("/nodes") if one["node"] == name)


def wait_node(server: Server, name: str, *states: str) -> Any:
    """Wait until Myriad shows the node so."""
    wait_for(lambda: node(server, name)["state"] in states, lambda: str(node(server, name)), PATIENCE_S)
    return node(server, name)


def wait_in_slurm(cluster: Cluster, name: str, *states: str) -> None:
    """Wait until Slurm shows the node so."""
    wait_for(
        lambda: cluster.states().get(name) in states, lambda: str(cluster.states().get(name)), PATIENCE_S
    )


def reason(cluster: Cluster, name: str) -> str:
    """Why Slurm keeps the node out, in its own words."""
    return cluster.run("sinfo", "--noheader", f"--nodes={name}", "--format=%E").strip()
