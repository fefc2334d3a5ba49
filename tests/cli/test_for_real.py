"""A person's first half hour, typed for real: commands as processes, a control plane of its own."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from myriad.cli import homes
from myriad.cli.context import Context
from myriad.engines.common import procs
from myriad.kernel.units import SECOND

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
SITE = """
name: small
chip: local-cpu
pods: [{name: p0, racks: 1, nodes_per_rack: 4}]
spares: 1
prices: {chip_hour: {local-cpu: "3600.00"}}
"""


class Person:
    """Types commands."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MYRIAD_")},
            "MYRIAD_HOME": str(home),
        }

    def begins(self, *arguments: str) -> "subprocess.Popen[str]":
        """A command that goes on."""
        command = [sys.executable, "-m", "myriad.cli", *arguments]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        )

    def tries(self, *arguments: str) -> tuple[int, str]:
        """Exit code, and all that was said."""
        with self.begins(*arguments) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out + err

    def types(self, *arguments: str) -> str:
        """What a command that must succeed said."""
        code, said = self.tries(*arguments)
        assert code == 0, f"myriad {' '.join(arguments)}: {said}\n{self.log()}"
        return said

    def json(self, *arguments: str) -> Any:
        """The same as JSON."""
        return json.loads(self.types(*arguments, "--json"))

    def log(self) -> str:
        """What the server wrote."""
        path = self.home / "server.log"
        return path.read_text() if path.exists() else ""

    def waits(self, look: Callable[[], bool], patience_s: float = 30) -> None:
        """Until it is so."""
        give_up_at = time.monotonic() + patience_s
        while not look():
            assert time.monotonic() < give_up_at, self.log()
            time.sleep(0.1)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    found = Person(tmp_path / "home")
    (tmp_path / "site.yaml").write_text(SITE)
    yield found
    if homes.holder(found.home) or homes.nodes_left(found.home):
        found.tries("down", "--grace", "0s")
    assert not homes.nodes_left(found.home)


def ups(person: Person) -> str:
    """Start it on free ports, without torch."""
    site = str(person.home.parent / "site.yaml")
    return person.types("up", "--site", site, "--port", "0", "--gateway-port", "0", "--no-preload")


def counting(person: Person, steps: int) -> str:
    """The example with so many steps of 0.2 s that some are left when a slow command has been typed."""
    spec = yaml.safe_load((EXAMPLES / "command.yaml").read_text())
    spec["command"] = ["python", "-u", "count.py", "--steps", str(steps)]
    spec["workdir"] = str(EXAMPLES)
    path = person.home.parent / "command.yaml"
    path.write_text(yaml.safe_dump(spec))
    return str(path)


@pytest.mark.timeout(300)
def test_the_first_half_hour(person: Person) -> None:
    """Some thirty commands."""
    said = ups(person)
    assert "operator key  myr_operator_" in said and "4 nodes" in said
    assert "already up" in ups(person)
    assert sum(node["state"] == "spare" for node in person.json("nodes")) == 1

    assert "key myr_tenant_" in person.types("tenant", "apply", str(EXAMPLES / "tenants.yaml"))
    assert "acme" in person.types("tenant", "list")
    code, said = person.tries("--as", "acme", "nodes")
    assert code == 2 and "operator" in said

    spec = counting(person, 60)
    assert "would be submitted" in person.types("--as", "acme", "submit", spec, "--dry-run")
    assert person.json("jobs") == []
    with person.begins("--as", "acme", "submit", spec, "--watch") as watching:
        with Context(str(person.home)).local() as seen:  # no time for a command between these looks
            person.waits(lambda: any(job.step > 0 for job in seen.jobs()))
            member = seen.jobs()[0].placed_on[0]
        person.types("drain", member, "--reason", "a new fan")
        out, _ = watching.communicate(timeout=120)
    assert watching.returncode == 0 and "succeeded" in out, out

    node = next(node for node in person.json("nodes") if node["node"] == member)
    assert node["state"] == "drained" and "a new fan" in node["why"], node
    person.types("undrain", member)
    followed = person.types("logs", "-f", "count")
    assert "hello from rank 0 of 2" in followed and "rank 0 counted to 60" in followed
    report = person.json("report", "count-1")
    assert [ended["cause"] for ended in report["attempts"]] == ["moved", "done"]
    # until it is killed it goes on, and may save once more without anyone hearing of it
    assert report["attempts"][1]["resumed_step"] >= report["attempts"][0]["kept_step"] > 0
    assert "counted" not in person.types("report", "count-1")

    site = person.json("ledger")["site"]
    assert sum(site["buckets"].values()) == site["capacity_chip_ns"]
    assert float(person.json("invoice", "acme")["total"]) > 1
    assert person.json("predictions")["scores"][0]["outcome"] == "succeeded"
    assert "equal to the folded one" in person.types("journal", "--verify")
    assert "JobEnded count-1: succeeded" in person.types("journal", "--limit", "1000")

    person.types("--as", "acme", "submit", spec)
    person.types("--as", "acme", "cancel", "count-2")
    person.waits(lambda: "cancelled" in person.types("explain", "count-2"))

    running = procs.find(homes.holder(person.home))
    assert running
    assert "stopped the control plane" in person.types("down")
    assert not procs.alive(running.pid, running.started) and not homes.nodes_left(person.home)
    assert "nothing runs" in person.types("down")
    verified = person.json("journal", "--verify")
    assert verified["records"] > 20 and not verified["problem"]
    code, said = person.tries("jobs")
    assert code == 2 and "myriad up" in said


def test_down_ends_what_a_killed_control_plane_left_behind(person: Person) -> None:
    ups(person)
    os.kill(homes.holder(person.home), signal.SIGKILL)
    person.waits(lambda: not homes.holder(person.home))
    assert homes.nodes_left(person.home)
    assert "nodes n0, n1, n2, n3" in person.types("down")
    assert not homes.nodes_left(person.home)


def test_a_start_that_fails_says_why(person: Person) -> None:
    (person.home.parent / "site.yaml").write_text("name: x\nchip: abacus\npods: []\n")
    begun_at = time.monotonic_ns()
    code, said = person.tries("up", "--site", str(person.home.parent / "site.yaml"), "--port", "0")
    assert code == 2 and "abacus" in said and "server.log" in said, said
    assert time.monotonic_ns() - begun_at < 30 * SECOND


def test_a_damaged_journal_is_found_and_repaired_without_a_control_plane(person: Person) -> None:
    ups(person)
    person.types("down")
    whole = person.json("journal", "--verify")["records"]
    with contextlib.closing(sqlite3.connect(person.home / "journal.db")) as journal:
        journal.execute("UPDATE journal SET body = CAST(body || ' ' AS BLOB) WHERE seq = ?", (whole - 1,))
        journal.commit()
    code, said = person.tries("journal", "--verify")
    assert code == 1 and "--repair" in said, said
    assert "kept beside" in person.types("journal", "--repair")
    assert person.json("journal", "--verify")["records"] == whole - 2
