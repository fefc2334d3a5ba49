"""A journal that was restored from a backup, over real processes of this machine that it does not know."""

from pathlib import Path

from tests.server.harness import running
from tests.server.restoring import Past

_SITE = """
name: six
chip: local-cpu
chips_per_node: 1
spares: 0
pods: [{name: p0, racks: 1, nodes_per_rack: 6}]
"""


def test_what_a_restored_journal_does_not_know_is_ended_and_what_it_knows_goes_on(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(_SITE)
    with running(tmp_path / "home", "--site", str(tmp_path / "site.yaml")) as server:
        server.wait_ready()
        past = Past(server, server.home, tmp_path, nodes=6, chips=1)
        past.check(past.go_back())
