"""Gangs of real processes: interrupted, resumed, re-cut, stopped. Exactly the run it would have been."""

import json
from pathlib import Path
from typing import Any

import pytest

from myriad.worker import checkpoints
from tests.worker.conftest import Gang


def losses(result: dict[str, Any]) -> dict[int, float]:
    return {r["step"]: r["loss"] for r in result["reports"] if r["kind"] == "progress"}


def of_kind(result: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [report for report in result["reports"] if report["kind"] == kind]


@pytest.fixture(scope="module")
def whole(gang: Gang, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    result = gang(folder, steps=30, checkpoint_every_steps=5)
    assert result["codes"] == [0, 0], (folder / "rank-0.log").read_text()
    return folder, result


def test_it_learns_and_tells(whole: tuple[Path, dict[str, Any]]) -> None:
    folder, result = whole
    assert result["threads"] == 1, "a parent with threads must not fork"
    assert of_kind(result, "resumed")[0]["step"] == 0
    told = losses(result)
    assert list(told) == list(range(1, 31))
    assert told[30] < told[1] - 0.3
    saved = of_kind(result, "checkpoint")
    assert [report["step"] for report in saved] == [5, 10, 15, 20, 25, 30]
    assert all(report["bytes"] > 10_000 and report["request"] == "" for report in saved)
    assert checkpoints.verify(Path(saved[-1]["path"])).step == 30
    summary = json.loads((folder / "output" / "run.json").read_text())
    assert summary["loss"] == told[30]
    assert summary["tokens"] == 30 * 12 * 16


def test_killed_and_resumed_it_is_bitwise_the_same_run(
    gang: Gang, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    config = {"steps": 30, "checkpoint_every_steps": 5}
    first = gang(tmp_path, at={"17": ["kill", 1]}, **config)
    assert first["codes"] == [75, -9], "the survivor lost a peer and is not to blame"
    assert of_kind(first, "failed") == []
    # What a crash in the middle of a save leaves behind, newer than every checkpoint.
    half = checkpoints.folder(tmp_path / "checkpoints", 18)
    half.mkdir()
    (half / "__0_0.distcp").write_bytes(b"half")
    second = gang(tmp_path, **config)
    assert second["codes"] == [0, 0]
    start = of_kind(second, "resumed")[0]["step"]
    assert start in (10, 15)
    assert "step-00000018" in of_kind(second, "warning")[0]["text"]
    expected = losses(whole[1])
    assert losses(first) | losses(second) == expected
    same = "output/model/model.safetensors"
    assert (tmp_path / same).read_bytes() == (whole[0] / same).read_bytes()


def test_killed_again_and_again_while_saving_it_is_still_the_same_run(
    gang: Gang, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    seen: dict[int, float] = {}
    for step in ("6", "13", "20"):
        result = gang(tmp_path, steps=30, checkpoint_every_steps=1, at={step: ["kill", 0]})
        assert result["codes"][0] == -9
        assert of_kind(result, "resumed")[0]["step"] <= int(step)
        seen |= losses(result)
    last = gang(tmp_path, steps=30, checkpoint_every_steps=1)
    assert last["codes"] == [0, 0]
    assert seen | losses(last) == losses(whole[1])


def test_another_number_of_ranks_takes_it_up(
    gang: Gang, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    first = gang(tmp_path, world=2, steps=30, at={"12": ["kill", 0]}, checkpoint_every_steps=5)
    assert first["codes"][0] == -9
    second = gang(tmp_path, world=3, steps=30, checkpoint_every_steps=5)
    assert second["codes"] == [0, 0, 0]
    expected = losses(whole[1])
    for step, loss in losses(second).items():
        assert loss == pytest.approx(expected[step], abs=1e-4)


def test_a_request_is_answered_by_a_checkpoint_and_training_goes_on(gang: Gang, tmp_path: Path) -> None:
    result = gang(tmp_path, steps=12, checkpoint_every_steps=100, at={"4": ["request", "drain-1"]})
    assert result["codes"] == [0, 0]
    saved = of_kind(result, "checkpoint")
    assert [report["request"] for report in saved] == ["drain-1", ""]
    assert [report["step"] for report in saved] == [5, 12]


def test_sigterm_ends_it_at_once(gang: Gang, tmp_path: Path) -> None:
    result = gang(tmp_path, steps=100_000, at={"3": ["term"]})
    assert result["codes"] == [143, 143]
    assert of_kind(result, "failed") == []


def test_the_advised_cadence_in_seconds_replaces_the_one_in_steps(gang: Gang, tmp_path: Path) -> None:
    env = {"MYRIAD_CHECKPOINT_EVERY_S": "0.0"}
    result = gang(tmp_path, steps=3, checkpoint_every_steps=1000, env=env)
    assert [report["step"] for report in of_kind(result, "checkpoint")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"data": {"corpus": "/nowhere"}}, "config: data.corpus: is not a folder"),
        ({"stepz": 3}, "stepz: is not a known field"),
        ({"global_batch_sequences": 13}, "cannot be shared evenly by 2 ranks"),
        ({"start_from": "/nowhere/step-1"}, "half-written: it has no manifest"),
        ({"learning_rate": 1e20, "warmup_steps": 0}, "config: learning_rate: is too high"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    gang: Gang, tmp_path: Path, config: dict[str, Any], words: str
) -> None:
    result = gang(tmp_path, **config)
    assert all(code != 0 for code in result["codes"])
    texts = [report["text"] for report in of_kind(result, "failed")]
    assert texts
    assert all(words in text for text in texts)


def test_a_slow_rank_shows_though_every_rank_ends_a_step_together(gang: Gang, tmp_path: Path) -> None:
    result = gang(tmp_path, steps=4, slow=1)
    paces: dict[int, list[float]] = {0: [], 1: []}
    for report in of_kind(result, "pace"):
        paces[report["rank"]].append(report["compute_s"])
    # two layers and two micro-batches of 0.1 s each; the other rank waits for it, and does not count that
    assert min(paces[1]) >= 0.4
    assert min(paces[0]) < 0.2
    assert all(r["step_s"] >= 0.4 for r in of_kind(result, "progress"))


def test_an_empty_corpus_is_named(gang: Gang, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.py").touch()
    result = gang(tmp_path, data={"corpus": str(tmp_path / "texts")})
    assert any("holds no text" in report["text"] for report in of_kind(result, "failed"))


def test_a_run_begins_from_another_runs_checkpoint(
    gang: Gang, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    source = checkpoints.folder(whole[0] / "checkpoints", 25)
    result = gang(tmp_path, steps=30, start_from=str(source))
    assert of_kind(result, "resumed")[0]["step"] == 25
    assert losses(result) == {k: v for k, v in losses(whole[1]).items() if k > 25}
