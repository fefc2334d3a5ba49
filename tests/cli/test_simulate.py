"""`myriad simulate`, `sweep` and `twin check`, on a site that is simulated in a moment."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from myriad.cli import twin as twin_commands
from myriad.cli.main import cli
from myriad.studies import executors
from myriad.studies.executors import Done, Work
from tests.studies import workers
from tests.studies.tiny import written

Run = Callable[..., Result]


class Here:
    """In this process."""

    places = 1

    def results(self, work: Work, tasks: Iterable[bytes]) -> Iterator[Done]:
        yield from (Done(index, work(task)) for index, task in enumerate(tasks))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(executors, "named", lambda _place, _jobs: Here())

    def call(*words: object) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in words], env={"COLUMNS": "110"})

    return call


def test_a_simulation_is_stamped_and_told_in_tables(run: Run, tmp_path: Path) -> None:
    done = run("simulate", written(tmp_path), "--seed", 7)
    assert done.exit_code == 0, done.output
    first, *lines = done.output.splitlines()
    assert first.startswith("tiny · seed 7 · 0.5 days · scenario ") and " commit " in first
    assert any(line.startswith("goodput") for line in lines)
    assert any(line.startswith("succeeded") for line in lines)
    assert not done.stderr, "no progress bar where nobody watches"


def test_json_has_it_all_and_the_same_each_time(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path)
    one, two = (json.loads(run("simulate", path, "--json").output) for _ in range(2))
    assert one["digest"] == two["digest"] and one["figures"] == two["figures"]
    other = json.loads(run("simulate", path, "--json", "--seed", 1, "--days", 0.25).output)
    assert other["digest"] != one["digest"] and other["days"] == 0.25
    assert other["scenario_hash"] != one["scenario_hash"]


def test_the_report_is_a_page_and_tables_for_notebooks(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("simulate", written(tmp_path), "--report", out)
    assert done.exit_code == 0, done.output
    page = (out / "report.html").read_text()
    for title in ("Where every chip-second went", "Queue", "What the chips do", "Faults by cause"):
        assert title in page
    facts = pq.read_table(out / "facts.parquet")
    assert facts.column_names == ["at", "kind", "subject", "body"]
    result = json.loads((out / "result.json").read_text())
    kinds = facts.column("kind").to_pylist()
    assert len(kinds) == result["outcome"]["facts"] and kinds[0] == "SiteOpened"
    assert kinds.count("JobEnded") == sum(result["outcome"]["jobs"].values())
    assert pq.read_table(out / "series.parquet").num_rows > 200
    assert result["seed"] == 3, "the scenario's own"


def test_a_broken_expectation_is_exit_code_1(run: Run, tmp_path: Path) -> None:
    done = run("simulate", written(tmp_path, expect={"goodput": ">= 99%", "jobs.failed": "<= 300"}))
    assert done.exit_code == 1
    (line,) = (line for line in done.output.splitlines() if "BROKEN" in line)
    assert line.startswith("goodput")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "physics.boot_s=-1"], "boot_s must be 0 or more"),
        (["--set", "fautls.rate=1"], "fautls: is not a known field. Did you mean faults"),
        (["--set", "physics"], "--set: is no setting"),
        (["--policy", "eazy"], "Did you mean easy"),
        (["--set", "workload.classes.0.sizes={4096: 1}"], "4096"),
        (["--days", "0"], "--days: must be more than 0"),
        (["--site", "x.yaml"], "--site: is only for a replay"),
    ],
)
def test_mistakes_are_told_before_anything_is_simulated(
    run: Run, tmp_path: Path, words: list[str], said: str
) -> None:
    done = run("simulate", written(tmp_path), *words, "--report", tmp_path / "out")
    assert done.exit_code == 2 and said in done.stderr and not done.stdout
    assert not (tmp_path / "out").exists()


def test_policies_and_settings_change_the_scenario(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path)

    def hashed(*words: str) -> str:
        return json.loads(run("simulate", path, "--json", *words).output)["scenario_hash"]

    plain, easy = hashed(), hashed("--policy", "easy")
    assert plain != easy
    assert hashed("--set", "spares=2%") == hashed("--set", "site.spares=2%") != plain
    assert hashed("--policy", "easy", "--set", "backfill.depth=7") not in (plain, easy)


def test_a_sweep_tells_means_and_differences(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--vary", "recover.spares=0,13%", "--vary", "physics.boot_s=60,600")
    words = (*words, "--seeds", 2, "--days", 0.1)
    done = run("sweep", written(tmp_path), *words, "--report", out)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[0].startswith("tiny · seeds 0 to 1 · 0.1 days · scenario ")
    assert "recover.spares=13%, physics.boot_s=600" in done.output and "±" in done.output
    assert "8 simulations" in done.output
    assert (
        "Difference" in (out / "report.html").read_text()
        or "less that of" in (out / "report.html").read_text()
    )
    found = json.loads(run("sweep", written(tmp_path), *words, "--json").output)["sweep"]
    assert found == json.loads((out / "result.json").read_text())
    assert found["rows"][1]["settings"] == {"recover.spares": "0", "physics.boot_s": "600"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--vary", "physics.boot_s=1,-1"], "boot_s must be 0 or more"),
        (["--vary", "recover.spares"], "--vary: is no setting"),
        (["--vary", "spares=1", "--vary", "recover.spares=2"], "--vary: is varied twice"),
        (["--figure", "godput"], "Did you mean goodput"),
    ],
)
def test_a_sweep_is_refused_as_a_whole(run: Run, tmp_path: Path, words: list[str], said: str) -> None:
    done = run("sweep", written(tmp_path), *words)
    assert done.exit_code == 2 and said in done.stderr and not done.stdout


def test_failing_seeds_come_with_the_command_that_replays_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twin_commands, "work", lambda: workers.check)
    done = CliRunner().invoke(cli, ["twin", "check", "--seeds", "10", "--jobs", "1"])
    assert done.exit_code == 1
    assert "replay: myriad twin check --seeds 1 --first-seed 7" in done.output
    assert "10 seeds checked, 2 failed" in done.output
    done = CliRunner().invoke(cli, ["twin", "check", "--seeds", "3", "--first-seed", "1", "--jobs", "1"])
    assert done.exit_code == 0 and "3 seeds checked, 0 failed" in done.output


HELIOS = Path(__file__).parent.parent / "twin" / "workload" / "files" / "helios.csv"


def test_a_trace_is_replayed_on_a_site(run: Run, tmp_path: Path) -> None:
    written(tmp_path)
    done = run("simulate", "--trace", HELIOS, "--site", tmp_path / "site.yaml")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[0].startswith("helios · seed 0 · 2.")
    assert done.output.splitlines()[1].startswith("4 jobs of the trace; left out: 1 asks")
    found = json.loads(run("simulate", "--trace", HELIOS, "--site", tmp_path / "site.yaml", "--json").output)
    assert found["trace"]["jobs"] == sum(found["outcome"]["jobs"].values()) == 4


def test_malformed_rows_are_named_and_left_out_only_when_asked(run: Run, tmp_path: Path) -> None:
    written(tmp_path)
    trace = tmp_path / "bad.csv"
    trace.write_text(HELIOS.read_text().replace(",16,64,2,FAILED", ",many,64,2,FAILED"))
    words = ("simulate", "--trace", trace, "--site", tmp_path / "site.yaml")
    done = run(*words)
    assert done.exit_code == 2 and "bad.csv, line 4" in done.stderr and not done.stdout
    done = run(*words, "--skip-bad-rows")
    assert done.exit_code == 0 and "left out: bad.csv, line 4" in done.stderr
    assert "1 cannot be read" in done.stdout


def test_a_replay_needs_a_site_and_no_scenario(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path)
    for words, said in (
        ((path, "--trace", HELIOS), "--trace: cannot stand beside a scenario"),
        (("--trace", HELIOS), "--site: is missing"),
        ((), "SCENARIO: is missing"),
        (("--trace", HELIOS, "--site", tmp_path / "site.yaml", "--kind", "phily"), "Did you mean philly"),
        (("--trace", tmp_path / "no.csv", "--site", tmp_path / "site.yaml"), "no.csv"),
    ):
        done = run("simulate", *words)
        assert done.exit_code == 2 and said in done.stderr, said
