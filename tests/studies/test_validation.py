"""Published runs: read as written, predicted or refused with a reason, and as accurate as the docs say."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tools import worked_examples

from myriad.catalog.shelf import Catalog
from myriad.cli.main import cli
from myriad.kernel.errors import UserError
from myriad.performance.layouts import Recompute
from myriad.studies import published, validation, validation_page, words
from myriad.studies.published import Run, Unmodelled

CATALOG = Catalog.shipped()
TEXT = """
id=one source=Paper accelerator=H100-SXM5-80GB chips_per_node=8 inter_node_nic= n_chips=8 precision=bf16
model=ours layers=32 hidden=4096 heads=32 kv_heads=8 ffn=14336 gated_mlp=True vocab=128256 seq_len=8192
tp=2 pp=1 dp=4 mbs=1 gbs=64 zero=ZeRO-1 sp=True recompute=full iter_time_s=5.0 tokens_per_s_per_chip=
"""
ROW = dict(cell.split("=") for cell in TEXT.split())


@pytest.fixture(scope="module")
def judged() -> list[validation.Judged]:
    runs, failed = published.read(published.shipped(), "shipped runs", CATALOG)
    assert not failed
    return validation.judge(runs, CATALOG)


def read(**changed: str) -> Run | Unmodelled:
    """The one row, with some cells changed."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(ROW | changed))
    writer.writeheader()
    writer.writerow(ROW | changed)
    runs, failed = published.read(text.getvalue(), "test", CATALOG)
    return (*runs, *failed)[0]


def test_a_row_is_read_as_it_is_written() -> None:
    run = read()
    assert isinstance(run, Run)
    assert (run.chip, run.measured_s, run.chips, run.global_batch) == ("h100-sxm", 5.0, 8, 64)
    assert run.layout["tp"] == 2
    assert run.layout["recompute"] == Recompute.FULL
    assert run.layout["sequence_parallel"]
    assert not run.assumed


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"accelerator": "Abacus"}, "no chip .Abacus"),
        ({"tp": ""}, "tp"),
        ({"gbs": ""}, "gbs"),
        ({"seq_len": "many"}, "seq_len"),
        ({"heads": ""}, "heads"),
        ({"tp": "0"}, "tp must be more than zero"),
        ({"gbs": "-4"}, "gbs must be zero or more"),
        ({"iter_time_s": "soon"}, "iter_time_s is not a number"),
        ({"kv_heads": "5"}, "multiple of kv_heads"),
    ],
)
def test_a_row_that_cannot_be_modelled_says_why(changed: dict[str, str], reason: str) -> None:
    found = read(**changed)
    assert isinstance(found, Unmodelled)
    assert re.search(reason, found.reason)


def test_what_was_filled_in_is_named() -> None:
    run = read(vocab="", mbs="")
    assert isinstance(run, Run)
    assert {word.split("=")[0] for word in run.assumed} == {"vocab", "mbs"}


def test_step_time_follows_from_token_rates() -> None:
    run = read(iter_time_s="", tokens_per_s_per_chip="8192")
    assert isinstance(run, Run)
    assert run.measured_s == pytest.approx(8.0)


def test_every_stack_named_for_a_source_is_in_the_catalogue(judged: list[validation.Judged]) -> None:
    for _, _, name in words._STACKS:
        CATALOG.stack(name)
    assert {one.run.stack for one in judged} <= set(CATALOG.names("stack"))


def test_errors_are_within_the_bars(judged: list[validation.Judged]) -> None:
    """The bars of docs/performance.md: numbers without noise, so they may be asserted."""
    full = [one for one in judged if one.run.recommended]
    assert len(full) > 600
    assert validation.mean_of_sources(full) <= 0.06
    assert validation.summary("all", [one.error for one in full]).within_tenth >= 0.9
    assert max(row.mean_absolute for row in validation.errors(full, validation.GROUPS["chip"])) <= 0.1
    vtrain = [one.error for one in full if "vTrain" in one.run.source]
    assert validation.summary("vTrain", vtrain).mean_absolute <= 0.07


def test_groups_cover_every_timed_run_once(judged: list[validation.Judged]) -> None:
    timed = sum(one.run.measured_s is not None for one in judged)
    for key in validation.GROUPS.values():
        assert sum(row.runs for row in validation.errors(judged, key)) == timed


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12, unique=True))
def test_tau_is_one_for_the_same_order_and_minus_one_for_the_opposite(times: list[int]) -> None:
    values = np.array(times, dtype=float)
    assert validation.kendall_tau(values, 3 * values) == pytest.approx(1.0)
    assert validation.kendall_tau(values, -values) == pytest.approx(-1.0)


def test_a_table_without_runs_is_refused() -> None:
    with pytest.raises(UserError, match="lacks the columns"):
        published.read("a,b\n1,2\n", "test", CATALOG)


def test_the_command_gives_one_object_a_row(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"id": "two", "tp": ""}]
    path = tmp_path / "runs.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(ROW))
        writer.writeheader()
        writer.writerows(rows)
    page = tmp_path / "page.html"
    done = CliRunner().invoke(
        cli, ["validate", "performance", "--data", str(path), "--json", "--plot", str(page)]
    )
    assert done.exit_code == 0, done.output
    first, second = json.loads(done.output)["rows"]
    assert (first["id"], first["measured_s"]) == ("one", 5.0)
    assert first["predicted_s"] > 0
    assert first["predicted_peak_mem_gb"] > 0
    assert (second["id"], second["predicted_s"]) == ("two", None)
    assert "tp" in second["reason"]
    assert "<svg" in page.read_text()


def test_the_command_tells_tables() -> None:
    done = CliRunner().invoke(cli, ["validate", "performance", "--recommended"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    for word in ("vTrain", "a100-sxm-80gb", "experts", "context parallel", "1,000 and more", "KENDALL TAU"):
        assert word in done.output


def test_a_table_of_nothing_says_so(tmp_path: Path) -> None:
    path, page = tmp_path / "runs.csv", tmp_path / "page.html"
    path.write_text(",".join(ROW) + "\n")
    done = CliRunner().invoke(cli, ["validate", "performance", "--data", str(path), "--plot", str(page)])
    assert done.exit_code == 0, done.output
    assert "no run in this table" in done.output
    assert "no run in this table" in page.read_text()


def test_a_row_may_change_the_vocabulary_of_a_known_model() -> None:
    run = read(model="Llama 3.1 8B", vocab="32000")
    assert isinstance(run, Run)
    assert (run.model.vocab, run.model.layers) == (32000, 32)


def test_a_file_that_is_no_table_ends_with_two(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("hello\n")
    done = CliRunner().invoke(cli, ["validate", "performance", "--data", str(tmp_path / "x.csv")])
    assert done.exit_code == 2
    assert "lacks the columns" in done.output


def test_the_page_shows_every_source(judged: list[validation.Judged]) -> None:
    page = validation_page.render(judged)
    assert page.count("<svg") == 2
    assert "vTrain" in page


def test_the_worked_examples_of_the_docs_are_what_the_model_says() -> None:
    document = worked_examples.DOCUMENT.read_text()
    shown = document[document.index(worked_examples.BEGIN) : document.index(worked_examples.END)]
    assert worked_examples.text() in shown, "run: python -m tools.worked_examples --write"
