"""Acknowledged means on disk; one commit carries many intents; a retry is the same; a full disk is told."""

import asyncio
import itertools
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from myriad.control.core import Core, Step
from myriad.control.policy import Policy
from myriad.control.state import State
from myriad.kernel.errors import UserError
from myriad.kernel.ids import JobId, NodeId
from myriad.protocol import orders, wire
from myriad.protocol.facts import JobAdmitted
from myriad.protocol.inputs import ApplyTenant, DrainNode, Input, OpenSite, SubmitJob, Woke
from myriad.server.causes import Asked
from myriad.server.wheel import BrokenLaw, Wheel
from myriad.store.memory import MemoryJournal
from tests import build
from tests.server.harness import Server, command


def test_acknowledged_intents_survive_kill_9_at_once(server: Server) -> None:
    server.tenant()
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda n: server.submit(command("x", name=f"j{n}")), range(40)))
    drained = server.post("/nodes/n3/drain", {"reason": "to be seen after"})
    server.kill()
    server.start()
    assert {one["job"] for one in server.get("/jobs")} == set(jobs)
    assert drained["cordoned"] and server.get("/nodes")[3]["cordoned"]
    assert server.post("/journal/verify")["equal"]


def test_many_intents_share_a_commit(server: Server) -> None:
    server.tenant()
    before = _metric(server, "myriad_journal_commit_seconds_count")
    with ThreadPoolExecutor(32) as pool:
        jobs = list(pool.map(lambda n: server.submit(command("x", name=f"j{n}")), range(200)))
    assert len(set(jobs)) == 200
    commits = _metric(server, "myriad_journal_commit_seconds_count") - before
    assert commits < 150, f"{commits} commits for 200 intents"


