"""A real Slurm whose nodes cannot start what they are told to: tried ever more rarely; people learn why."""

from pathlib import Path
from typing import Any

import pytest

from tests.server.harness import python, wait_for
from tests.slurm import plane
from tests.slurm.cluster import Cluster


@pytest.mark.timeout(240)
def test_gangs_that_never_begin_pause_and_say_where_to_look(slurm: Cluster, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)  # no address of a socket is that long
    long.mkdir()
    with plane.running(slurm, tmp_path, options=[f"--export=ALL,TMPDIR={long}"]) as server:
        job = server.submit(python("pass", nodes=2, launch="node", retries=0))

        given: list[Any] = []

        def waits() -> bool:
            given[:] = server.get(f"/jobs/{job}/explain")["reasons"]
            return bool(given)

        wait_for(lambda: len(server.job(job)["history"]) > 2, server.said, plane.PATIENCE_S)
        wait_for(waits, server.said, plane.PATIENCE_S)
        (why,) = given
        assert why["code"] == "backoff" and "before it began: see slurm.log" in why["text"], why
        assert server.job(job)["state"] != "failed"
        metrics = server.ask("GET", "//metrics").text.splitlines()
        (pauses,) = [line for line in metrics if line.startswith('myriad_pauses_total{cause="node"}')]
        assert float(pauses.split()[-1]) >= 1
        server.post(f"/jobs/{job}/cancel")
