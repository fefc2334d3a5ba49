"""The seed farm: one check with seed after seed, on all cores, until one fails; and a check of the twin."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice

import msgspec

from myriad.studies.executors import Executor, Work
from myriad.twin.check import check
from myriad.twin.checkers.marks import table


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What the check of one seed found."""

    seed: int
    #: Empty: every law held. Else which did not, when, and the end of the story.
    problem: str = ""
    #: What the seed made of the world, for people: `12 nodes, 30 jobs, 4 crashes`.
    story: str = ""
    #: Of all facts; the same whenever the seed is run with the same code.
    digest: str = ""
    #: How often what is rare happened in it.
    marks: dict[str, int] = {}


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
    """Break a small site as the seed says, with every checker on, twice: `work` of the farm."""
    found, again = check(int(seed)), check(int(seed))
    problem = "" if found.ok else f"{found.law}\n{found.story}"
    if found.digest != again.digest:
        problem = f"two runs of it differ: {found.digest} and {again.digest}"
    story = f"{found.scenario}: {found.facts:,} facts"
    told = Finding(seed=found.seed, problem=problem, story=story, digest=found.digest, marks=found.marks)
    return msgspec.json.encode(told)


def marks(findings: Sequence[Finding]) -> list[tuple[str, int, int]]:
    """What is rare: how often it happened over all seeds, and in how many of them."""
    return table([one.marks for one in findings])
