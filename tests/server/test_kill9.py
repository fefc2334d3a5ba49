"""kill -9 of the control plane at random points under load: nothing acknowledged is lost or starts twice.

Clients submit, cancel and drain without pause; the control plane is killed at a random instant and started
again, over and over. Each process of a gang writes its attempt, rank and pid into one file as it starts.
"""

import json
import random
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from myriad.engines.local import nursery
from tests.server.harness import Clients, Server, members_of, python, wait_for

_CLIENTS = 4
#: Says that it started, lives a little, and now and then fails.
_WORK = """
import os, random, sys, time
line = f"{os.environ['MYRIAD_ATTEMPT']} {os.environ['RANK']} {os.getpid()}\\n"
file = os.open(%r, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(file, line.encode())
time.sleep(random.choice((0.02, 0.3, 1.0)))
sys.exit(random.random() < 0.1)
"""


class Load(Clients):
    """Clients that ask without pause and remember what was acknowledged."""

    def __init__(self, server: Server, starts: Path) -> None:
        self.server = server
        self.admitted: dict[str, None] = {}
        self.cancelled: dict[str, None] = {}
        self.unexpected: list[str] = []
        self._code = _WORK % str(starts)
        super().__init__(_CLIENTS)

    def run(self, number: int) -> None:
        chance, count = random.Random(number), 0
        while not self.over.is_set():
            count += 1
            try:
                self._one(chance, f"{number}-{count}")
            except (httpx.TransportError, json.JSONDecodeError):
                time.sleep(0.02)  # the control plane is away
            time.sleep(0.05)

    def _one(self, chance: random.Random, once: str) -> None:
        kind = chance.random()
        if kind < 0.6 or not self.admitted:
            spec = python(self._code, name="load", nodes=chance.randint(1, 3))
            answer = self.server.ask("POST", "/jobs", {"spec": spec}, headers={"Idempotency-Key": once})
            if answer.status in (200, 201):
                self.admitted[answer.tree["job"]["job"]] = None
        elif kind < 0.85:
            job = chance.choice(list(self.admitted))
            answer = self.server.ask("POST", f"/jobs/{job}/cancel")
            if answer.status == 200:
                self.cancelled[job] = None
        else:
            verb = chance.choice(("drain", "undrain", "undrain"))
            answer = self.server.ask("POST", f"/nodes/n{chance.randint(0, 5)}/{verb}")
        if answer.status not in (200, 201, 503):
            self.unexpected.append(answer.text)


def _story(home: Path, points: int, seed: int) -> None:
    chance = random.Random(seed)
    server, starts = Server(home), home / "starts"
    try:
        server.start()
        server.tenant()
        with Load(server, starts) as load:
            for _ in range(points):
                time.sleep(chance.uniform(0.05, 0.6))
                server.kill()
                admitted, cancelled = list(load.admitted), list(load.cancelled)
                server.start()
                _check_kept(server, admitted, cancelled)
        assert not load.unexpected, load.unexpected[:3]
        _settle(server, load)
        _check_starts(starts)
    finally:
        server.end()


def _check_kept(server: Server, admitted: list[str], cancelled: list[str]) -> None:
    """Every acknowledged intent is there, and the live state is what the journal folds to."""
    states = {one["job"]: one["state"] for one in server.get("/jobs")}
    assert not set(admitted) - set(states), "an acknowledged job is gone"
    alive = ("admitted", "placed", "starting", "running", "checkpointing")
    revived = [job for job in cancelled if states[job] in alive]
    assert not revived, f"an acknowledged cancel is gone: {revived}"
    verified = server.post("/journal/verify")
    assert verified["equal"] and not verified["problem"], verified


def _settle(server: Server, load: Load) -> None:
    """After the storm: everything asked for comes to its end, and nothing is left running."""
    for number in range(6):
        server.post(f"/nodes/n{number}/undrain")
    for job in load.admitted:
        server.post(f"/jobs/{job}/cancel")
    over = ("succeeded", "failed", "cancelled")
    wait_for(lambda: all(one["state"] in over for one in server.get("/jobs")), patience_s=60)
    wait_for(lambda: not members_of(server.home))
    assert server.get("/site")["gangs_live"] == 0
    agents = [record.node for record in nursery.records(server.home) if nursery.is_alive(record)]
    assert len(agents) == len(set(agents)) == 6, agents
    _check_kept(server, list(load.admitted), list(load.cancelled))


def _check_starts(starts: Path) -> None:
    lines = starts.read_text().splitlines()
    assert lines, "the load never got to run"
    twice = [what for what, times in Counter(line.rpartition(" ")[0] for line in lines).items() if times > 1]
    assert not twice, f"started more than once: {twice}"


def test_a_few_random_points(tmp_path: Path) -> None:
    _story(tmp_path / "home", points=5, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_random_points(tmp_path: Path) -> None:
    """Minutes, because fifty starts of a control plane with real nodes take that."""
    _story(tmp_path / "home", points=50, seed=2)
