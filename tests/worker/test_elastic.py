"""A run that shrinks and grows is the run it would have been: the same data, the same losses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from myriad.worker import checkpoints
from myriad.worker.recipes.pretrain import config as recipe
from tests.worker.conftest import TINY, Gang
from tests.worker.test_pretrain import losses, of_kind

#: The arithmetic is fp32 and the same but for the order in which ranks' parts are summed: each step's
#: gradient differs in its last bits (2^-24 of a loss near 5 is 3e-7), and 30 small steps do not amplify
#: that beyond a few bits. Measured here: 5e-7 at most. The tolerance is ten times that, and a thousandth
#: of what one wrong, lost or repeated sequence would change.
TOLERANCE = 5e-6
STEPS = 30
#: Gang size, and the step at which its last rank is killed: after another checkpoint was begun, which waits
#: for the one before.
LIVES = ((4, 12), (2, 17), (3, 24), (4, None))


@pytest.fixture(scope="module")
def elastic(gang: Gang, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """One job on 4, 2, 3 and again 4 ranks."""
    folder = tmp_path_factory.mktemp("elastic")
    lives = []
    for world, killed_at in LIVES:
        at = {str(killed_at): ["kill", world - 1]} if killed_at else {}
        lives.append(gang(folder, world=world, at=at, steps=STEPS, checkpoint_every_steps=5))
        taken = folder / f"taken-{len(lives)}"
        taken.mkdir()
        for rank in range(world):
            shutil.move(folder / f"windows-{rank}.jsonl", taken)
    return folder, lives


def test_its_losses_are_those_of_the_run_on_one_size(
    gang: Gang, elastic: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    whole = losses(gang(tmp_path, world=4, steps=STEPS, checkpoint_every_steps=5))
    folder, lives = elastic
    assert lives[-1]["codes"] == [0, 0, 0, 0], (folder / "rank-0.log").read_text()
    starts = [of_kind(life, "resumed")[0]["step"] for life in lives]
    assert starts[0] == 0 and starts == sorted(starts) and starts[1] >= 5 and starts[3] >= 15
    for life in lives:
        assert losses(life) == pytest.approx({s: whole[s] for s in losses(life)}, abs=TOLERANCE, rel=0)
    seen = losses(lives[0]) | losses(lives[1]) | losses(lives[2]) | losses(lives[3])
    assert list(seen) == list(range(1, STEPS + 1))
    assert abs(whole[1] - whole[STEPS]) > 1e5 * TOLERANCE, "a loss that hardly moves proves nothing"


def test_every_step_takes_its_own_sequences_whoever_computes_them(
    elastic: tuple[Path, list[dict[str, Any]]],
) -> None:
    batch = TINY["global_batch_sequences"]
    windows: dict[tuple[int, int], int] = {}
    for number, life in enumerate(elastic[1], 1):
        taken: dict[int, list[int]] = {}
        for path in (elastic[0] / f"taken-{number}").iterdir():
            for step, index, window in map(json.loads, path.read_text().splitlines()):
                taken.setdefault(step, []).append(index)
                # a step that is done again, on another gang, has the same sequences
                assert windows.setdefault((step, index), window) == window
        for step in losses(life):
            assert sorted(taken[step]) == list(range(batch)), "a sequence is skipped or taken twice"
    assert sorted(windows) == [(s, i) for s in range(1, STEPS + 1) for i in range(batch)]


@pytest.mark.parametrize("world", [recipe.sizes(recipe.Config.of(TINY), 1, 1, 99)[k] for k in (0, -1)])
def test_the_smallest_and_the_largest_size_take_up_a_checkpoint_of_another(
    gang: Gang, elastic: tuple[Path, list[dict[str, Any]]], tmp_path: Path, world: int
) -> None:
    source = checkpoints.folder(elastic[0] / "checkpoints", 25)
    result = gang(tmp_path, world=world, steps=26, start_from=str(source))
    assert result["codes"] == [0] * world
    assert losses(result)[26] == pytest.approx(losses(elastic[1][3])[26], abs=1e-4)
