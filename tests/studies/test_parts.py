"""Scenarios made of parts, and facts kept as Parquet."""

from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from myriad.kernel.errors import UserError
from myriad.protocol import facts
from myriad.protocol.facts import AnyFact
from myriad.studies import parquet, parts, simulation
from myriad.studies.settings import parse


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".yaml").write_text(text)
    return folder / "scenario.yaml"


def test_sections_are_inline_or_files_or_files_with_changes(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        scenario="name: x\nsite: {from: parts/big.yaml, spares: 3, pods: [{name: b}]}\nfaults: parts/f.yaml\n",
        parts__big="from: base.yaml\nname: big\n",
        parts__base="name: base\nchip: h200\npods: [{name: a}]\nprices: {currency: EUR, energy_kwh: '0.1'}\n",
        parts__f="rate: 1.5\n",
    )
    assert parts.composed(path) == {
        "name": "x",
        "site": {
            "name": "big",
            "chip": "h200",
            "pods": [{"name": "b"}],
            "spares": 3,
            "prices": {"currency": "EUR", "energy_kwh": "0.1"},
        },
        "faults": {"rate": 1.5},
    }


def test_a_policy_is_a_name_a_file_or_either_with_changes(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        scenario="policy: {from: easy, backfill: {depth: 7}}\n",
        own="order: {policy: 'mine.py:Mine'}\n",
    )
    easy = simulation.read(path).tree["policy"]
    assert easy["backfill"]["depth"] == 7 and "order" in easy
    assert parts.policy("own.yaml", tmp_path)["order"]["policy"] == f"{tmp_path / 'mine.py'}:Mine"


def test_the_same_scenario_has_the_same_hash_whatever_file_it_is_in(tmp_path: Path) -> None:
    one = simulation.read(write(tmp_path, scenario="name: x\nfaults: f.yaml\n", f="rate: 1.5\n"))
    two = simulation.read(write(tmp_path, scenario="# a comment\nfaults: {rate: 1.5}\nname: x\n"))
    assert one.hash == two.hash != two.set([parse("faults.rate=2", "--set")]).hash


def test_missing_parts_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, scenario="name: x\nsite: gone.yaml\n")
    with pytest.raises(UserError, match=r"gone\.yaml"):
        simulation.read(path)
    path = write(tmp_path, scenario="name: x\nsite: {from: [gone.yaml]}\n")
    with pytest.raises(UserError, match=r"site\.from: must be the path of a file"):
        simulation.read(path)


def test_facts_come_back_from_parquet_as_they_were(tmp_path: Path) -> None:
    told = [
        facts.JobEnded(at=1, job="job-1", outcome="failed", text="ü"),
        facts.NodeCordoned(at=2, node="n7", cordoned=True),
        facts.GangStarted(at=3, attempt="job-1.2"),
        facts.CheckpointRecorded(at=4, job="job-1", attempt="job-1.2", step=5, path=""),
        facts.IdleExplained(at=5, reason="quota"),
    ]
    path = tmp_path / "facts.parquet"
    with parquet.FactsFile(path, rows=2) as file:
        for fact in told:
            file([fact])
    rows = pq.read_table(path).to_pylist()
    assert [row["subject"] for row in rows] == ["job-1", "n7", "job-1.2", "job-1.2", ""]
    assert [msgspec.json.decode(row["body"], type=AnyFact) for row in rows] == told
    assert [(row["at"], row["kind"]) for row in rows] == [(one.at, type(one).__name__) for one in told]
    assert pq.ParquetFile(path).num_row_groups == 3 and file.count == 5
