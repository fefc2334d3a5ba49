"""Slurm's own hooks wake the engine, which else looks only now and then."""

import asyncio
import os
import stat
import time
from pathlib import Path

import pytest

from myriad.engines.slurm.config import Config
from myriad.engines.slurm.engine import SlurmEngine
from myriad.fleet import site
from myriad.protocol import inputs
from tests.slurm.cluster import Cluster, available

_SITE = """
name: test
chip: local-cpu
chips_per_node: 8
pods: [{name: p, hosts: {r1: "node[01-02]"}}]
"""
#: Without hooks the engine looks no more often than this while nothing happens.
_LOOK_EVERY_S = 60


@pytest.fixture
def hooked(tmp_path: Path) -> Cluster:
    """Two nodes, and a slurmctld that tells when a job begins and ends."""
    if problem := available():
        pytest.skip(f"Slurm: {problem}")
    hook = tmp_path / "wake-myriad"
    hook.write_text(f"#!/bin/sh\nexec touch {tmp_path}/data/slurm/wake\n")
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    return Cluster(tmp_path / "s", 2, changed={"PrologSlurmctld": hook, "EpilogSlurmctld": hook})


def test_a_job_of_others_is_seen_when_slurms_hook_says_so(
    hooked: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(hooked.conf))
    monkeypatch.setenv("PATH", hooked.env["PATH"])

    async def run() -> None:
        config = Config(look_every=f"{_LOOK_EVERY_S}s", burn_in="none", options=("--mem=0",))
        engine = SlurmEngine(tmp_path / "data", site.parse(_SITE, "test site"), time.time_ns, config)
        await engine.open()
        heard: list[inputs.Input] = []
        try:
            await _until(engine, heard, lambda: sum(isinstance(one, inputs.NodeJoined) for one in heard) == 2)
            await asyncio.sleep(8)  # its looks become rare: 0.5, 1, 2, 4 s, …
            heard.clear()
            began = time.monotonic()
            await asyncio.to_thread(hooked.batch, "sleep 3", "--nodelist=node02", "--mem=0")
            await _until(
                engine, heard, lambda: _users(heard, "node02")[-1:] != [""] and _users(heard, "node02")
            )
            await _until(engine, heard, lambda: _users(heard, "node02")[-1:] == [""])
            assert time.monotonic() - began < _LOOK_EVERY_S / 3
        finally:
            await engine.close()

    with hooked:
        asyncio.run(run())


def _users(heard: list[inputs.Input], node: str) -> list[str]:
    return [one.by for one in heard if isinstance(one, inputs.NodeOccupied) and one.node == node]


async def _until(engine: SlurmEngine, heard: list[inputs.Input], holds: object) -> None:
    assert callable(holds)
    async with asyncio.timeout(40):
        while not holds():
            heard.extend(await engine.observe())


def test_a_wake_that_is_not_there_wakes_nobody(tmp_path: Path) -> None:
    from myriad.engines.slurm.spool import Spool

    files = Spool(tmp_path)
    assert files.woken_ns() == 0
    files.prepare()
    (files.root / "wake").touch()
    os.utime(files.root / "wake", ns=(5, 5))
    assert files.woken_ns() == 5
