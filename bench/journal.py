"""Acknowledged intents per second through group commit, against what SQLite itself does.

Ours: many producers wait for their acknowledgement; one committer thread appends whatever has queued up,
as the server does. Peer: plain SQLite with the same durability (WAL, synchronous=FULL), the same body,
the same file system, one row a transaction: what a server without group commit would do. Ceiling: plain
SQLite inserting groups of the size that ours reached, with no digests, queue or acknowledgements.
Rounds of the three alternate, so that a busy machine disturbs all alike.
"""

import argparse
import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import report
from myriad.kernel.ids import JobId, TenantId
from myriad.protocol import facts, wire
from myriad.store.sqlite import SqliteJournal
from myriad.workload.jobs import TrainingJob

SPEC = TrainingJob(
    name="tiny-llama",
    tenant=TenantId("acme"),
    nodes=4,
    recipe="pretrain",
    config={"layers": 4, "width": 128, "steps": 300, "corpus": "stdlib", "learning_rate": 3e-4},
)
ADMITTED = facts.JobAdmitted(at=1_700_000_000_000_000_000, job=JobId("tiny-llama-1"), spec=SPEC)
BODY = wire.encode("SubmitJob tiny-llama-1", [ADMITTED])


async def _ours(path: Path, producers: int, seconds: float) -> tuple[float, float, list[float]]:
    """Acknowledged per second, mean group, and the seconds each acknowledgement took."""
    journal, loop = SqliteJournal(path), asyncio.get_running_loop()
    waiting: list[asyncio.Future[None]] = []
    arrived, latencies, groups = asyncio.Event(), [], 0
    end = time.perf_counter() + seconds

    async def produce() -> None:
        while (begun := time.perf_counter()) < end:
            acknowledged: asyncio.Future[None] = loop.create_future()
            waiting.append(acknowledged)
            arrived.set()
            await acknowledged
            latencies.append(time.perf_counter() - begun)

    async def commit() -> None:
        nonlocal groups
        with ThreadPoolExecutor(1) as thread:
            while True:
                await arrived.wait()
                group = waiting.copy()
                waiting.clear()
                arrived.clear()
                await loop.run_in_executor(thread, journal.append, [BODY] * len(group))
                groups += 1
                for acknowledged in group:
                    acknowledged.set_result(None)

    committer = asyncio.create_task(commit())
    begun = time.perf_counter()
    await asyncio.gather(*(produce() for _ in range(producers)))
    spent = time.perf_counter() - begun
    committer.cancel()
    await asyncio.gather(committer, return_exceptions=True)
    assert journal.verify().records == len(latencies), "every acknowledged record is there"
    journal.close()
    return len(latencies) / spent, len(latencies) / groups, latencies


def _plain(path: Path, group: int, seconds: float) -> float:
    """Rows per second of SQLite alone, `group` rows a transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE journal (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    rows, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO journal (body) VALUES (?)", ((BODY,) for _ in range(group)))
        connection.execute("COMMIT")
        rows += group
    spent = time.perf_counter() - begun
    connection.close()
    return rows / spent


def _syncs(path: Path, seconds: float) -> float:
    """How many append + fdatasync of one body a second the file system does: the floor under all three."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        os.write(file, BODY)
        os.fdatasync(file)
        count += 1
    os.close(file)
    return count / (time.perf_counter() - begun)


def main() -> None:
    """Measure, print the table, end with the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("out"), help="on the file system to measure")
    parser.add_argument("--producers", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement in each round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    ours, single, ceiling, syncs, sizes = [], [], [], [], []
    latencies: list[float] = []
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="bench-journal-") as name:
        for number in range(given.rounds):
            fresh: Callable[[str], Path] = lambda kind, n=number: Path(name) / f"{kind}-{n}.db"  # type: ignore[misc]
            rate, size, times = asyncio.run(_ours(fresh("ours"), given.producers, given.seconds))
            ours.append(rate)
            sizes.append(size)
            latencies += times
            single.append(_plain(fresh("single"), 1, given.seconds))
            ceiling.append(_plain(fresh("group"), max(1, round(size)), given.seconds))
            syncs.append(_syncs(fresh("sync"), given.seconds / 4))
    p50, p99 = (statistics.quantiles(latencies, n=100)[k] * 1000 for k in (49, 98))
    print(f"body {len(BODY)} bytes, {given.producers} producers, {given.rounds} rounds of {given.seconds} s")
    print(f"{'':44}{'median':>10}{'min':>10}{'max':>10}   per second")
    for title, values in (
        ("acknowledged intents, group commit", ours),
        ("SQLite, one row a transaction", single),
        (f"SQLite, {statistics.median(sizes):.0f} rows a transaction, no chain", ceiling),
        ("file system, append + fdatasync", syncs),
    ):
        print(f"{title:44}{statistics.median(values):>10.0f}{min(values):>10.0f}{max(values):>10.0f}")
    print(f"time to acknowledgement: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    report.finish(
        "journal",
        statistics.median(ours),
        "acknowledged intents/s",
        "SQLite WAL synchronous=FULL, one row a transaction",
        statistics.median(single),
        ceiling=round(statistics.median(ceiling), 1),
        of_ceiling=round(statistics.median(ours) / statistics.median(ceiling), 3),
        rounds={
            "ours": report.spread(ours),
            "peer": report.spread(single),
            "ceiling": report.spread(ceiling),
        },
        group_mean=round(statistics.median(sizes), 1),
        producers=given.producers,
        body_bytes=len(BODY),
        ack_ms={"p50": round(p50, 2), "p99": round(p99, 2)},
        fdatasync_per_s=round(statistics.median(syncs), 1),
    )


if __name__ == "__main__":
    main()
