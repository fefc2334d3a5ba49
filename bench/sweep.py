"""A sweep on one process, on all cores, and on a Ray cluster whose node is killed on the way: how fast, and
whether the results are the same to the last digit.

`python -m bench.sweep [DAYS] [SEEDS]`. The Ray part says so when Ray is not installed (`make ray`).
"""

import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import report
from myriad.studies import executors, settings, simulation, sweeps
from myriad.studies.executors import Executor
from myriad.studies.sweeps import Asked, Sweep

SCENARIO = Path(__file__).parent.parent / "scenarios" / "shaoguan-10k.yaml"
#: Nodes of the Ray cluster, each a set of processes of this machine with one CPU.
NODES = 2


def main() -> None:
    """Run all three and compare."""
    days = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    case = simulation.for_days(simulation.read(SCENARIO), days)
    axis = settings.parse_varied("recover.spares=0,1%", settings.VARY)
    asked = simulation.sweep_of(case, [axis], range(seeds))
    runs = len(asked.cases) * seeds
    print(f"{SCENARIO.name}: {runs} simulations of {days:g} days")
    one, one_s = timed(asked, executors.Local(1), "one process")
    many = executors.Local()
    all_, all_s = timed(asked, many, f"{many.places} processes")
    ray = on_ray(asked)
    same = {"processes": all_ == one, "ray": ray and ray[0] == one}
    print(f"the same to the last digit: {same}")
    assert all_ == one and (ray is None or ray[0] == one)
    report.finish(
        "sweep",
        runs * days / all_s,
        "simulated days/s, all cores",
        "one process",
        runs * days / one_s,
        simulations=runs,
        processes=many.places,
        ray=None if ray is None else {"nodes": NODES, "killed": 1, "wall_s": round(ray[1], 2)},
        same=same,
    )


def timed(
    asked: Asked, executor: Executor, words: str, on_done: Callable[[int], None] = lambda _: None
) -> tuple[Sweep, float]:
    """The sweep, and how long it took."""
    started = time.perf_counter()
    found = sweeps.run(asked, simulation.run_task, executor, on_done)
    wall_s = time.perf_counter() - started
    print(
        f"{words}: {wall_s:.1f} s, {len(found.runs) * asked.days / wall_s:.2f} simulated days/s", flush=True
    )
    return found, wall_s


def on_ray(asked: Asked) -> tuple[Sweep, float] | None:
    """On several Ray nodes of this machine; one is killed after the first result."""
    if find_spec("ray") is None:
        print("Ray is not installed: make ray")
        return None
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    from myriad.studies.ray_executor import Ray

    small: dict[str, Any] = {"object_store_memory": 80 << 20}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small}
    )
    nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(NODES)]
    try:
        executor = Ray(cluster.address)

        def kill(done: int) -> None:
            if done == 1:
                cluster.remove_node(nodes[-1], allow_graceful=False)
                print("one Ray node killed", flush=True)

        return timed(asked, executor, f"{NODES} Ray nodes, one of them killed", kill)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
