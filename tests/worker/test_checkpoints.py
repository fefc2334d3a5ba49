"""A checkpoint is whole or it is none; the newest whole one is found and never pruned."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myriad.kernel.errors import UserError
from myriad.worker import checkpoints


def write(root: Path, step: int, *, finish: bool = True) -> Path:
    path = checkpoints.folder(root, step)
    (path / "part").mkdir(parents=True)
    for name in ("a.bin", ".metadata", "part/b.bin"):
        (path / name).write_bytes(f"{name} of {step}".encode() * 50)
    if finish:
        checkpoints.complete(path, step)
    return path


def newest(root: Path) -> tuple[int | None, list[str]]:
    warnings: list[str] = []
    found = checkpoints.newest_complete(root, warnings.append)
    return (found.step if found else None), warnings


def test_the_newest_whole_one_is_found(tmp_path: Path) -> None:
    assert newest(tmp_path / "none") == (None, [])
    assert newest(tmp_path) == (None, [])
    for step in (10, 20, 100_000_000):
        write(tmp_path, step)
    (tmp_path / "corpus-1").mkdir()
    assert newest(tmp_path) == (100_000_000, [])


DAMAGES = ("truncate", "grow", "flip", "remove")


@pytest.mark.timeout(400)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_happens_to_any_file_it_is_never_chosen(volatile: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory(dir=volatile) as name:
        root = Path(name)
        write(root, 10)
        path = write(root, 20)
        victims = sorted(p for p in path.rglob("*") if p.is_file())
        victim = data.draw(st.sampled_from(victims))
        damage(victim, data.draw(st.sampled_from(DAMAGES)), data)
        step, warnings = newest(root)
        assert step == 10
        assert len(warnings) == 1
        assert "step-00000020" in warnings[0]
        assert "using step-00000010" in warnings[0]
        with pytest.raises(UserError, match="not a usable checkpoint"):
            checkpoints.at(path)


def damage(victim: Path, kind: str, data: st.DataObject) -> None:
    content = victim.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == "remove":
        victim.unlink()
    elif kind == "truncate":
        victim.write_bytes(content[:place])
    elif kind == "grow":
        victim.write_bytes(content[:place] + b"?" + content[place:])
    else:
        changed = content[place] ^ data.draw(st.integers(1, 255))
        victim.write_bytes(content[:place] + bytes([changed]) + content[place + 1 :])


def test_half_written_ones_are_passed_over_and_set_aside(tmp_path: Path) -> None:
    write(tmp_path, 10)
    write(tmp_path, 20, finish=False)
    (write(tmp_path, 30) / "a.bin").unlink()
    step, warnings = newest(tmp_path)
    assert step == 10
    assert [text.split()[1] for text in warnings] == ["step-00000030", "step-00000020"]
    checkpoints.set_aside_after(tmp_path, 10)
    assert newest(tmp_path) == (10, [])
    write(tmp_path, 20)
    assert newest(tmp_path) == (20, [])


@pytest.mark.timeout(400)
@settings(deadline=None)
@given(
    steps=st.dictionaries(st.integers(1, 30), st.booleans(), min_size=1),
    keep=st.integers(0, 4),
)
def test_pruning_keeps_the_newest_and_what_is_being_written(
    volatile: Path, steps: dict[int, bool], keep: int
) -> None:
    with tempfile.TemporaryDirectory(dir=volatile) as name:
        root = Path(name)
        for step, finish in steps.items():
            write(root, step, finish=finish)
        before, _ = newest(root)
        checkpoints.prune(root, keep)
        assert newest(root)[0] == before
        whole = sorted(step for step, finish in steps.items() if finish)
        kept = whole[-max(keep, 1) :]
        left = {step for step in steps if checkpoints.folder(root, step).exists()}
        assert {step for step in left if steps[step]} == set(kept)
        assert {step for step in steps if step > max(whole, default=0)} <= left


def test_a_missing_one_that_was_named_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="half-written: it has no manifest"):
        checkpoints.at(tmp_path / "step-00000010")
    assert checkpoints.at(write(tmp_path, 10)).step == 10
