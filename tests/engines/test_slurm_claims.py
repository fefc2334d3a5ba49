"""Who may start an attempt: one job, or nobody, whatever comes at the same time; what the folder keeps."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from myriad.engines.slurm.asking import batch
from myriad.engines.slurm.config import Config
from myriad.engines.slurm.gangs import gang, sweeping
from myriad.engines.slurm.spool import STOPPED, Spool, write_json
from myriad.protocol import inputs


def _script(data: Path, files: Spool) -> Path:
    body = batch.script(Config(start="gang"), files, data, "job-a.1", "myriad-x/job-a.1", 1, data / "logs")
    head, _, _ = body.rpartition("exec ")
    path = data / "script"
    path.write_text(f'{head}echo "$SLURM_JOB_ID" >>{data}/ran\n')
    return path


def _run(script: Path, job: int) -> int:
    return subprocess.run(["sh", script], env=os.environ | {"SLURM_JOB_ID": str(job)}, check=False).returncode


def _prepared(data: Path) -> tuple[Spool, Path]:
    files = Spool(data)
    files.prepare()
    return files, _script(data, files)


def test_of_many_jobs_one_starts_and_it_starts_once(tmp_path: Path) -> None:
    files, script = _prepared(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda job: _run(script, job), list(range(1, 25)) * 2))
    assert set(codes) == {0}
    ran = (tmp_path / "ran").read_text().split()
    assert len(ran) == 1 and files.claim("job-a.1") == ran[0]


def test_a_stop_that_comes_first_wins_and_one_that_comes_later_learns_who_was_first(tmp_path: Path) -> None:
    files, script = _prepared(tmp_path)
    assert files.forbid("job-a.1") == ""
    assert files.forbid("job-a.1") == ""
    assert _run(script, 7) == 0 and not (tmp_path / "ran").exists()
    assert files.claim("job-a.1") == STOPPED

    other, second = _prepared(tmp_path / "other")
    assert _run(second, 8) == 0
    assert other.forbid("job-a.1") == "8"


def test_a_start_and_a_stop_at_once_never_both_win(tmp_path: Path) -> None:
    for number in range(12):
        files, script = _prepared(tmp_path / str(number))
        with ThreadPoolExecutor(2) as pool:
            ran = pool.submit(_run, script, 9)
            stopped = pool.submit(files.forbid, "job-a.1")
        ran.result()
        assert (stopped.result() == "9") == (tmp_path / str(number) / "ran").exists()


def test_claims_are_forgotten_when_no_job_can_come_any_more_and_never_while_one_can(tmp_path: Path) -> None:
    files = Spool(tmp_path)
    files.prepare()
    for name in ("old", "young", "planned", "pending"):
        files.forbid(name)
    files.of("planned").mkdir()
    write_json(files.plan("planned"), {"members": []})
    (files.root / "spool" / "half").mkdir()
    for path in [*(files.root / "claims").iterdir(), *(files.root / "spool").iterdir()]:
        if path.name != "young":
            os.utime(path, (1, 1))
    sweeping.prune(files, {"pending"}, 3600.0)
    assert sorted(path.name for path in (files.root / "claims").iterdir()) == ["pending", "planned", "young"]
    assert sorted(path.name for path in (files.root / "spool").iterdir()) == ["planned"]
    sweeping.clear(files, ["planned"])
    sweeping.prune(files, set(), 3600.0)  # it is over only since now
    assert files.claim("planned") == STOPPED


def test_plans_are_for_our_eyes_and_hooks_of_slurm_reach_their_file(tmp_path: Path) -> None:
    files = Spool(tmp_path)
    (files.root / "spool").mkdir(parents=True)  # by a release before
    files.prepare()
    assert (files.root / "spool").stat().st_mode & 0o777 == 0o700
    assert files.root.stat().st_mode & 0o011


def test_generations_of_nodes_never_go_back(tmp_path: Path) -> None:
    files = Spool(tmp_path)
    files.prepare()
    assert files.set_life("n0", 3, 7) == 3
    assert files.set_life("n0", 2, 8) == 3
    assert files.life("n0") == (3, 8)


def test_no_member_begins_where_it_was_spoken_for(tmp_path: Path) -> None:
    files = Spool(tmp_path)
    files.of("job-a.1").mkdir(parents=True)
    assert files.bar("job-a.1", "n1")
    assert not files.bar("job-a.1", "n1"), "said once"
    assert isinstance(gang.parse(files.log("job-a.1", "n1").read_bytes(), "job-a.1", "n1"), inputs.MemberGone)
    files.log("job-a.1", "n2").touch()  # a member's first deed
    assert not files.bar("job-a.1", "n2")
    assert files.log("job-a.1", "n2").read_bytes() == b""
