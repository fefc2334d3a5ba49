"""Elastic gangs of real processes: fewer nodes when one is lost, more when it is back; a loan returned."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.sites import (
    CONFIG,
    PATIENCE_S,
    kill_node,
    logged,
    site,
    story,
    until_fact,
    until_step,
)
from tests.server.harness import ROOT, Answer, Server, wait_for

SETTLE_S = 3
EAGER = {"elastic": {"settle": f"{SETTLE_S}s", "restart": "100ms", "gain": 1.0}}
SCALE_UP_S = 20
#: Training goes on until a lost node is repaired and the gang has settled, and then some.
STEPS = 400


def training(least: int, most: int, steps: int, **more: Any) -> dict[str, Any]:
    """An elastic job, or one of a fixed size."""
    nodes: Any = most if least == most else {"min": least, "max": most}
    config = CONFIG | {"steps": steps, "log_every": 1}
    spec = {"name": f"train{most}", "tenant": "acme", "nodes": nodes, "recipe": "pretrain", "config": config}
    return spec | {"checkpoint": {"every": "20 steps"}} | more


@pytest.mark.timeout(400)
def test_it_shrinks_around_a_lost_node_and_grows_when_it_is_back(tmp_path: Path) -> None:
    with site(tmp_path / "home", 4, **EAGER) as server:
        job = server.submit(training(2, 4, STEPS))
        wait_for(lambda: server.job(job)["kept_step"] >= 20, patience_s=PATIENCE_S)
        first = server.job(job)["placed_on"]
        assert len(first) == 4
        kill_node(server, first[1])
        stopped = until_fact(server, "GangStopped", attempt=f"{job}.1")
        placed = until_fact(server, "GangPlaced", attempt=f"{job}.2")
        assert len(placed["members"]) == 3, "sizes are 4, 3 and 2"
        assert placed["at"] - stopped["at"] < SETTLE_S * 10**9, "at once"
        resumed = until_fact(server, "GangRunning", attempt=f"{job}.2")
        assert resumed["step"] >= 20
        grown = until_fact(server, "GangStopped", attempt=f"{job}.2")
        assert grown["cause"] == "resized" and "grows from 3 to 4" in grown["why"], grown
        assert grown["at"] - placed["at"] >= SETTLE_S * 10**9
        again = until_fact(server, "GangRunning", attempt=f"{job}.3")
        assert again["step"] >= grown["kept_step"] > resumed["step"], "nothing was done twice"
        assert sorted(server.job(job)["placed_on"]) == sorted(first)
        wait_for(lambda: server.job(job)["state"] == "succeeded", patience_s=2 * PATIENCE_S)
        whole = server.submit(training(4, 4, STEPS, name="whole"))
        wait_for(lambda: server.job(whole)["state"] == "succeeded", patience_s=2 * PATIENCE_S)
        same_curve(logged(server.home, job), logged(server.home, whole))
        books = server.get("/ledger")["site"]
        assert sum(books["buckets"].values()) == books["capacity_chip_ns"]


def same_curve(mine: list[tuple[int, float]], other: list[tuple[int, float]]) -> None:
    """On other numbers of nodes only the order differs in which parts are summed."""
    whole = dict(other)
    assert set(dict(mine)) == set(whole) == set(range(1, STEPS + 1))
    assert max(abs(loss - whole[step]) for step, loss in mine) < 5e-4


@pytest.mark.timeout(200)
def test_a_service_that_scales_up_takes_back_what_it_lent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{fake_vllm(tmp_path)}{os.pathsep}{os.environ['PATH']}")
    policy = EAGER | {"preemption": {"min_run": "1s"}}
    with site(tmp_path / "home", 4, **policy) as server:
        key = server.tenant("live", chips=3)
        borrows = {"name": "acme", "quota": {"chips": 1, "borrow": 3}}
        server.post("/tenants", {"tenants": [borrows]})
        spec = {
            "name": "coder",
            "tenant": "live",
            "engine": "vllm",
            "model": {"path": str(tmp_path / "model")},
            "replicas": {"min": 1, "max": 3},
            "concurrency": 2,
            "slo": {"scale_up": f"{SCALE_UP_S}s"},
        }
        service = server.post("/services", {"spec": spec})["service"]
        wait_for(lambda: server.get("/services")[0]["ready"] == 1)
        job = server.submit(training(1, 3, 4000, priority="low"))
        until_step(server, job, 5)
        assert len(server.job(job)["placed_on"]) == 3, "all that the service does not need"
        with Load(server, key, clients=6):
            scaled = until_fact(server, "ServiceScaled", replicas=3)
            wait_for(lambda: server.get("/services")[0]["ready"] == 3, patience_s=PATIENCE_S)
            ready = [f["at"] for f in story(server, "GangRunning") if f["attempt"].startswith(service)]
            took_s = (ready[-1] - scaled["at"]) / 1e9
            print(f"both replicas were ready {took_s:.1f} s after they were wanted")
            assert took_s < SCALE_UP_S
            left = until_fact(server, "GangStopped", attempt=f"{job}.1")
            assert left["cause"] == "preempted" and left["kept_step"] >= 5, left
            running = until_fact(server, "GangRunning", attempt=f"{job}.2")
            assert running["step"] >= left["kept_step"], "it left after a checkpoint"
            assert len(server.job(job)["placed_on"]) == 1, "and goes on with what is left"
        server.post(f"/jobs/{job}/cancel")
        server.wait_state(job, "cancelled")


def fake_vllm(folder: Path) -> Path:
    """A folder with a program named vllm, beside a model folder to give it."""
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    tools = folder / "tools"
    tools.mkdir()
    program = tools / "vllm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests/server/fake_vllm.py"} "$@"\n')
    program.chmod(0o755)
    return tools


class Load:
    """Clients that ask one question after the other, for as long as the block lasts."""

    def __init__(self, server: Server, key: str, clients: int) -> None:
        self.server, self.key, self.over = server, key, threading.Event()
        self.threads = [threading.Thread(target=self.ask) for _ in range(clients)]

    def ask(self) -> None:
        body = {"model": "coder", "messages": [{"role": "user", "content": "think"}]}
        headers = {"Authorization": f"Bearer {self.key}"}
        url = f"{self.server.gateway}/v1/chat/completions"
        while not self.over.is_set():
            answer = Answer(self.server.client.post(url, json=body, headers=headers))
            if answer.status != 200:
                time.sleep(0.2)

    def __enter__(self) -> None:
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()
