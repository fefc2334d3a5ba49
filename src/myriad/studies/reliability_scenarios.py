"""The scenario of a published figure: its site, one job that outlasts it, its faults, its way of restarting.

Made as plain trees, as files are, so that the same checks hold. What a source gives as one time, a restart
with its detection, is one delay here; nothing else in these sites takes time.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from myriad.kernel import documents
from myriad.studies.reliability import Figure, Parts
from myriad.twin import scenario
from myriad.twin.scenario import Scenario

#: Chips of a node in every published figure here.
EIGHT: Final = 8
#: Longer than any span; more retries than any run has faults.
_LONG: Final = "4000d"
_MANY: Final = 1_000_000
_NODES_PER_RACK, _RACKS_PER_POD = 4, 64
#: Spares over the nodes of the job: as many as are out at once, several times over, so that none is waited
#: for. Derived: 6.5 losses for 1,000 node-days, half a day each at most, are 0.3 %.
_SPARE_SHARE, _LEAST_SPARES = 0.02, 8
#: Simulated months need patience where rehearsals in seconds do not; no node is kept out (rates are those of
#: a fleet with all its nodes in it), unless a figure is about that.
PATIENT: Final[Mapping[str, Any]] = {
    "lemon_losses": _MANY,
    "start_timeout": "4h",
    "stop_timeout": "2m",
    "leave_grace": "5m",
    "repair_timeout": "90d",
}
#: Rates are counts of what failed, repairs in vain included: here every repair helps.
MENDS: Final[Mapping[str, Any]] = {
    "escalates": 0,
    "automatic_fails": 0,
    "manual_fails": 0,
    "recall": 1,
    "vendor_after": 0,
}
#: All delays are those of the figure; progress is told by exception.
AT_ONCE: Final[Mapping[str, Any]] = {
    "whole_gangs": True,
    "jitter": 0.0,
    "report_s": 43_200.0,
    "start_s": 1.0,
    "load_s": 0.0,
    "stop_s": 0.0,
    "save_s": 0.0,
    "copy_s": 0.0,
}


def of_job(figure: Figure, parts: Parts, days: float) -> Scenario:
    """One job on all its chips, restarted and saved as the figure says."""
    physics = {**AT_ONCE, "start_s": figure.seconds("restart"), "save_s": figure.seconds("write")}
    every = "auto" if figure.interval == "daly" else figure.interval
    jobs = [job("job", figure.chips, checkpoint={"every": every})]
    if figure.part:
        faults = of_part(figure, parts)
    else:
        faults = by_software(figure, 86_400 / figure.seconds("mean_between"))
    return _made(figure.id, site(figure.chips), jobs, faults, physics, days)


def of_jobs(name: str, counts: Mapping[int, int], faults: Mapping[str, Any], days: float) -> Scenario:
    """So many jobs of each size, which go on at once after every fault."""
    jobs = [job(f"size-{chips}", chips, count=count) for chips, count in counts.items()]
    chips = sum(chips * count for chips, count in counts.items())
    return _made(name, site(chips), jobs, faults, AT_ONCE, days)


def of_restarts(figure: Figure, parts: Parts, per_day: float) -> Scenario:
    """Restarts as physics says: in place after faults of the job, or anew, one job after another."""
    again, path = figure.way == "in_place", parts.folder / "physics-published.yaml"
    faults = by_software(figure, per_day if again else 0.0)
    jobs = [job("job", figure.chips)] if again else [job("job", figure.chips, count=24, lasts="30m")]
    physics = next(documents.documents(documents.read(path), path.name))
    return _made(figure.id, site(figure.chips, 0.0), jobs, faults, physics, 1.0)


def of_file(name: str, parts: Parts, **changes: Any) -> Scenario:
    """A shipped one, with some fields changed (`faults__detection__factor=0`)."""
    path = _scenarios(parts) / f"{name}.yaml"
    tree = scenario.tree(path)
    for field, value in changes.items():
        scenario.put(tree, field.replace("__", "."), value)
    return scenario.of_tree(tree, name, path.parent)


def _scenarios(parts: Parts) -> Path:
    return parts.folder.parent


# ---- sections ------------------------------------------------------------------------------------------


def site(chips: int, spare_share: float = _SPARE_SHARE) -> dict[str, Any]:
    """Nodes of eight for so many chips, and spares, in racks and pods."""
    nodes = -(-chips // EIGHT)
    spares = max(_LEAST_SPARES, round(spare_share * nodes)) if spare_share else 0
    full, rest = divmod(-(-(nodes + spares) // _NODES_PER_RACK), _RACKS_PER_POD)
    racks = [_RACKS_PER_POD] * full + [rest] * (rest > 0)
    pods = [{"name": f"p{k}", "racks": n, "nodes_per_rack": _NODES_PER_RACK} for k, n in enumerate(racks)]
    return {"name": "published", "chip": "h100-sxm", "pods": pods, "spares": spares}


def job(name: str, chips: int, **more: Any) -> dict[str, Any]:
    """A job that outlasts everything."""
    nodes = -(-chips // EIGHT)
    base = {"nodes": nodes, "chips_per_node": EIGHT, "lasts": _LONG, "parameters": "1B", "retries": _MANY}
    return {"name": name, **base, **more}


def of_part(figure: Figure, parts: Parts, *, trials: bool = False) -> dict[str, Any]:
    """The hazards of a part. All nodes alike; a job is a production run unless `trials`; seen at once."""
    tree: dict[str, Any] = msgspec.to_builtins(parts.faults(figure.part))
    tree["lemons"] = {"share": 0, "factor": 1}
    tree["detection"] = {"factor": 0}
    if not trials:
        tree["software"]["trials_to"] = 1
    return tree


def by_software(figure: Figure, per_day: float) -> dict[str, Any]:
    """Faults of the job alone, so many a day of running."""
    return {
        "hardware": {"chip": 0, "host": 0},
        "network": {"links": 0, "switches": 0, "flaps": 0},
        "plant": {"pods": 0, "power": 0, "cooling": 0},
        "slow": {"share": 0, "nodes": 0, "links": 0},
        "lemons": {"share": 0, "factor": 1},
        "false_alarms": 0,
        "mix": {"software bug": 1},
        "software": {"rate": 0, "production": per_day, "production_at": figure.chips, "trials_to": 1},
        "detection": {"factor": 0},
    }


def _made(
    name: str,
    where: Mapping[str, Any],
    jobs: list[dict[str, Any]],
    faults: Mapping[str, Any],
    physics: Mapping[str, Any],
    days: float,
) -> Scenario:
    tree = {
        "name": name,
        "span": f"{round(days * 24)}h",
        "site": where,
        "policy": {"recover": dict(PATIENT)},
        "jobs": jobs,
        "faults": faults,
        "repair": dict(MENDS),
        "physics": physics,
    }
    return scenario.of_tree(tree, name)
