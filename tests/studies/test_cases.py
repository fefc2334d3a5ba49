"""Cases: scenarios as data, with settings changed; and facts kept as Parquet."""

from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from myriad.protocol import facts
from myriad.protocol.facts import AnyFact
from myriad.studies import parquet, simulation
from myriad.studies.settings import parse


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".yaml").write_text(text)
    return folder / "scenario.yaml"


SITE = "name: hall\nchip: local-cpu\npods: [{name: a, racks: 2, nodes_per_rack: 50}]\n"


def test_single_knobs_of_a_policy_by_name_are_set(tmp_path: Path) -> None:
    case = simulation.read(write(tmp_path, scenario="site: s.yaml\npolicy: easy\n", s=SITE))
    policy = simulation.check(case.set([parse("backfill.depth=7", "--set"), parse("spares=3%", "--set")]))
    assert policy.setup.policy.backfill.depth == 7 and policy.setup.site.spares == 3
    assert policy.setup.policy.order == simulation.check(case).setup.policy.order
    assert simulation.check(case.set([parse("policy=fifo", "--set")])).setup.policy.order.policy == "fifo"


def test_a_policy_file_keeps_the_classes_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    def tenant_key(self, *a): ...\n    def ask_key(self, *a): ...\n"
    )
    write(tmp_path, own="order: {policy: 'mine.py:Mine'}\n")
    tree = simulation.policy_tree("own.yaml", tmp_path)
    assert tree["order"]["policy"] == f"{tmp_path / 'mine.py'}:Mine"


def test_the_same_scenario_has_the_same_hash_whatever_file_it_is_in(tmp_path: Path) -> None:
    one = simulation.read(write(tmp_path, scenario="name: x\nsite: s.yaml\n", s=SITE))
    inline = "".join(f"  {line}\n" for line in SITE.splitlines())
    two = simulation.read(write(tmp_path, scenario=f"# a comment\nsite:\n{inline}name: x\n"))
    hashes = [simulation.check(case).digest for case in (one, two, one.set([parse("spares=2", "--set")]))]
    assert hashes[0] == hashes[1] != hashes[2]


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
