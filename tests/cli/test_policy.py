"""`myriad policy`: what it prints can be given back to it, and mistakes are told as everywhere."""

import json
from pathlib import Path

import msgspec
import yaml
from click.testing import CliRunner

from myriad.cli.main import cli
from myriad.control import policyfile
from myriad.control.policy import Policy
from tests.cli.conftest import Myriad
from tests.cli.fake import Fake


def test_every_policy_is_listed_in_a_line_and_shown_as_its_file() -> None:
    said = CliRunner().invoke(cli, ["policy", "list"], env={"COLUMNS": "130"}).output
    for name in policyfile.names():
        assert f"\n{name} " in said
        assert CliRunner().invoke(cli, ["policy", "show", name]).output == policyfile.text(name)


def test_check_says_what_is_not_the_default(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("backfill: {depth: 7}\norder: {policy: fifo}\n")
    said = CliRunner().invoke(cli, ["policy", "check", str(path)]).output
    assert [line.split() for line in said.splitlines()[1:]] == [
        ["order.policy", "fifo", "fair"],
        ["backfill.depth", "7", "128"],
    ]
    changed = json.loads(CliRunner().invoke(cli, ["policy", "check", str(path), "--json"]).output)["changed"]
    assert changed["backfill.depth"] == [7, 128]
    path.write_text("backfill: {depht: 7}\n")
    done = CliRunner().invoke(cli, ["policy", "check", str(path)])
    assert done.exit_code == 2 and "mine.yaml: backfill.depht: is not a known field" in done.stderr
    done = CliRunner().invoke(cli, ["policy", "show", "eazy"])
    assert done.exit_code == 2 and "(got 'eazy'). Did you mean easy" in done.stderr


def test_what_is_in_force_can_be_kept_as_a_file(fake: Fake, myriad: Myriad) -> None:
    policy = msgspec.to_builtins(policyfile.choose("easy").policy)
    fake.says("GET /api/v1/policy", {"source": "easy", "policy": policy, "classes": {"order": "x.Mine"}})
    said = myriad("policy", "show").output
    assert said.startswith("# in force: easy, order: x.Mine\n")
    assert msgspec.convert(yaml.safe_load(said), Policy) == policyfile.choose("easy").policy
