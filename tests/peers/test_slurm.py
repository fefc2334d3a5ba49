"""The Slurm that benchmarks compare with: its files, the reading of its log, and a small real one."""

from collections import Counter
from pathlib import Path

import pytest
from bench.peers import slurm, slurm_site


def test_the_mix_is_reproducible_and_has_the_shares_it_states() -> None:
    sizes = slurm.mix(20_000, seed=7)
    assert sizes == slurm.mix(20_000, seed=7) != slurm.mix(20_000, seed=8)
    assert sum(slurm.SHARES.values()) == 100
    for nodes, count in Counter(sizes).items():
        assert count / 200 == pytest.approx(slurm.SHARES[nodes], abs=1.0)


def test_the_tree_has_every_node_in_one_leaf_and_every_leaf_in_one_pod() -> None:
    lines = slurm_site.topology(1250).splitlines()
    assert lines[0] == "SwitchName=leaf0 Nodes=n[1-32]"
    assert lines[39:] == [
        "SwitchName=leaf39 Nodes=n[1249-1250]",
        "SwitchName=pod0 Switches=leaf[0-31]",
        "SwitchName=pod1 Switches=leaf[32-39]",
        "SwitchName=core Switches=pod[0-1]",
    ]


def test_its_files_stay_on_loopback_and_in_the_folder() -> None:
    files = slurm_site.configuration(Path("scratch"), 32, (7001, 7002))
    lines = files["slurm.conf"].splitlines()
    assert "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny" in lines
    assert "SlurmctldPort=7001" in lines
    [node] = [line for line in lines if line.startswith("NodeName=")]
    assert node.startswith("NodeName=n[1-32] ") and " NodeAddr=127.0.0.1 Port=7002 " in node
    assert files["gres.conf"] == "Name=gpu File=scratch/gpu[0-7]\n"


def test_starts_of_both_loops_are_read_and_nothing_else() -> None:
    main = "[2026-01-02T03:04:05.250] sched: Allocate JobId=3 NodeList=n[1-4] #CPUs=256 Partition=main"
    backfill = "[2026-01-02T03:04:06.500] sched/backfill: _start_job: Started JobId=7 in main on n[9-12]"
    other = "[2026-01-02T03:04:06.600] sched: _release_job_rec: release hold on JobId=8 by uid 0"
    first, second, nothing = map(slurm._start, (main, backfill, other))
    assert first and second and nothing is None
    assert (first.job, first.backfilled, second.job, second.backfilled) == (3, False, 7, True)
    assert second.at - first.at == 1.25


def test_a_small_real_one_fills_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := slurm.available():
        pytest.skip(f"Slurm: {reason}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sizes = [1, 2, 16, 4, *[1] * 16]  # 39 nodes wanted, 32 there
    filled = slurm.fill(32, sizes)
    assert (filled.jobs, filled.started, filled.nodes_used) == (20, 13, 32)
    assert filled.starts_per_s > 0 and filled.release_s >= filled.seconds
    assert list(tmp_path.iterdir()) == []
    of_ours = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in _read(path)]
    assert of_ours == []


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""  # gone meanwhile
