"""From the leader's end to the first intent that its standby acknowledges, with a journal of 1,000,000 facts.

Real processes over a real PostgreSQL, and the simulated world as their body. Twice each round: the leader is
killed (kill -9), and the leader is frozen (SIGSTOP), which only its silence tells. In both a whole lease has
to pass before another one may act: that is most of the time. The facts are those of jobs that were submitted,
placed, started, made progress, checkpointed and ended on 625 nodes; the last ones still run.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from bench import report
from bench.core import SIZES, life, ready_core
from bench.peers.postgres import Cluster, missing
from myriad.kernel.rng import Stream
from myriad.protocol import wire
from myriad.protocol.fact import Fact
from myriad.store import opening
from myriad.store.postgres.journal import PostgresJournal
from myriad.store.postgres.seat import LEASE_S

BAR_S = 5.0
_PATIENCE_S = 600.0
_AHEAD_NS = 3600 * 10**9
#: The last jobs are left running, so that whoever takes over has work under way.
_RUNNING = 100
_SITE = """
name: bench
chip: zhenwu-810e
spares: 4
pods: [{name: p0, racks: 25, nodes_per_rack: 25}]
"""


def entries(count: int) -> Iterator[bytes]:
    """Journal entries with at least so many facts."""
    base = time.time_ns() - 30 * 24 * _AHEAD_NS
    core, happened = ready_core(1, base)
    yield wire.encode("bench", happened)
    sizes, facts, number, said_at = Stream(92, "sizes"), len(happened), 0, time.monotonic()
    left = _RUNNING
    while left:
        number += 1
        ending = facts >= count
        left -= ending
        for step in _life(core, number, sizes.choice(SIZES[:4] if ending else SIZES), base, whole=not ending):
            if step:
                facts += len(step)
                yield wire.encode(f"bench job-{number}", step)
        if time.monotonic() - said_at > 10:
            said_at = time.monotonic()
            print(f"  {facts:,} facts made", flush=True)


def _life(core: Any, number: int, nodes: int, base: int, *, whole: bool) -> Iterator[tuple[Fact, ...]]:
    steps = life(core, number, nodes, base + number * 10**9)
    for count, step in enumerate(steps):
        yield step
        if not whole and count > nodes + 2:
            return


class Plane:
    """One control plane of the bench."""

    def __init__(self, home: Path, url: str, *options: str) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        (home / "site.yaml").write_text(_SITE)
        (home / "context.json").unlink(missing_ok=True)
        argv = [sys.executable, "-m", "myriad.server", "--home", str(home), "--engine", "memory"]
        argv += ["--port", "0", "--gateway-port", "0", "--journal", url, *options]
        self.begun = time.monotonic()
        with (home / "log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)

    def context(self) -> dict[str, str]:
        """Where it listens; empty: not yet."""
        try:
            return dict(json.loads((self.home / "context.json").read_text()))
        except (OSError, ValueError):
            return {}

    def health(self) -> dict[str, Any]:
        """What it says of itself; empty: nothing."""
        try:
            return dict(httpx.get(self.context()["api_url"] + "/healthz", trust_env=False, timeout=30).json())
        except (httpx.TransportError, ValueError, KeyError):
            return {}

    def wait(self, **wanted: Any) -> float:
        """Until its health has these; seconds since its start."""
        while not wanted.items() <= self.health().items():
            assert self.process.poll() is None, (self.home / "log").read_text()[-2000:]
            assert time.monotonic() - self.begun < _PATIENCE_S, (wanted, self.health())
            time.sleep(0.05)
        return time.monotonic() - self.begun

    def acknowledges(self, key: str) -> bool:
        """Whether an intent is taken."""
        try:
            url = self.context()["api_url"] + "/api/v1/tenants"
            tenant = {"name": f"t{time.time_ns()}", "quota": {"chips": 1}}
            headers = {"Authorization": f"Bearer {key}"}
            answer = httpx.post(
                url, json={"tenants": [tenant]}, headers=headers, trust_env=False, timeout=httpx.Timeout(30)
            )
        except (httpx.TransportError, KeyError):
            return False
        return answer.status_code == 200

    def end(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def taken_over(leader: Plane, standby: Plane, key: str, number: int) -> float:
    """Seconds from the signal to the first intent that the standby acknowledges."""
    begun = time.monotonic()
    os.kill(leader.process.pid, number)
    while not standby.acknowledges(key):
        assert standby.process.poll() is None, (standby.home / "log").read_text()[-2000:]
        assert time.monotonic() - begun < _PATIENCE_S
        time.sleep(0.01)
    return time.monotonic() - begun


def fill(url: str, facts: int) -> int:
    """A journal of so many facts; the number of its entries."""
    begun = time.monotonic()
    journal = opening.to_write(url)
    assert isinstance(journal, PostgresJournal)
    filled = journal.fill(lambda: entries(facts))
    journal.close()
    print(f"{facts:,} facts in {filled.seq:,} entries, made and written in {time.monotonic() - begun:.0f} s")
    return filled.seq


def measure(url: str, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Kill and freeze leaders in turn; each time the next standby has folded everything."""
    found: dict[str, list[float]] = {"killed": [], "frozen": [], "folded": []}
    with ExitStack() as stack:

        def start(*options: str) -> Plane:
            plane = Plane(folder / f"home-{time.time_ns()}", url, *options)
            stack.callback(plane.end)
            return plane

        leader = start()
        found["folded"].append(leader.wait(role="leader"))
        print(f"a leader starts alone in {found['folded'][0]:.1f} s", flush=True)
        key = leader.context()["key"]
        for _ in range(rounds):
            for how, number in (("killed", signal.SIGKILL), ("frozen", signal.SIGSTOP)):
                standby = start("--standby")
                found["folded"].append(standby.wait(role="standby", leader_url=leader.context()["api_url"]))
                time.sleep(2)
                found[how].append(taken_over(leader, standby, key, number))
                print(f"leader {how}: {found[how][-1]:.2f} s", flush=True)
                if how == "frozen":
                    os.kill(leader.process.pid, signal.SIGCONT)
                    assert leader.process.wait(30) == 3, "deposed"
                leader = standby
    return found


def main() -> None:
    """Print each round, end with the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="of the database")
    given = parser.parse_args()
    if why := missing():
        raise SystemExit(f"bench.takeover: {why}")
    with Cluster(given.folder) as cluster, tempfile.TemporaryDirectory(prefix="myriad-bench-") as folder:
        url = cluster.database()
        count = fill(url, given.facts)
        found = measure(url, Path(folder), given.rounds)
    slowest = max(found["killed"] + found["frozen"])
    report.finish(
        "takeover",
        statistics.median(found["killed"]),
        "s from kill -9 of the leader to the first intent its standby acknowledges",
        "the bar",
        BAR_S,
        better="lower",
        frozen=round(statistics.median(found["frozen"]), 3),
        slowest=round(slowest, 3),
        lease_s=LEASE_S,
        facts=given.facts,
        entries=count,
        cold_start_s=round(statistics.median(found["folded"]), 2),
        rounds=given.rounds,
    )


if __name__ == "__main__":
    main()
