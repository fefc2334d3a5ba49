"""Checkpoints in memory: a lost node costs a few steps, a lost pair those since storage, and no bit.

A node here is a folder that its ranks share, as the engine gives them; losing the node is losing the folder.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myriad.worker import checkpoints, memory
from tests.worker.conftest import Gang
from tests.worker.test_elastic import TOLERANCE
from tests.worker.test_pretrain import losses, of_kind

STEPS = 16
CONFIG = {"steps": STEPS, "checkpoint_every_steps": 5, "memory_every_steps": 2}
NODES = ["n0", "n1", "n2", "n3"]


def interrupted(gang: Gang, folder: Path, nodes: Sequence[str], lost: Sequence[str], **more: Any) -> Any:
    """Train, be killed once storage has step 5 and memory a later one; lose nodes. The others keep theirs."""
    env = {"MYRIAD_ATTEMPT": "job.1", **more.pop("env", {})}
    killed = {"when": {"storage": 5, "memory": 6}, "then": ["kill", 1]}
    first = gang(folder, nodes=list(nodes), env=env, **killed, **CONFIG | more)
    assert -9 in first["codes"]
    for node in lost:
        shutil.rmtree(folder / "memory" / node)
    # storage may be further already: the tests want it at step 5
    for step in range(6, STEPS):
        shutil.rmtree(checkpoints.folder(folder / "checkpoints", step), ignore_errors=True)
    return first


def resumed(gang: Gang, folder: Path, nodes: Sequence[str], **more: Any) -> tuple[int, dict[str, Any]]:
    """The next attempt, and the step it went on from."""
    env = {"MYRIAD_ATTEMPT": "job.2", **more.pop("env", {})}
    second = gang(folder, nodes=list(nodes), env=env, **CONFIG | more)
    assert second["codes"] == [0] * len(nodes), (folder / "rank-0.log").read_text()
    return of_kind(second, "resumed")[0]["step"], second


def in_memory(result: dict[str, Any]) -> list[int]:
    return [report["step"] for report in of_kind(result, "checkpoint") if report["tier"] == "memory"]


@pytest.fixture(scope="module")
def whole(gang: Gang, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, float]]:
    """The run on four ranks that nothing happens to, without copies in memory."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, losses(gang(folder, world=4, **CONFIG | {"memory_every_steps": 0}))


def test_a_lost_node_costs_the_steps_since_memory_and_no_bit(
    gang: Gang, whole: tuple[Path, dict[int, float]], tmp_path: Path
) -> None:
    first = interrupted(gang, tmp_path, NODES, lost=["n1"])
    told = in_memory(first)
    assert told and told[-1] >= 6
    # another node in its place, and another order: each rank finds its shard wherever it is
    step, second = resumed(gang, tmp_path, ["n3", "n0", "n5", "n2"])
    assert step >= told[-1]
    assert losses(first) | losses(second) == whole[1]
    same = "output/model/model.safetensors"
    assert (tmp_path / same).read_bytes() == (whole[0] / same).read_bytes()
    assert not list((tmp_path / "memory").glob("*")), "memory is freed when the job is over"


def test_a_copy_is_of_the_step_it_was_made_at_however_late_it_is_sent(
    gang: Gang, whole: tuple[Path, dict[int, float]], tmp_path: Path
) -> None:
    first = interrupted(gang, tmp_path, NODES, lost=["n1"], late=True)
    told = in_memory(first)
    step, second = resumed(gang, tmp_path, NODES)
    assert told[-1] <= step <= max(losses(first))
    assert losses(first) | losses(second) == whole[1]


def test_a_node_lost_with_its_partner_costs_the_steps_since_storage(
    gang: Gang, whole: tuple[Path, dict[int, float]], tmp_path: Path
) -> None:
    first = interrupted(gang, tmp_path, NODES, lost=["n1", "n2"])
    step, second = resumed(gang, tmp_path, ["n0", "n4", "n5", "n3"])
    assert step == 5
    assert any("in memory is not whole" in report["text"] for report in of_kind(second, "warning"))
    assert losses(first) | losses(second) == whole[1]


