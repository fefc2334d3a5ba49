"""The seed farm: one check with seed after seed, on all cores, until one fails; and a check of the twin."""

from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import msgspec

from myriad.kernel.rng import Stream
from myriad.studies.executors import Executor, Work
from myriad.twin import run, scenario


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What the check of one seed found."""

    seed: int
    #: Empty: every law held. Else which did not, when, and the end of the story.
    problem: str = ""
    #: What the seed made of the world, for people: `12 nodes, 30 jobs, 4 crashes`.
    story: str = ""
    #: Of all facts; the same whenever the seed is run with the same code.
    digest: str = ""


def farm(
    work: Work,
    executor: Executor,
    first: int,
    seeds: int | None,
    *,
    until_failure: bool = False,
    on_done: Callable[[int, int], None] = lambda _done, _failed: None,
) -> list[Finding]:
    """The findings of `seeds` seeds from `first` on, in the order of the seeds (None: no end).

    `work` takes a seed in decimal digits and answers a Finding in JSON. With `until_failure` no further seeds
    are begun after the first failure; which were checked until then depends on the machine, what was found of
    each does not. `on_done` hears how many are done and how many of them failed.
    """
    findings: list[Finding] = []
    failed = 0

    def tasks() -> Iterator[bytes]:
        for seed in islice(count(first), seeds):
            if failed and until_failure:
                return
            yield str(seed).encode()

    for done in executor.results(work, tasks()):
        found = msgspec.json.decode(done.body, type=Finding)
        findings.append(found)
        failed += bool(found.problem)
        on_done(len(findings), failed)
    return sorted(findings, key=lambda one: one.seed)


# ---- a check of the twin -------------------------------------------------------------------------


def check_twin(seed: bytes) -> bytes:
    """Break a small site as the seed says, with every invariant checked, twice: `work` of the farm."""
    number = int(seed)
    tree = small_site(Stream(number, "small-site"))
    asked = scenario.of_tree(tree, f"seed {number}")
    site = asked.setup.site
    story = f"{site.node_count} nodes of {site.chips_per_node} chips for {tree['span']}"
    try:
        found = run.simulate(asked, number, check=True)
        again = run.simulate(asked, number)
    except AssertionError as broken:
        return _encoded(Finding(seed=number, problem=str(broken) or "an assertion failed", story=story))
    told = f"{story}: {found.submitted} jobs, {sum(found.faults.values())} faults, {found.facts:,} facts"
    problem = ""
    if (total := sum(found.buckets.values())) != found.capacity_chip_ns:
        problem = f"the buckets hold {total} chip-ns of {found.capacity_chip_ns}"
    elif again.digest != found.digest:
        problem = f"two runs of it differ: {found.digest} and {again.digest}"
    return _encoded(Finding(seed=number, problem=problem, story=told, digest=found.digest))


def _encoded(found: Finding) -> bytes:
    return msgspec.json.encode(found)


def small_site(chance: Stream) -> dict[str, Any]:
    """A scenario as plain mappings: a small site for half a day, where much goes wrong. All estimated."""
    pods = [
        {"name": f"p{k}", "racks": chance.integer(1, 3), "nodes_per_rack": chance.integer(2, 6)}
        for k in range(chance.integer(1, 2))
    ]
    lasts = [{"median": f"{chance.integer(2, 40)}m", "sigma": 1.0, "most": "6h"}]
    work = {
        "name": "train",
        "share": 1.0,
        "sizes": {1: 0.3, 4: 0.3, 16: 0.2, 32: 0.2},
        "succeeded": {"share": 0.7, "lasts": lasts},
        "failed": {"share": 0.2, "lasts": lasts},
        "cancelled": {"share": 0.1, "lasts": lasts},
        "elastic": chance.uniform(0, 0.5),
        "priorities": {"low": 0.2, "normal": 0.6, "high": 0.2},
    }
    return {
        "span": "12h",
        "site": {"name": "small", "chip": "zhenwu-810e", "pods": pods, "spares": chance.integer(0, 2)},
        "policy": {"order": {"policy": chance.choice(("fair", "fifo"))}},
        "workload": {"jobs_per_day": chance.integer(50, 400), "classes": [work]},
        "faults": {"hardware": {"chip": chance.uniform(0, 200), "host": chance.uniform(0, 1000)}},
        "physics": {
            "whole_gangs": True,
            "report_s": 300.0,
            "boot_s": 60.0,
            "requeue_s": chance.uniform(0, 120),
        },
    }
