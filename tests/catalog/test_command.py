"""`myriad catalog`: every entry can be shown, and JSON says the same as the table."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from myriad.catalog import files, listing
from myriad.catalog.shelf import Catalog
from myriad.cli.main import cli


def told(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, ["catalog", *words], env={"COLUMNS": "200"})
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("kind", files.KINDS)
def test_every_entry_is_listed(kind: str) -> None:
    output = told(f"{kind}s")
    for name in Catalog.shipped().names(kind):
        assert f"\n{name} " in output
    found = json.loads(told(f"{kind}s", "--json"))
    assert [one["name"] for one in found] == list(Catalog.shipped().names(kind))


@pytest.mark.parametrize(
    ("kind", "name"), [("chip", "zhenwu-810e"), ("model", "deepseek-v3"), ("fabric", "hpn-7")]
)
def test_an_entry_is_shown_number_by_number(kind: str, name: str) -> None:
    rows = listing.rows(Catalog.shipped().entry(kind, name))
    output, tree = told(f"{kind}s", name), json.loads(told(f"{kind}s", name, "--json"))
    assert [one["field"] for one in tree["numbers"]] == [row.field for row in rows]
    for row, one in zip(rows, tree["numbers"], strict=True):
        line = next(line for line in output.splitlines() if line.split()[:1] == [row.field])
        assert one["shown"] in line and one["status"] in line
        assert one["value"] == row.figure.value and one["source"] == row.figure.source


def test_an_alias_shows_the_entry() -> None:
    assert "h100-sxm" in told("chips", "H100-SXM5-80GB")


def test_an_unknown_name_ends_with_two() -> None:
    assert "Did you mean h100-sxm" in told("chips", "h100-smx", code=2)


def test_own_entries_are_shown(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(files.shipped_text("chip", "h20"), encoding="utf-8")
    assert "\nmine " in told("chips", "--catalog", str(tmp_path))
    (tmp_path / "bad.yaml").write_text("chip: {title: x, power_w: {value: 1}}", encoding="utf-8")
    assert "bad.yaml" in told("chips", "--catalog", str(tmp_path), code=2)
