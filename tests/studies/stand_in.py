"""A tiny stand-in for the twin: outcomes of the right form, made from the case and the seed alone."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from myriad.kernel.rng import Stream
from myriad.protocol import facts
from myriad.studies import simulation
from myriad.twin.scenario import Scenario

SCENARIO = {
    "name": "tiny",
    "span": "2d",
    "site": {"name": "hall", "chip": "local-cpu", "pods": [{"name": "a", "racks": 4, "nodes_per_rack": 25}]},
    "physics": {"boot_s": 10},
    "expect": {"goodput": ">= 0.5", "interruptions": "between 0 and 100"},
}

FIGURES = ("goodput", "utilisation", "interruptions", "jobs", "share")


def play(asked: Scenario, seed: int, on_progress: Any, sink: Any) -> dict[str, Any]:
    """The outcome of nothing."""
    span_ns = asked.span_ns
    stream = Stream(seed, asked.digest)
    if sink:
        sink(facts.JobEnded(at=k, job=f"job-{k}", outcome="succeeded") for k in range(10))
    for day in range(3):
        if on_progress:
            on_progress(day * span_ns // 3)
    useful = int(100 * span_ns * stream.uniform(0.6, 0.9))
    at = [k * span_ns // 50 for k in range(51)]
    return {
        "name": asked.name,
        "seed": seed,
        "span_ns": span_ns,
        "chips": 1600,
        "nodes": 100,
        "goodput": useful / (100 * span_ns),
        "utilisation": 0.95,
        "mttf_s": 250_000.0,
        "jobs": {"succeeded": 10, "failed": stream.integer(0, 3)},
        "by_size": {"1-8": {"jobs": 3, "wait_p50_s": 60.0, "wait_p99_s": 3600.0}, "all": {"jobs": 3}},
        "interruptions": {"gpu_ecc": 3, "nic": 2, "software": 0},
        "buckets": {"productive": useful, "idle_no_demand": 100 * span_ns - useful, "down": 0},
        "capacity_chip_ns": 100 * span_ns,
        "series": {
            "at": at,
            "used_chips": [stream.integer(900, 1600) for _ in at],
            "waiting_jobs": [stream.integer(0, 9) for _ in at],
            "ready_nodes": [stream.integer(80, 90) for _ in at],
            "repairing_nodes": [stream.integer(0, 9) for _ in at],
            "power_w": [1e6 + stream.uniform(0, 1e5) for _ in at],
            "pue": [1.2 for _ in at],
        },
        "cost": 1234.5,
        "cost_per_useful_chip_hour": 1.5,
        "energy_j": 5e12,
        "digest": f"{stream.integer(0, 1 << 40):x}",
        "wall_s": 0.1,
    }


def written(folder: Path, **changes: Any) -> Path:
    """A scenario file, its site in a file of its own."""
    tree = {**SCENARIO, **changes}
    if isinstance(tree["site"], dict):
        (folder / "site.yaml").write_text(yaml.safe_dump(tree["site"]))
        tree["site"] = "site.yaml"
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulations are played by this module."""
    monkeypatch.setattr(simulation, "play", play)
    monkeypatch.setattr(simulation, "figure_roots", lambda: list(FIGURES))
