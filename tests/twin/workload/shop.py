"""Sites and workloads that the tests of this folder share."""

from pathlib import Path
from typing import Any

import yaml

from myriad.fleet.site import Pod, Site
from myriad.twin.workload import config

FILES = Path(__file__).parent / "files"
PARTS = Path(__file__).parents[3] / "scenarios" / "parts"


def site(nodes: int = 64, chips_per_node: int = 8) -> Site:
    """One pod of racks of eight nodes."""
    return Site(
        name="shop",
        chip="h100-sxm",
        chips_per_node=chips_per_node,
        pods=(Pod(name="p", racks=nodes // 8, nodes_per_rack=8),),
    )


def tree(**more: Any) -> dict[str, Any]:
    """A workload of two classes, as people write it."""
    small = {
        "name": "evaluation",
        "share": 0.9,
        "batch": 5,
        "sizes": {1: 0.7, 8: 0.3},
        "succeeded": {"share": 0.6, "lasts": [{"median": "2m", "sigma": 1.0, "most": "1d"}]},
        "failed": {
            "share": 0.3,
            "lasts": [
                {"median": "1m", "sigma": 0.5, "weight": 0.7},
                {"median": "1h", "sigma": 0.5, "weight": 0.3},
            ],
        },
        "cancelled": {"share": 0.1, "lasts": [{"median": "5m", "sigma": 1.0, "most": "1d"}]},
    }
    large = {
        "name": "pretrain",
        "share": 0.1,
        "sizes": {16: 0.5, 20: 0.2, 64: 0.3},
        "priorities": {"high": 0.25, "normal": 0.75},
        "elastic": 0.5,
        "succeeded": {"share": 0.5, "lasts": [{"median": "3h", "sigma": 1.0, "most": "3d"}]},
        "cancelled": {"share": 0.5, "lasts": [{"median": "2h", "sigma": 1.0, "most": "3d"}]},
        "training": {"step": "5s", "parameters": {1: "1B", 32: "7B"}},
    }
    return {"jobs_per_day": 2000.0, "classes": [small, large]} | more


def workload(**more: Any) -> config.Workload:
    """It, read."""
    return config.parse(yaml.safe_dump(tree(**more)), "shop")
