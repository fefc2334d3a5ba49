"""What survives whose death: control plane, zygote, agents."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from myriad.engines.common import procs
from myriad.engines.local import LocalEngine, nursery, paths
from myriad.engines.local.agent import read_record
from myriad.fleet import site
from myriad.protocol import inputs, orders
from tests.contract import suite
from tests.contract.local_driver import SITE, LocalDriver
from tests.engines.local_site import ATTEMPT, N0, N1, SmallDriver, python, small_site, start, stop

_CONTROL_PLANE = """
import asyncio, pathlib, sys, time
from tests.contract import suite
from tests.contract.local_driver import LocalDriver
async def main():
    driver = LocalDriver(pathlib.Path(sys.argv[1]))
    watcher = await suite.opened(driver)
    watcher.engine.obey(suite.start(driver, driver.talk()))
    # not seen by asking the engine: that would acknowledge what it told before
    nodes = suite.nodes_of(driver)
    await suite.eventually(lambda: all(driver.starts(suite.FIRST, node) for node in nodes))
    print("started", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def _zygote(home: Path) -> int:
    record = read_record(paths.zygote_record(home))
    assert record is not None
    return record.pid


def test_a_gang_outlives_a_killed_control_plane_and_zygote(tmp_path: Path) -> None:
    async def run() -> None:
        driver = LocalDriver(tmp_path)
        try:
            control_plane = await asyncio.to_thread(
                subprocess.Popen,
                [sys.executable, "-c", _CONTROL_PLANE, str(tmp_path)],
                stdout=subprocess.PIPE,
            )
            with control_plane:
                assert control_plane.stdout is not None
                assert await asyncio.to_thread(control_plane.stdout.readline) == b"started\n"
                control_plane.kill()
            os.kill(_zygote(tmp_path), signal.SIGKILL)
            after = await suite.opened(driver)
            # never acknowledged, so all of it is told again
            await after.each(inputs.MemberStarted, suite.nodes_of(driver), attempt=ATTEMPT)
            assert (await after.next(inputs.TrainingResumed, attempt=ATTEMPT)).step == 0
            await after.next(inputs.StepsReported, attempt=ATTEMPT, step=5)
            # and a node can still be replaced: a new zygote is started for it
            instance = after.all(inputs.NodeJoined, node=N0)[-1].instance
            after.engine.obey(orders.RepairNode(node=N0, instance=instance))
            await after.next(inputs.NodeJoined, node=N0)
            driver.finish(ATTEMPT)
            await after.each(inputs.MemberExited, suite.nodes_of(driver)[1:], attempt=ATTEMPT, code=0)
            await after.engine.close()
        finally:
            await driver.dispose()

    asyncio.run(run())


def test_what_is_on_record_is_not_told_again_except_what_runs(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (driver, before):
            before.engine.obey(start(driver.talk()))
            await before.next(inputs.StepsReported, step=5)
            await before.each(inputs.MemberStarted, [N0])
            # asking for more says that all before is on record
            before.engine.obey(orders.QualifyNode(node=N0))
            await before.next(inputs.NodeQualified)
            await before.engine.close()
            after = await suite.opened(driver)
            after.engine.obey(stop())
            await after.next(inputs.MemberGone)
            told = [type(one) for one in after.heard if getattr(one, "attempt", "") == ATTEMPT]
            assert told == [inputs.MemberStarted, inputs.TrainingResumed, inputs.MemberGone]
            await after.engine.close()

    asyncio.run(run())


def test_a_node_that_died_meanwhile_is_fenced_and_comes_back_new(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (driver, before):
            before.engine.obey(start(driver.work()))
            await before.next(inputs.MemberStarted)
            old = before.all(inputs.NodeJoined, node=N0)[-1].instance
            await before.engine.close()
            driver.kill_node(N0)
            after = suite.Watcher(driver.engine())
            await after.engine.open()
            await after.next(inputs.NodeFenced, node=N0, instance=old)
            assert not driver.runs(ATTEMPT, N0)
            assert (await after.next(inputs.NodeJoined, node=N0)).instance != old
            await after.next(inputs.NodeJoined, node=N1)
            await after.engine.close()

    asyncio.run(run())


def test_a_node_that_left_the_site_is_emptied(tmp_path: Path) -> None:
    async def run() -> None:
        driver = LocalDriver(tmp_path)
        try:
            before = await suite.started(driver, driver.work())
            await before.engine.close()
            pod = site.Pod(name="p", racks=1, nodes_per_rack=2)
            smaller = site.Site(name="smaller", chip="local-cpu", chips_per_node=1, pods=(pod,))
            after = suite.Watcher(LocalEngine(tmp_path, smaller, time.time_ns, preload=False))
            await after.engine.open()
            await after.next(inputs.NodeFenced, node="n2")
            assert not driver.runs(ATTEMPT, suite.NodeId("n2"))
            after.engine.obey(stop(suite.NodeId("n2")))
            await after.next(inputs.MemberGone, node="n2")
            await after.each(inputs.NodeJoined, [N0, N1])
            await after.engine.close()
        finally:
            await driver.dispose()

    asyncio.run(run())


def test_a_dead_node_is_noticed_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (driver, watcher):
            driver.kill_node(N1)
            found = [await watcher.next(inputs.NodeSignalled, node=N1, healthy=False) for _ in range(2)]
            # without a word of its heartbeat: silence was not waited for
            assert {one.source for one in found} == {"channel", "process"}

    asyncio.run(run())


def test_the_zygote_is_replaced_when_it_is_needed(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            killed = _zygote(tmp_path)
            os.kill(killed, signal.SIGKILL)
            instance = watcher.all(inputs.NodeJoined, node=N0)[-1].instance
            watcher.engine.obey(orders.RepairNode(node=N0, instance=instance))
            await watcher.next(inputs.NodeJoined, node=N0)
            assert _zygote(tmp_path) != killed
            assert not watcher.all(inputs.NodeSignalled, healthy=False)

    asyncio.run(run())


def test_a_home_with_a_long_path_works_alike(tmp_path: Path) -> None:
    home = tmp_path / ("deep-" * 12) / ("folder-" * 12)

    async def run() -> None:
        async with small_site(home) as (driver, watcher):
            watcher.engine.obey(start(driver.talk()))
            await watcher.next(inputs.StepsReported, step=5)
            record = driver.record(N0)
            assert len(record.address) <= 107
            assert Path(record.address).parent.stat().st_mode & 0o777 == 0o700

    asyncio.run(run())


def test_orders_given_before_a_node_is_up_are_carried_out_when_it_is(tmp_path: Path) -> None:
    async def run() -> None:
        driver = SmallDriver(tmp_path)
        try:
            watcher = suite.Watcher(driver.engine())
            await watcher.engine.open()
            watcher.engine.obey(start(driver.work(), nodes=(N0, N1)))
            await watcher.each(inputs.MemberStarted, [N0, N1])
            await watcher.engine.close()
        finally:
            await driver.dispose()

    asyncio.run(run())


def test_orders_a_dead_node_never_saw_are_answered_by_its_fence(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (driver, watcher):
            driver.pause_node(N0)  # takes orders, and does nothing
            watcher.engine.obey(start(driver.work()))
            instance = watcher.all(inputs.NodeJoined, node=N0)[-1].instance
            watcher.engine.obey(orders.RepairNode(node=N0, instance=instance))
            await watcher.next(inputs.MemberGone, attempt=ATTEMPT, node=N0)
            await watcher.next(inputs.NodeJoined, node=N0)
            watcher.engine.obey(start(driver.work()))  # late, to the new incarnation
            await watcher.next(inputs.MemberGone, attempt=ATTEMPT, node=N0)
            assert driver.starts(ATTEMPT, N0) == 0

    asyncio.run(run())


def test_a_hung_control_plane_yields_to_its_successor(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (driver, _):
            successor = await suite.opened(driver)  # the first never closed
            successor.engine.obey(start(python("pass")))
            await successor.next(inputs.MemberExited, code=0)
            await successor.engine.close()

    asyncio.run(run())


def test_shutdown_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    async def run() -> None:
        engine = LocalEngine(tmp_path, SITE, time.time_ns, preload=False)
        await engine.open()
        await engine.observe()
        pids = [record.pid for record in nursery.records(tmp_path)]
        await engine.shutdown()
        await engine.shutdown()
        assert pids and not any(procs.find(pid) for pid in pids)
        assert not nursery.records(tmp_path)

    asyncio.run(run())
