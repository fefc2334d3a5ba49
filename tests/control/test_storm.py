"""The same storm gives the same facts: under any hash seed, and whenever the control plane restarts."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.control.storm import Storm, policy

ROOT = Path(__file__).parents[2]


def digest(hash_seed: str, *arguments: str) -> subprocess.Popen[str]:
    """The storm in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.control.storm", *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}/src:{ROOT}", "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("order, fill", [("fair", "easy"), ("fifo", "conservative")])
def test_no_decision_depends_on_the_order_of_a_set_or_of_hashes(order: str, fill: str) -> None:
    runs = [digest(seed, "7", order, fill, "800") for seed in ("0", "1", "4711")]
    found = [run.communicate()[0] for run in runs]
    assert all(run.returncode == 0 for run in runs) and found[0]
    assert len(set(found)) == 1


def test_the_storm_is_one() -> None:
    """Gangs are placed, sent away, lost and done: otherwise the digests above say little."""
    kinds = Storm(7, policy()).run(1000).kinds
    for kind in ("GangPlaced", "LeaveAsked", "preempted", "NodeLost", "NodeTaken", "done", "node"):
        assert kinds[kind] >= 5, f"only {kinds[kind]} times {kind}"


@pytest.mark.parametrize("order, period", [("fifo", "5m"), ("fair", "1s")])
@pytest.mark.parametrize("fill", ["easy", "conservative"])
def test_a_restart_changes_nothing_that_happens_after_it(order: str, period: str, fill: str) -> None:
    """Without preemption, and with shares that are worked out anew at every turn."""
    rules = policy(order, period, "none", fill)
    plain = Storm(3, rules, 256).run(500)
    assert Storm(3, rules, 256).run(500, restarts=(40, 150, 151, 300, 420)).digest == plain.digest


@pytest.mark.parametrize("seed", [2, 5])
def test_a_restart_forgets_little(seed: int) -> None:
    """What the shares were when their period began, for whom no victims were found, which quotas are full.

    Given those, the facts after a restart are the same with preemption and periods, too. Without them the
    order of tenants may change within one period, and victims may be found up to a quarter of `min_run`
    earlier.
    """
    plain = Storm(seed, policy()).run(1000)
    again = Storm(seed, policy(), remembers=True).run(1000, restarts=(100, 300, 301, 500, 800))
    assert again.digest == plain.digest


@pytest.mark.slow  # half a minute: many storms, restarted at many points
@pytest.mark.parametrize("seed", range(10, 20))
@pytest.mark.parametrize("order", ["fair", "fifo"])
def test_many_storms_restarted_at_many_points(seed: int, order: str) -> None:
    rules = policy(order)
    plain = Storm(seed, rules).run(1500)
    again = Storm(seed, rules, remembers=True).run(1500, restarts=range(50, 1500, 97))
    assert again.digest == plain.digest