def _metric(server: Server, name: str) -> float:
    lines = server.ask("GET", "//metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(name + " ")).split()[1])


def test_a_retry_with_the_same_key_is_the_same_job_even_after_a_crash(server: Server) -> None:
    server.tenant()
    spec, again = command("x", name="once"), {"headers": {"Idempotency-Key": "k1"}}
    with ThreadPoolExecutor(8) as pool:
        jobs = set(pool.map(lambda _: server.submit(spec, **again), range(16)))
    assert jobs == {"once-1"}
    server.kill()
    server.start()
    assert server.submit(spec, **again) == "once-1"
    assert server.submit(spec) == "once-2"
    other = server.ask("POST", "/jobs", {"spec": {**spec, "retries": 1}}, **again)
    assert other.status == 409 and other.tree["field"] == "Idempotency-Key"


def test_ids_are_never_used_twice(server: Server, tmp_path: Path) -> None:
    server.tenant()
    (tmp_path / "config.json").write_text("{}")
    spec = {"name": "same", "tenant": "acme", "model": {"path": str(tmp_path)}}
    assert server.submit(command("x", name="same")) == "same-1"
    first = server.post("/services", {"spec": spec})["service"]
    changed = server.post("/services", {"spec": {**spec, "concurrency": 2}})["service"]
    assert changed == first == "same-2", "the same service, changed"
    assert server.ask("DELETE", "/services/same").status == 200
    server.kill()
    server.start()
    assert server.post("/services", {"spec": spec})["service"] == "same-3"


def test_a_dry_run_changes_nothing(server: Server) -> None:
    server.tenant()
    server.wait_ready()
    seq = server.get("//healthz")["journal_seq"]
    said = server.post("/jobs?dry_run=1", {"spec": command("x", name="dry", nodes=2)})
    assert len(said["job"]["placed_on"]) == 2
    assert server.get("//healthz")["journal_seq"] == seq and server.get("/jobs") == []


# ---- the wheel by itself --------------------------------------------------------------------------


class _Gate(MemoryJournal):
    """A journal whose disk is as slow, or as full, as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self.full = False
        self.sizes: list[int] = []

    def append(self, bodies: Sequence[bytes]) -> int:
        assert self.open.wait(10)
        if self.full:
            raise UserError("cannot grow: the disk is full", field="journal", remedy="Free space", status=503)
        self.sizes.append(len(bodies))
        return super().append(bodies)


async def _opened(journal: _Gate, given: list[orders.Order]) -> Wheel:
    wheel = Wheel(Core(Policy(), State()), journal, 0, [])
    wheel.start()
    await wheel.ask(OpenSite(at=0, site=build.site()))
    await wheel.ask(ApplyTenant(at=0, tenant=build.tenant()))
    wheel.release(given.append)
    given.clear()  # what is said again of every node at a start
    return wheel


def _submit(number: int) -> SubmitJob:
    return SubmitJob(at=0, job=JobId(f"j-{number}"), spec=build.job(1, command=("x",)))


def test_nothing_is_told_before_it_is_durable() -> None:
    async def story() -> None:
        journal, given = _Gate(), list[orders.Order]()
        wheel = await _opened(journal, given)
        journal.open.clear()
        first = asyncio.create_task(wheel.ask(DrainNode(at=0, node=NodeId("n0"))))
        await asyncio.sleep(0)
        later = [asyncio.create_task(wheel.ask(_submit(number))) for number in range(50)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert not first.done() and not given
        assert not any(task.done() for task in later)
        journal.open.set()
        await asyncio.gather(first, *later)
        assert journal.sizes[-2:] == [1, 51], (
            "what came while the disk was busy is one commit, and what was scheduled"
        )
        await wheel.stop()

    asyncio.run(story())


def test_whoever_was_told_and_whoever_reads_sees_what_is_durable_beside_clients_that_never_pause() -> None:
    async def story() -> None:
        journal = _Gate()
        wheel = await _opened(journal, [])
        numbers = itertools.count()
        busy = True

        def check_durable() -> None:
            known = {
                fact.job
                for one in journal.read()
                for fact in wire.decode(one.body).facts
                if isinstance(fact, JobAdmitted)
            }
            assert set(wheel.core.state.jobs) == known

        async def client() -> None:
            while busy:
                await wheel.ask(_submit(next(numbers)))
                check_durable()

        async def late(start: int) -> None:
            # two crowds out of step: something is always queued when a commit ends
            while len(journal.sizes) < start:
                await asyncio.sleep(0)
            await client()

        clients = [asyncio.create_task(late(2 + number % 2)) for number in range(6)]
        for _ in range(20):
            await wheel.settled()
            check_durable()
            await asyncio.sleep(0)
        busy = False
        await asyncio.gather(*clients)
        await wheel.stop()

    asyncio.run(asyncio.wait_for(story(), 30))


def test_a_full_disk_refuses_and_gives_no_order() -> None:
    async def story() -> None:
        journal, given = _Gate(), list[orders.Order]()
        wheel = await _opened(journal, given)
        before = len(list(journal.read()))
        journal.full = True
        asks = [wheel.ask(_submit(number)) for number in range(5)]
        answers = await asyncio.gather(*asks, return_exceptions=True)
        assert all(isinstance(one, UserError) and one.status == 503 for one in answers), answers
        assert all("disk is full" in str(one) and "Free space" in str(one) for one in answers)
        assert not given and len(list(journal.read())) == before
        with pytest.raises(UserError, match="disk is full"):
            await wheel.ask(_submit(9))
        with pytest.raises(UserError, match="disk is full"):
            await wheel.settled()
        with pytest.raises(UserError, match="disk is full"):
            await wheel.failed
        await wheel.stop()

    asyncio.run(story())


def test_a_broken_law_stops_the_wheel_and_tells_the_story(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        journal, given = _Gate(), list[orders.Order]()
        wheel = await _opened(journal, given)
        await wheel.ask(_submit(1))

        def broken(_: object) -> None:
            raise AssertionError("a chip is held twice")

        for door in ("step", "turn"):
            monkeypatch.setattr(wheel.core, door, broken)
        with pytest.raises(UserError, match="mistake of its own"):
            await wheel.ask(_submit(1))
        with pytest.raises(BrokenLaw) as law:
            await wheel.failed
        assert "a chip is held twice" in str(law.value) and "input: SubmitJob" in str(law.value)
        assert "JobAdmitted" in str(law.value), "the subject's story"
        await wheel.stop()

    asyncio.run(story())


def test_causes_say_who_and_under_which_key() -> None:
    async def story() -> None:
        journal = _Gate()
        wheel = await _opened(journal, [])
        await wheel.ask(_submit(1), Asked("key-1", "abc"))
        causes = [wire.decode(record.body).cause for record in journal.read()]
        assert causes == ["OpenSite", "ApplyTenant acme", "SubmitJob j-1 by key-1 once abc"]
        await wheel.stop()

    asyncio.run(story())


def test_a_slow_commit_is_logged_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        wheel = await _opened(_Gate(), [])
        monkeypatch.setattr("myriad.server.wheel._SLOW_S", 0.0)
        await wheel.ask(ApplyTenant(at=0, tenant=build.tenant("other")))
        assert wheel.costs.committed.count >= 1 and wheel.costs.batches.largest >= 1
        assert wheel.costs.inputs["ApplyTenant"] == 2 and wheel.costs.decided.count >= 1
        await wheel.stop()

    asyncio.run(story())
    assert "myriad: a commit of 1 entries took 0.0 s" in capsys.readouterr().err


def test_timers_ring_and_a_later_one_replaces_the_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        wheel = await _opened(_Gate(), [])
        woken: list[tuple[str, int]] = []
        step, turn = wheel.core.step, wheel.core.turn

        def note(batch: Sequence[Input]) -> None:
            woken.extend((each.about, each.at) for each in batch if isinstance(each, Woke))

        def step_noted(given: Input) -> Step:
            note([given])
            return step(given)

        def turn_noted(batch: Sequence[Input]) -> tuple[list[Step], Step]:
            note(batch)  # timers that rang in one iteration of the loop
            return turn(batch)

        monkeypatch.setattr(wheel.core, "step", step_noted)
        monkeypatch.setattr(wheel.core, "turn", turn_noted)
        soon, late = wheel.now() + 20_000_000, wheel.now() + 60_000_000
        for about, at in (("node:n0", soon), ("node:n1", soon), ("node:n0", late)):
            wheel._wake(orders.WakeAt(about=about, wake_at=at))
        nodes: list[tuple[str, int]] = []
        async with asyncio.timeout(30):
            while "node:n0" not in dict(nodes) or wheel.now() < late:
                await asyncio.sleep(0.01)
                nodes = [(about, at) for about, at in woken if about.startswith("node:")]
        assert [about for about, _ in nodes] == ["node:n1", "node:n0"]
        assert nodes[0][1] >= soon and nodes[1][1] >= late
        await wheel.stop()

    asyncio.run(story())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_server_whose_disk_fills_up_ends_with_a_message(server: Server) -> None:
    """The journal's files may not grow any more: the limit on file sizes stands in for the full disk."""
    import resource

    assert server.process
    server.wait_ready()  # or a node that joins would be the first to meet the full disk
    size = (server.home / "journal.db-wal").stat().st_size
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size + 4096, size + 4096))
    acknowledged, refused = [], False
    for number in range(400):
        tenant = {"name": f"t{number}", "quota": {"chips": 1}}
        try:
            answer = server.ask("POST", "/tenants", {"tenants": [tenant]})
        except httpx.TransportError:
            break  # something of its own was refused, and it was gone before we had a turn
        if answer.status != 200:
            assert answer.status == 503 and answer.tree["remedy"], answer.text
            refused = True
            break
        acknowledged.append(tenant["name"])
    assert server.process.wait(20) == 1
    said = server.said()
    assert "cannot go on: journal" in said and "Traceback" not in said
    assert "was answered 503" in said or not refused
    server.start()
    assert {one["tenant"] for one in server.get("/tenants")} >= set(acknowledged)
    assert os.path.exists(server.home / "context.json")


def test_a_mistake_that_nobody_foresaw_ends_the_wheel_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        wheel = Wheel(Core(Policy(), State()), MemoryJournal(), 0, [])
        wheel.start()

        def broken(_: object) -> None:
            raise KeyError("n7")

        monkeypatch.setattr(wheel.core, "step", broken)
        asked = asyncio.create_task(wheel.ask(ApplyTenant(at=0, tenant=build.tenant("acme"))))
        with pytest.raises(KeyError):
            await asyncio.wait_for(asyncio.shield(wheel.failed), 5)
        with pytest.raises(UserError) as refused:
            await asyncio.wait_for(asked, 5)
        assert refused.value.status == 503
        await wheel.stop()

    asyncio.run(run())
