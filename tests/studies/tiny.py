"""A scenario that is simulated in a moment: eight nodes, half a day, small jobs, many faults."""

from pathlib import Path
from typing import Any

import yaml

SCENARIO: dict[str, Any] = {
    "name": "tiny",
    "span": "12h",
    "seed": 3,
    "site": {
        "name": "hall",
        "chip": "zhenwu-810e",
        "pods": [{"name": "a", "racks": 2, "nodes_per_rack": 4}],
        "spares": 1,
    },
    "workload": {
        "jobs_per_day": 200,
        "classes": [
            {
                "name": "train",
                "share": 1,
                "sizes": {4: 0.5, 16: 0.3, 48: 0.2},
                "succeeded": {"share": 0.8, "lasts": [{"median": "20m", "sigma": 1.0, "most": "6h"}]},
                "failed": {"share": 0.2, "lasts": [{"median": "5m", "sigma": 1.0, "most": "6h"}]},
            }
        ],
    },
    "policy": {"recover": {"repair_timeout": "60d"}},
    "faults": {"hardware": {"chip": 20, "host": 100}},
    "physics": {"boot_s": 60.0, "requeue_s": 60.0, "report_s": 300.0, "whole_gangs": True},
    "expect": {"goodput": ">= 0.1", "jobs.cancelled": 0},
}


def written(folder: Path, **changes: Any) -> Path:
    """The scenario in files: its site in one of its own. Changes are of whole sections."""
    tree = {**SCENARIO, **changes}
    (folder / "site.yaml").write_text(yaml.safe_dump(tree["site"]))
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**tree, "site": "site.yaml"}))
    return path