def test_partners_may_be_further_apart(gang: Gang, tmp_path: Path) -> None:
    apart = {"MYRIAD_MEMORY_SHIFT": "2"}
    interrupted(gang, tmp_path, NODES, lost=["n1", "n2"], env=apart)
    assert resumed(gang, tmp_path, ["n0", "n4", "n5", "n3"], env=apart)[0] >= 6


@pytest.mark.parametrize(
    "survivors", [["n0", "n2", "n3"], ["n3", "n0"], ["n0", "n2", "n3", "n4", "n5", "n6"]]
)
def test_a_gang_of_another_size_takes_up_what_is_in_memory(
    gang: Gang, whole: tuple[Path, dict[int, float]], tmp_path: Path, survivors: list[str]
) -> None:
    # of the two that stay in the second case, one has the shard of n1 and the other that of n2
    lost = ["n1"] if "n2" in survivors else ["n1", "n2"]
    env = {"MYRIAD_MEMORY_SHIFT": "1" if "n2" in survivors else "2"}
    interrupted(gang, tmp_path, NODES, lost=lost, env=env)
    step, second = resumed(gang, tmp_path, survivors, env=env)
    assert step >= 6
    found = losses(second)
    assert found == pytest.approx({s: whole[1][s] for s in found}, abs=TOLERANCE, rel=0)


def test_ranks_of_one_node_share_its_memory_and_their_partners_are_elsewhere(
    gang: Gang, whole: tuple[Path, dict[int, float]], tmp_path: Path
) -> None:
    first = interrupted(gang, tmp_path, ["n0", "n0", "n1", "n1"], lost=["n0"])
    step, second = resumed(gang, tmp_path, ["n2", "n2", "n1", "n1"])
    assert step >= 6
    assert losses(first) | losses(second) == whole[1]


def test_whenever_a_node_is_lost_the_step_last_told_is_there_and_no_node_holds_more_than_two(
    gang: Gang, tmp_path: Path
) -> None:
    # more steps than five attempts take, however far one gets between two copies
    config = CONFIG | {"steps": 400, "memory_every_steps": 1, "checkpoint_every_steps": 100}
    safe = 0
    for attempt in range(1, 6):
        victim = attempt % 4
        killed = {"when": {"memory": safe + 3}, "then": ["kill", victim]}
        result = gang(tmp_path, nodes=NODES, env={"MYRIAD_ATTEMPT": f"job.{attempt}"}, **killed, **config)
        assert of_kind(result, "resumed")[0]["step"] >= safe
        safe = in_memory(result)[-1]
        for node in NODES:
            files = list((tmp_path / "memory" / node).iterdir())
            assert 2 <= len(files) <= 4, "its own and its partner's shard, of two steps at most"
        shutil.rmtree(tmp_path / "memory" / NODES[victim])


def test_a_gang_of_one_node_keeps_its_own(gang: Gang, tmp_path: Path) -> None:
    interrupted(gang, tmp_path, ["n0", "n0"], lost=[])
    assert resumed(gang, tmp_path, ["n0", "n0"])[0] >= 6


def test_a_file_that_cannot_be_read_fails_one_attempt_and_no_other(gang: Gang, tmp_path: Path) -> None:
    interrupted(gang, tmp_path, NODES, lost=[])
    held = [memory.held(tmp_path / "memory" / node) for node in NODES]
    # the kill may have left a newer one that is not on every node
    found, _ = memory.newest_whole(held, held[0][0].saved.layout)
    assert found is not None
    with memory.file_of(tmp_path / "memory" / "n0", memory.Shard(found.saved, 0)).open("r+b") as file:
        file.truncate(100)
    failed = gang(tmp_path, nodes=NODES, env={"MYRIAD_ATTEMPT": "job.2"}, **CONFIG)
    assert failed["codes"][0] == 1
    step, _ = resumed(gang, tmp_path, NODES, env={"MYRIAD_ATTEMPT": "job.3"})
    assert step == found.saved.step, "its copy on the partner is taken"


