"""A data folder has one journal: who decides by another is refused, whoever decides by that one is not."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bench.peers.postgres import Cluster
from click.testing import CliRunner

from myriad.cli.main import cli
from tests.server.harness import Server, members_of, python, wait_for

_SITE = """
name: two
chip: local-cpu
chips_per_node: 1
spares: 0
pods: [{name: p0, racks: 1, nodes_per_rack: 2}]
"""
_FOREVER = "import time\nwhile True: time.sleep(1)"
Add = Callable[..., Server]


@pytest.fixture
def add(tmp_path: Path) -> Iterator[Add]:
    """Control planes of one data folder, each with a home of its own; all end with the test."""
    site, data = tmp_path / "site.yaml", tmp_path / "data"
    site.write_text(_SITE)
    with ExitStack() as stack:
        stack.callback(Server(data).end)  # the nodes are those of the folder

        def make(name: str, *more: str) -> Server:
            server = Server(tmp_path / name, "--site", str(site), "--data", str(data), *more)
            stack.callback(server.end)
            return server

        yield make


def _refused(server: Server) -> str:
    assert server.spawn(*server.options).wait(30) == 2
    return server.said()


def _journal_of(said: str) -> str:
    return said.partition("belongs to the journal ")[2].split()[0]


def test_who_decides_by_another_journal_is_refused_and_what_runs_is_not_touched(
    add: Add, tmp_path: Path
) -> None:
    first, data = add("first").start(), tmp_path / "data"
    first.tenant()
    first.wait_ready(2)
    job = first.submit(python(_FOREVER, nodes=2))
    wait_for(lambda: len(members_of(data)) == 2)
    first.wait_state(job, "running")
    before = sorted(members_of(data))

    other = add("other")
    said = _refused(other)
    assert _journal_of(said) == str(tmp_path / "first/journal.db")
    for part in (str(data), "of site two", "--data", str(data / "owner.json")):
        assert part in said
    assert sorted(members_of(data)) == before and first.job(job)["state"] == "running"
    first.kill()
    assert "belongs to" in _refused(other), "whether the first one runs just now makes no difference"

    first.start()
    first.wait_state(job, "running")
    assert sorted(members_of(data)) == before
    first.kill()
    (data / "owner.json").unlink()  # as the remedy has it, when the other one is gone for good
    other.start()
    assert "belongs to" in _refused(first)


def test_a_backup_that_was_restored_has_the_folder_as_the_original_had(add: Add, tmp_path: Path) -> None:
    first = add("first").start()
    first.stop()
    file = str(tmp_path / "backup.db")
    for words in (("first", "backup", file), ("second", "restore", file)):
        done = CliRunner().invoke(cli, ["--home", str(tmp_path / words[0]), *words[1:]])
        assert done.exit_code == 0, done.output
    second = add("second").start()
    second.wait_ready(2)
    owner = json.loads((tmp_path / "data/owner.json").read_text())
    assert owner["place"].startswith(str(tmp_path / "second/journal.db"))


def test_a_standby_shares_the_folder_with_its_leader_and_another_database_does_not(
    add: Add, postgres: Cluster
) -> None:
    url = postgres.database()
    leader = add("leader", "--journal", url).start()
    standby = add("standby", "--journal", url, "--standby").start()
    assert "belongs to" in _refused(add("other", "--journal", postgres.database()))
    leader.stop()
    wait_for(lambda: standby.ask("GET", "//healthz", key="").tree.get("role") == "leader", standby.said)
