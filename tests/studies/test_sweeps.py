"""Sweeps over processes: the same however they ran, whoever died meanwhile."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from myriad.kernel.errors import UserError
from myriad.studies import executors, seeds, settings, simulation, sweeps
from myriad.studies.executors import Done, Work
from tests.studies import tiny, workers


class Here:
    """In this process, the last task first."""

    places = 1

    def results(self, work: Work, tasks: Iterable[bytes]) -> Iterator[Done]:
        for index, task in reversed(list(enumerate(tasks))):
            yield Done(index, work(task))


def asked(seeds: int = 4, **more: str) -> sweeps.Asked:
    axis = settings.parse_varied("recover.spares=0,1,2", "--vary")

    def case(spares: int) -> Callable[[int], bytes]:
        return lambda seed: json.dumps({"seed": seed, "spares": spares, **more}).encode()

    cases = [(variation, case(variation[0].value)) for variation in settings.grid([axis])]
    return sweeps.Asked(
        name="small", scenario_hash="abc", days=1.0, cases=cases, seeds=list(range(10, 10 + seeds))
    )


def test_runs_and_rows_stand_in_the_order_of_the_grid() -> None:
    heard: list[int] = []
    found = sweeps.run(asked(), workers.stand_in, Here(), heard.append)
    assert heard == list(range(1, 13))
    assert [row.variation for row in found.rows] == [f"recover.spares={k}" for k in range(3)]
    assert [(run.variation, run.seed) for run in found.runs[:5]] == [
        *(("recover.spares=0", seed) for seed in range(10, 14)),
        ("recover.spares=1", 10),
    ]
    assert found.rows[0].against_first["goodput"].mean == 0
    assert found.rows[2].figures["goodput"].count == 4
    assert found.rows[2].settings == {"recover.spares": "2"}


def test_processes_give_the_same_also_when_one_is_killed(tmp_path: Path) -> None:
    here = sweeps.run(asked(), workers.stand_in, Here())
    local = executors.Local(2)
    assert sweeps.run(asked(die=str(tmp_path / "mark")), workers.stand_in, local) == here
    assert (tmp_path / "mark").exists() and local.deaths == 1


def test_simulations_are_the_same_in_other_processes(tmp_path: Path) -> None:
    case = simulation.for_days(simulation.read(tiny.written(tmp_path)), 0.05)
    given = simulation.sweep_of(case, [settings.parse_varied("spares=0,2", "--vary")], [5])
    assert given.days == 0.05
    here = sweeps.run(given, simulation.run_task, Here())
    assert sweeps.run(given, simulation.run_task, executors.Local(2)) == here
    assert len({run.digest for run in here.runs}) == 2


def test_what_a_task_refuses_is_told_as_it_was() -> None:
    with pytest.raises(UserError, match="task: is wrong") as caught:
        list(executors.Local(1).results(workers.refuse, [b"x"]))
    assert (caught.value.field, caught.value.value) == ("task", "x")


def test_a_task_that_kills_every_worker_ends_in_words() -> None:
    with pytest.raises(UserError, match="died 4 times in a row"):
        list(executors.Local(1).results(workers.always_die, [b"x", b"y"]))


def test_the_farm_stops_after_a_failure_and_tells_seeds_in_order() -> None:
    found = seeds.farm(workers.check, Here(), 5, 10)
    assert [one.seed for one in found] == list(range(5, 15))
    assert [one.seed for one in found if one.problem] == [7, 14]
    found = seeds.farm(workers.check, executors.Local(1), 1, None, until_failure=True)
    assert [one.seed for one in found if one.problem] == [7] and len(found) <= 9


def test_places_have_names() -> None:
    assert executors.named("local", 3).places == 3
    with pytest.raises(UserError, match="Did you mean local"):
        executors.named("locl")


def test_the_twin_is_checked_and_a_broken_law_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seeds.farm(seeds.check_twin, Here(), 7, 1)
    assert not found[0].problem and "faults" in found[0].story
    assert {mark: seen for mark, _, seen in seeds.marks(found)}["node lost"] == 1
    check = seeds.check
    monkeypatch.setattr(seeds, "check", lambda seed: check(seed, "double-placement"))
    found = seeds.farm(seeds.check_twin, Here(), 7, 1)
    assert found[0].problem.startswith("no double placement\nseed 7 with canary double-placement")
    several = iter([check(7), check(8)])
    monkeypatch.setattr(seeds, "check", lambda seed: next(several))
    found = seeds.farm(seeds.check_twin, Here(), 7, 1)
    assert found[0].problem.startswith("two runs of it differ")
