"""Journals of before still fold: those of each schema that sites may have, mixed ones, and what is refused.

The rule, and what to do when a test here fails: docs/guide/upgrading.md.
`python -m tests.protocol.test_journals` writes the listing of facts anew.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from myriad.kernel.errors import UserError
from myriad.protocol import facts, wire
from myriad.protocol.fact import SCHEMA
from myriad.store.sqlite import SqliteJournal
from tests.protocol import write_journal

LISTING = Path(__file__).with_name("facts.txt")
#: Journal -> what it folds to. A line once here stays as it is for as long as such journals can be read.
JOURNALS = {
    "schema-1": "3d677c886586f907fd27a20bc34800fd",
    "schema-1-others": "b84ad48f88e3d1fd2bf838c4e3bc9853",
}
#: Facts of which no journal has an example yet; write one (write_journal) when a release is made.
UNSEEN: tuple[str, ...] = ("DeadlineMoved",)


def entries(name: str) -> list[bytes]:
    """The lines of a frozen journal."""
    return write_journal.FOLDER.joinpath(f"{name}.jsonl").read_bytes().splitlines()


def kinds() -> set[str]:
    """Every type of fact there is."""
    return {kind.__name__ for kind in facts.AnyFact.__args__}


def listing() -> str:
    """Each fact, and each value inside facts, with its fields: what a change of shape shows up in."""
    (_,), components = msgspec.json.schema_components([wire.Entry])
    lines = [f"schema {SCHEMA}"]
    for name in sorted(components):
        found = components[name]
        needed = found.get("required", ())
        for field, shape in sorted(found.get("properties", {}).items()):
            mark = "" if field in needed else "?"
            lines.append(f"{name}.{field}{mark}: {_shape(shape)}")
        if "enum" in found:
            lines.append(f"{name}: {_shape(found)}")
    return "\n".join(lines) + "\n"


def _shape(shape: dict[str, Any]) -> str:
    plain = {key: value for key, value in shape.items() if key not in ("description", "title")}
    return re.sub(r'"?#/\$defs/|"', "", json.dumps(plain, sort_keys=True))


def test_facts_have_the_shape_that_journals_of_this_schema_have() -> None:
    assert listing() == LISTING.read_text(encoding="utf-8"), "docs/guide/upgrading.md says what to do"


@pytest.mark.parametrize("name", JOURNALS)
def test_a_frozen_journal_folds_to_what_it_always_did(name: str) -> None:
    found = json.loads(msgspec.json.encode(write_journal.folded(entries(name))))
    assert found == json.loads(write_journal.FOLDER.joinpath(f"{name}.folded.json").read_text())
    assert write_journal.digest(found) == JOURNALS[name]


def test_the_frozen_journals_hold_every_kind_of_fact() -> None:
    seen = {fact["type"] for name in JOURNALS for line in entries(name) for fact in json.loads(line)["facts"]}
    assert kinds() - seen == set(UNSEEN)


def test_every_older_schema_has_its_upgrade_and_its_journal() -> None:
    assert set(wire.UPGRADES) == set(range(1, SCHEMA))
    assert {f"schema-{number}" for number in range(1, SCHEMA + 1)} <= set(JOURNALS)


# ---- a step of the schema, pretended -----------------------------------------------------------


def older(line: bytes) -> bytes:
    """The entry as a Myriad before ours would have written it: other words for keys and ends of jobs."""
    tree = json.loads(line)
    for fact in tree["facts"]:
        if fact["type"] == "KeySet":
            fact["hash"] = fact.pop("key_hash")
        if fact["type"] == "JobEnded":
            fact["type"] = "JobOver"
    return json.dumps({**tree, "schema": SCHEMA - 1}).encode()


def upgraded(plain: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `wire.UPGRADES` would hold for it."""
    return list(_upgraded(plain))


def _upgraded(plain: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for fact in plain:
        match fact:
            case {"type": "KeySet", "hash": key_hash, **rest}:
                yield {"type": "KeySet", **rest, "key_hash": key_hash}
            case {"type": "JobOver", **rest}:
                yield {**rest, "type": "JobEnded"}
            case _:
                yield fact


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_a_journal_of_two_schemas_folds_as_if_it_were_of_one(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first records were written before the upgrade, the rest after it."""
    monkeypatch.setitem(wire.UPGRADES, SCHEMA - 1, upgraded)
    lines = entries(f"schema-{SCHEMA}")
    split = int(len(lines) * share)
    mixed = [*map(older, lines[:split]), *lines[split:]]
    assert write_journal.folded(mixed) == write_journal.folded(lines)


def test_without_the_upgrade_it_is_refused() -> None:
    with pytest.raises(UserError, match="older than this Myriad can read"):
        wire.decode(older(entries(f"schema-{SCHEMA}")[0]))


# ---- what a newer version wrote ----------------------------------------------------------------


def test_an_unknown_field_of_a_fact_is_ignored_and_one_inside_a_spec_is_refused() -> None:
    """Why the schema goes up even when a fact only gains a field: ignored, it is missing in the fold."""
    fact = {"type": "KeyRevoked", "at": 1, "key": "k", "why": "leaked"}
    body = msgspec.json.encode({"cause": "x", "facts": [fact], "schema": SCHEMA})
    assert wire.decode(body).facts == (facts.KeyRevoked(at=1, key="k"),)  # type: ignore[arg-type]
    tenant = {"name": "acme", "colour": "red"}
    fact = {"type": "TenantSet", "at": 1, "tenant": tenant}
    body = msgspec.json.encode({"cause": "x", "facts": [fact], "schema": SCHEMA})
    with pytest.raises(UserError, match=r"unknown field `colour`.*newer Myriad"):
        wire.decode(body)


def test_up_refuses_a_newer_journal_with_exit_code_2_and_the_remedy(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    journal = SqliteJournal(home / "journal.db")
    journal.append([json.dumps({"cause": "x", "facts": [], "schema": SCHEMA + 1}).encode()])
    journal.close()
    before = (home / "journal.db").read_bytes()
    argv = ["up", "--home", str(home), "--port", "0", "--gateway-port", "0", "--no-preload"]
    for more in ([], ["--foreground"]):
        done = subprocess.run(
            [sys.executable, "-m", "myriad.cli", *argv, *more],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "MYRIAD_HOME": str(home)},
        )
        assert done.returncode == 2, done
        told = f"journal schema: was written by a newer Myriad (got {SCHEMA + 1})"
        assert told in done.stderr and "upgrade it" in done.stderr and "Traceback" not in done.stderr
    assert (home / "journal.db").read_bytes() == before


if __name__ == "__main__":
    LISTING.write_text(listing(), encoding="utf-8")
