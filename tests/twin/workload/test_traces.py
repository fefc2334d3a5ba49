"""Published formats: what is read, what is left out, and errors that name the line."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from myriad.control.policy import Policy
from myriad.control.sitefile import Setup
from myriad.kernel.errors import UserError
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, MINUTE, SECOND
from myriad.protocol import facts
from myriad.protocol.fact import Fact
from myriad.twin.run import simulate
from myriad.twin.scenario import Scenario
from myriad.twin.workload import traces
from myriad.workload.prices import PriceBook
from tests.twin.workload.shop import FILES, site

HELIOS = (FILES / "helios.csv").read_text()


def _written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_helios() -> None:
    trace = traces.open(FILES / "helios.csv")
    assert [row.job for row in trace.rows] == ["11", "13", "15", "14"]
    assert [row.outcome for row in trace.rows] == ["succeeded", "failed", "cancelled", "failed"]
    assert trace.rows[1].wait_s == 600
    assert dict(trace.left_out) == {"asks for no accelerator": 1}
    # names of virtual clusters that differ in case only stay apart
    assert [tenant.name for tenant in trace.tenants(site())] == ["vcone", "vctwo", "vcone-2"]
    assert trace.summary().largest == 16


def test_acme_reads_both_clusters_and_offsets_of_time() -> None:
    seren = traces.open(FILES / "seren.csv")
    assert [(row.job, row.kind, row.chips) for row in seren.rows] == [
        ("501", "Eval", 8),
        ("502", "Pretrain", 128),
    ]
    assert seren.rows[1].submit_s - seren.rows[0].submit_s == 600
    assert dict(seren.left_out) == {"asks for no accelerator": 1, "never ran": 1}
    kalos = traces.open(FILES / "kalos.csv")
    assert [row.run_s for row in kalos.rows] == [20, 240]


def test_philly_sums_attempts_and_takes_the_largest() -> None:
    trace = traces.open(FILES / "philly.json")
    assert [(row.job, row.chips, row.run_s, row.wait_s) for row in trace.rows] == [
        ("application_1_3", 1, 30, 30),
        ("application_1_1", 4, 4200, 60),
    ]
    assert dict(trace.left_out) == {"never ran": 1, "still ran when the trace was taken": 1}


def test_openb_rounds_parts_of_a_gpu_up() -> None:
    trace = traces.open(FILES / "openb_pods.csv")
    assert [(row.job, row.chips) for row in trace.rows] == [("pod-b", 8), ("pod-a", 0.25), ("pod-e", 2)]
    works = list(trace.arrivals(site(), Stream(1)))
    assert [work.spec.chips for work in works] == [8, 1, 2]
    assert [work.truth.outcome for work in works] == ["failed", "succeeded", "succeeded"]


def test_openb_nodes_become_pods() -> None:
    found = traces.openb_site(FILES / "openb_nodes.csv")
    assert (found.node_count, found.chip_count) == (3, 12)
    assert [(pod.name, pod.chips_per_node) for pod in found.pods] == [("g2x8-rest", 8), ("p100x2-rest", 2)]


def test_gavel_pai_and_a_slice() -> None:
    assert [row.chips for row in traces.open(FILES / "gavel.csv").rows] == [1, 4]
    pai = traces.open(FILES / "pai_tasks.csv", "pai")
    assert [(row.job, row.chips, row.outcome) for row in pai.rows] == [
        ("job-b-worker", 4, "failed"),
        ("job-a-tensorflow", 0.5, "succeeded"),
    ]
    assert dict(pai.left_out) == {"asks for no accelerator": 1, "never ran": 1}
    cut = traces.open(FILES / "slice.csv")
    assert [(row.line, row.submit_s) for row in cut.rows] == [(4, 5.0), (5, 5.5)]


def test_rows_become_work_in_order_from_zero() -> None:
    trace = traces.open(FILES / "helios.csv", estimates=traces.KNOWN)
    works = list(trace.arrivals(site(), Stream(1), start=MINUTE))
    assert [work.at for work in works] == [MINUTE, 6 * MINUTE, 31 * MINUTE, 61 * MINUTE]
    first = works[0]
    assert first.profile.expected_ns == first.truth.work_ns == 90 * SECOND
    # what ended at once ran for a second; what fails by itself is not started again
    assert works[2].truth.work_ns == SECOND
    assert [work.spec.retries for work in works] == [3, 0, 3, 0]
    assert (works[1].spec.nodes, works[1].spec.chips_per_node) == (2, 8)
    assert len(list(trace.arrivals(site(), Stream(1), 10 * MINUTE))) == 2


def test_one_virtual_cluster_and_its_quota() -> None:
    trace = traces.open(FILES / "helios.csv", quotas={"vcOne": 64}).only("vcOne")
    (tenant,) = trace.tenants(site())
    assert (tenant.quota.chips, tenant.quota.borrow, len(trace.rows)) == (64, 0, 2)
    with pytest.raises(UserError, match="nobody of the trace"):
        traces.open(FILES / "helios.csv", quotas={"vcTen": 64})


@pytest.mark.parametrize(
    ("line", "old", "new", "column", "words"),
    [
        (2, ",90,0", ",-90,0", "duration", "is negative"),
        (2, "vcOne,1,4", "vcOne,,4", "gpu_num", "is empty"),
        (4, "vcTwo,16,", "vcTwo,many,", "gpu_num", "is not a number"),
        (4, "vcTwo,16,", "vcTwo,nan,", "gpu_num", "is not a number"),
        (4, "FAILED", "EXPLODED", "state", "is not a state known here"),
        (5, "2020-05-04 09:00:00,2020-05-04 09", "yesterday,2020-05-04 09", "submit_time", "is not a date"),
        (
            6,
            ",CANCELLED,2020-05-04 08:30:00,2020-05-04 08:30:00,2020-05-04 08:30:00,0,0",
            "",
            "state",
            "is missing",
        ),
    ],
)
def test_a_bad_row_is_named_by_line_and_column(
    tmp_path: Path, line: int, old: str, new: str, column: str, words: str
) -> None:
    lines = HELIOS.splitlines()
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    path = _written(tmp_path, "\n".join(lines))
    with pytest.raises(UserError) as raised:
        traces.open(path)
    assert raised.value.field == f"trace.csv, line {line}, column {column}"
    assert words in raised.value.problem
    skipped = traces.open(path, skip_bad_rows=True)
    assert len(skipped.rows) == 3
    assert skipped.left_out["cannot be read"] == len(skipped.bad_rows) == 1


def test_philly_entries_are_named_by_line(tmp_path: Path) -> None:
    text = (FILES / "philly.json").read_text()
    path = _written(
        tmp_path, text.replace('"status": "Killed", "vc": "bb22", "jobid": "application_1_3"', '"vc": ""')
    )
    with pytest.raises(UserError) as raised:
        traces.open(path)
    assert raised.value.field == "trace.csv, line 11, column status"
    with pytest.raises(UserError, match="line 5"):
        traces.open(_written(tmp_path, text.replace('["gpu0", "gpu1"]}]},', '["gpu0", "gpu1"}]},', 1)))
    with pytest.raises(UserError, match="ends within the array"):
        traces.open(_written(tmp_path, text.rstrip().removesuffix("]")))


def test_files_that_are_no_traces(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        traces.open(tmp_path / "none.csv")
    with pytest.raises(UserError, match="is empty"):
        traces.open(_written(tmp_path, ""))
    with pytest.raises(UserError, match="not the header of a known format"):
        traces.open(_written(tmp_path, "time,tokens\n1,2\n"))
    with pytest.raises(UserError, match="has no column vc"):
        traces.open(FILES / "seren.csv", "helios")
    with pytest.raises(UserError, match="Did you mean helios"):
        traces.open(FILES / "seren.csv", "helois")
    with pytest.raises(UserError, match="no job that ran"):
        traces.open(_written(tmp_path, HELIOS.splitlines()[0] + "\n"))


def test_a_job_larger_than_the_site_is_named_before_anything_runs() -> None:
    trace = traces.open(FILES / "seren.csv")
    with pytest.raises(UserError, match=r"seren\.csv, line 3, job 502: chips: is more than the 8 nodes"):
        trace.arrivals(site(8), Stream(1))


def test_a_scenario_can_name_a_trace() -> None:
    replay = traces.Replay(trace="helios.csv", checkpoint_bytes_per_chip=1e9)
    works = list(replay.open(FILES).arrivals(site(), Stream(1)))
    assert [work.truth.checkpoint_bytes for work in works] == [1e9, 16e9, 4e9, 8e9]
    # what saves speaks to the brain, other jobs do not
    assert {work.spec.recipe for work in works} == {"pretrain"}


@pytest.mark.parametrize("saved", [0.0, 1e9])
def test_the_world_runs_a_trace_to_its_end(saved: float) -> None:
    ended: dict[str, str] = {}

    def follow(happened: Sequence[Fact]) -> None:
        ended.update({fact.job: fact.outcome for fact in happened if isinstance(fact, facts.JobEnded)})

    scenario = Scenario("replay", Setup(site(8), Policy(), PriceBook()))
    trace = traces.open(FILES / "helios.csv", checkpoint_bytes_per_chip=saved)
    simulate(scenario, 1, 2 * DAY, source=trace, followers=[follow])
    assert ended == {f"job-{row.line}": row.outcome for row in trace.rows}
