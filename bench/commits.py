"""From an intent to its acknowledgement, on PostgreSQL and on SQLite, with many askers at once.

Ours: the server's own wheel and core over a real journal; each asker submits a job, waits until that is
durable, and submits the next. HTTP is not in it. Peer: the same database on the same disk, one plain INSERT
and COMMIT of the same bytes after the other on one connection, nothing decided, no chain: without grouping.
Beside them the journal alone, in groups of the same size: what is left when the brain has nothing to decide.
PostgreSQL with fsync and synchronous_commit on, SQLite in WAL mode with synchronous=FULL. Rounds alternate.
"""

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psycopg

from bench import report
from bench.core import ready_core
from bench.peers.postgres import Cluster, missing
from myriad.kernel.ids import JobId, TenantId
from myriad.protocol.inputs import SubmitJob
from myriad.protocol.values import Profile
from myriad.server import collector
from myriad.server.wheel import Wheel
from myriad.store import opening
from myriad.workload.jobs import TrainingJob

SPEC = TrainingJob(
    name="job", tenant=TenantId("acme"), nodes=64, chips_per_node=16, recipe="pretrain", config={"steps": 300}
)


class Run(NamedTuple):
    """What one run of ours did."""

    rate: float  # acknowledged intents a second
    group: float  # of them in one commit, on average
    latencies: list[float]
    body: bytes  # as many as the journal has of one intent


async def ours(location: str, askers: int, seconds: float) -> Run:
    """Askers over a wheel over a journal."""
    core, _ = ready_core(1, at=time.time_ns())
    journal = opening.to_write(location)
    may_act = journal.seat.may_act if isinstance(journal, opening.PostgresJournal) and journal.seat else None
    wheel = Wheel(core, journal, 0, [], may_act) if may_act else Wheel(core, journal, 0, [])
    collector.spare_what_is_held()
    wheel.start()
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def ask(number: int) -> None:
        count = 0
        while (begun := time.perf_counter()) < end:
            job = JobId(f"job{number}-{count}")
            await wheel.ask(SubmitJob(at=0, job=job, spec=SPEC, profile=Profile(steps=300)))
            latencies.append(time.perf_counter() - begun)
            count += 1

    begun = time.perf_counter()
    await asyncio.gather(*(ask(number) for number in range(askers)))
    spent = time.perf_counter() - begun
    await wheel.stop()
    bodies = [record.body for record in journal.read()]
    assert len(bodies) >= len(latencies), "every acknowledged intent is there"
    journal.close()
    written = b"".join(bodies)
    return Run(
        len(latencies) / spent,
        len(latencies) / wheel.costs.committed.count,
        latencies,
        written[: len(written) // len(latencies)],
    )


def alone(location: str, body: bytes, group: int, seconds: float) -> float:
    """Records per second of our journal, so many at a time, with nothing to decide."""
    journal = opening.to_write(location)
    rows, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        rows = journal.append([body] * group)
    spent = time.perf_counter() - begun
    journal.close()
    return rows / spent


def plain_postgres(url: str, body: bytes, seconds: float) -> float:
    """Commits per second of one row each, on one connection."""
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        connection.execute("CREATE TABLE plain (seq bigserial PRIMARY KEY, body bytea NOT NULL)")
        rows, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            connection.execute("INSERT INTO plain (body) VALUES (%b)", (body,))
            rows += 1
        return rows / (time.perf_counter() - begun)


def plain_sqlite(path: str, body: bytes, seconds: float) -> float:
    """The same in SQLite."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE plain (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    rows, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        connection.execute("INSERT INTO plain (body) VALUES (?)", (body,))
        rows += 1
    spent = time.perf_counter() - begun
    connection.close()
    return rows / spent


class Side:
    """One database: ours and the plain commits, round by round."""

    def __init__(self, new: Callable[[], str], plain: Callable[[str, bytes, float], float]) -> None:
        self._new, self._plain = new, plain
        self.runs: list[Run] = []
        self.plain: list[float] = []
        self.alone: list[float] = []

    def round(self, askers: int, seconds: float) -> None:
        """Ours, the peer, the journal alone."""
        run = asyncio.run(ours(self._new(), askers, seconds))
        self.runs.append(run)
        self.plain.append(self._plain(self._new(), run.body, seconds))
        self.alone.append(alone(self._new(), run.body, round(run.group), seconds))

    def figures(self) -> dict[str, float]:
        """Medians, and quantiles of all acknowledgements."""
        times = [value for run in self.runs for value in run.latencies]
        quantiles = statistics.quantiles(times, n=100)
        rate, plain = statistics.median(run.rate for run in self.runs), statistics.median(self.plain)
        return {
            "rate": round(rate, 1),
            "plain": round(plain, 1),
            "ratio": round(rate / plain, 2),
            "alone": round(statistics.median(self.alone), 1),
            "p50_ms": round(quantiles[49] * 1000, 2),
            "p99_ms": round(quantiles[98] * 1000, 2),
            "group": round(statistics.median(run.group for run in self.runs), 1),
            "bytes": round(statistics.median(len(run.body) for run in self.runs)),
        }


def main() -> None:
    """Measure, print the table, end with the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="on the file system to measure")
    parser.add_argument("--askers", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement in each round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if why := missing():
        raise SystemExit(f"bench.commits: {why}")
    with Cluster(given.folder) as cluster, tempfile.TemporaryDirectory(dir=given.folder) as folder:
        files = (f"{folder}/{number}.db" for number in range(10_000))
        sides = {
            "PostgreSQL": Side(cluster.database, plain_postgres),
            "SQLite": Side(lambda: next(files), plain_sqlite),
        }
        for _ in range(given.rounds):
            for side in sides.values():
                side.round(given.askers, given.seconds)
    print(f"{given.askers} askers, {given.rounds} rounds of {given.seconds} s, medians")
    columns = ("rate", "plain", "ratio", "alone", "p50_ms", "p99_ms", "group", "bytes")
    print(f"{'':12}" + "".join(f"{name:>10}" for name in columns))
    found = {name: side.figures() for name, side in sides.items()}
    for name, row in found.items():
        print(f"{name:12}" + "".join(f"{row[column]:>10}" for column in columns))
    first = found["PostgreSQL"]
    report.finish(
        "commits",
        first["rate"],
        "intents/s acknowledged on PostgreSQL",
        "PostgreSQL, one plain INSERT and COMMIT of the same bytes at a time",
        first["plain"],
        bar=0.8,
        askers=given.askers,
        postgresql=first,
        sqlite=found["SQLite"],
        rounds={
            name: {"ours": report.spread([run.rate for run in side.runs]), "plain": report.spread(side.plain)}
            for name, side in sides.items()
        },
    )


if __name__ == "__main__":
    main()