def test_where_there_is_no_room_training_goes_on_with_storage_alone(gang: Gang, tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "n1").write_text("in the way")
    result = gang(tmp_path, nodes=["n0", "n1"], **CONFIG)
    assert result["codes"] == [0, 0]
    assert in_memory(result) == []
    assert any("no more checkpoints in memory" in report["text"] for report in of_kind(result, "warning"))


def test_a_cadence_is_advised_in_seconds_unless_the_configuration_has_its_own_word(
    gang: Gang, tmp_path: Path
) -> None:
    def copies(name: str, every_s: str, **own: int) -> int:
        config = {name: value for name, value in CONFIG.items() if name != "memory_every_steps"} | own
        env = {"MYRIAD_MEMORY_EVERY_S": every_s}
        return len(in_memory(gang(tmp_path / name, nodes=["n0", "n1"], env=env, **config)))

    assert copies("rare", "1000") == 1, "the first is made at once"
    assert copies("often", "0.001") > 2
    assert copies("own", "1000", memory_every_steps=2) > 2
    assert copies("none", "0.001", memory_every_steps=0) == 0


# ---- files alone --------------------------------------------------------------------------------


def shards_of(saved: memory.Saved, nodes: Sequence[int]) -> list[set[memory.Shard]]:
    """What nodes hold when node k wrote shard k, and keeps a copy for the one before it."""
    count = len(nodes)
    return [{memory.Shard(saved, k), memory.Shard(saved, (k - 1) % count)} for k in range(count)]


@given(count=st.integers(2, 9), data=st.data())
def test_whole_is_what_has_every_shard_somewhere(count: int, data: st.DataObject) -> None:
    old = memory.Saved(4, "job.1", count, "0" * 8)
    new = old._replace(step=6)
    lost = data.draw(st.sets(st.integers(0, count - 1), max_size=count - 1))
    held = [a | b for a, b in zip(shards_of(old, range(count)), shards_of(new, range(count)), strict=True)]
    left = [shards for node, shards in enumerate(held) if node not in lost]
    found, missing = memory.newest_whole(left, old.layout)
    pairs = {node for node in lost if (node + 1) % count in lost}
    if pairs:
        assert found is None
        assert missing == {6: len(pairs), 4: len(pairs)}
    else:
        assert found is not None and found.saved == new and missing == {}
        for number, ranks in enumerate(found.holders):
            assert ranks and all(memory.Shard(new, number) in left[rank] for rank in ranks)


def test_shards_of_different_attempts_sizes_or_models_never_mix() -> None:
    mine = memory.Saved(6, "job.1", 2, "0" * 8)
    for other in (mine._replace(attempt="job.2"), mine._replace(of=3), mine._replace(layout="1" * 8)):
        found, _ = memory.newest_whole([{memory.Shard(mine, 0)}, {memory.Shard(other, 1)}], mine.layout)
        assert found is None


def test_what_has_no_name_yet_does_not_count(tmp_path: Path) -> None:
    saved = memory.Saved(6, "job-a.1", 2, "0123abcd")
    memory.file_of(tmp_path, memory.Shard(saved, 1)).touch()
    memory.draft_of(tmp_path, 0, 1, "job-a.1").touch()
    (tmp_path / "something else").touch()
    assert memory.held(tmp_path) == [memory.Shard(saved, 1)]
    memory.forget_others(tmp_path, "job-a.1", None)
    assert len(list(tmp_path.iterdir())) == 3
    memory.forget_others(tmp_path, "job-a.2", saved)
    assert memory.held(tmp_path) == [memory.Shard(saved, 1)]
    assert len(list(tmp_path.iterdir())) == 2
    assert memory.held(tmp_path / "nowhere") == []
