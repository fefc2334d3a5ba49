"""What every engine must hold, whatever its world: the contract of kernel.ports.Engine, checked.

To add an engine: write a `Driver` for its world and list it in `test_engines.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from myriad.fleet.site import Site
from myriad.kernel.ids import AttemptId, JobId, NodeId
from myriad.kernel.ports import Engine
from myriad.protocol import inputs, orders
from myriad.protocol.values import Member

PATIENCE_S = 20.0
JOB = JobId("job-a")
FIRST, SECOND = AttemptId("job-a.1"), AttemptId("job-a.2")

AnyEngine = Engine[orders.AnyOrder, inputs.Input]


class Driver(Protocol):
    """A world with three nodes of one chip, and hands to disturb it. Used inside one event loop."""

    site: Site
    #: Can a node be frozen so that only its heartbeat stops?
    can_pause: bool

    def engine(self) -> AnyEngine:
        """A new engine object over the same world, as a restarted control plane makes one."""
        ...

    def work(self, code: int = 0) -> orders.Launch:
        """Runs until `finish` is called for its attempt, then exits with `code`."""
        ...

    def talk(self) -> orders.Launch:
        """Rank 0 reports resumed 0 and steps 1 to 5 of 10 tokens; any rank saves step 5 when asked to."""
        ...

    def finish(self, attempt: AttemptId) -> None:
        """Let the attempt's processes exit."""
        ...

    def starts(self, attempt: AttemptId, node: NodeId) -> int:
        """How often a process of the attempt has begun on the node. Exact once it has exited."""
        ...

    def runs(self, attempt: AttemptId, node: NodeId) -> bool:
        """Does any process of the attempt live on the node?"""
        ...

    def kill_node(self, node: NodeId) -> None:
        """The node dies at once, with all that runs on it."""
        ...

    def pause_node(self, node: NodeId) -> None:
        """Freeze the node (only if `can_pause`)."""
        ...

    def resume_node(self, node: NodeId) -> None:
        """Thaw the node."""
        ...

    async def dispose(self) -> None:
        """End everything."""
        ...


class Watcher:
    """Reads an engine's observations and keeps them all."""

    def __init__(self, engine: AnyEngine, patience_s: float = PATIENCE_S) -> None:
        self.engine = engine
        #: For one observation.
        self.patience_s = patience_s
        self.heard: list[inputs.Input] = []
        self._taken: set[int] = set()

    async def next(self, kind: type, **fields: Any) -> Any:
        """The first observation of that kind and with those fields that was not returned before."""
        async with asyncio.timeout(self.patience_s):
            looked_at = 0
            while True:
                for position in range(looked_at, len(self.heard)):
                    if position not in self._taken and _fits(self.heard[position], kind, fields):
                        self._taken.add(position)
                        return self.heard[position]
                looked_at = len(self.heard)
                self.heard += await self.engine.observe()

    async def each(self, kind: type, nodes: Sequence[NodeId], **fields: Any) -> list[Any]:
        """One such observation of each node, in whatever order they come."""
        return [await self.next(kind, node=node, **fields) for node in nodes]

    def all(self, kind: type, **fields: Any) -> list[Any]:
        """Everything of that kind heard so far."""
        return [one for one in self.heard if _fits(one, kind, fields)]


def _fits(one: inputs.Input, kind: type, fields: dict[str, Any]) -> bool:
    return isinstance(one, kind) and all(getattr(one, name) == value for name, value in fields.items())


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what no observation tells."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


def nodes_of(driver: Driver) -> list[NodeId]:
    return [place.node for place in driver.site.places()]


def gang(driver: Driver) -> tuple[Member, ...]:
    return tuple(Member(node=node, chips=1) for node in nodes_of(driver))


def start(driver: Driver, launch: orders.Launch, attempt: AttemptId = FIRST) -> orders.StartGang:
    return orders.StartGang(attempt=attempt, job=JOB, members=gang(driver), launch=launch)


async def opened(driver: Driver, patience_s: float = PATIENCE_S) -> Watcher:
    """A new engine, open, with every node joined."""
    watcher = Watcher(driver.engine(), patience_s)
    await watcher.engine.open()
    await watcher.each(inputs.NodeJoined, nodes_of(driver))
    return watcher


async def started(driver: Driver, launch: orders.Launch) -> Watcher:
    """The first attempt, started on every node."""
    watcher = await opened(driver)
    watcher.engine.obey(start(driver, launch))
    await watcher.each(inputs.MemberStarted, nodes_of(driver), attempt=FIRST)
    return watcher


# ---- the contract --------------------------------------------------------------------------------


async def every_node_joins(driver: Driver) -> None:
    watcher = await opened(driver)
    joined = watcher.all(inputs.NodeJoined)
    assert [one.chips for one in joined] == [1, 1, 1]
    assert len({one.instance for one in joined}) == 3
    await watcher.engine.close()
    assert not await watcher.engine.observe()


async def a_node_qualifies(driver: Driver) -> None:
    watcher = await opened(driver)
    node = nodes_of(driver)[1]
    watcher.engine.obey(orders.QualifyNode(node=node))
    found = await watcher.next(inputs.NodeQualified, node=node)
    assert found.ok
    assert found.instance == watcher.all(inputs.NodeJoined, node=node)[-1].instance
    assert found.gemm_flops > 0
    await watcher.engine.close()


async def starts_once_whatever_is_repeated(driver: Driver) -> None:
    watcher = await started(driver, driver.work())
    for _ in range(3):
        watcher.engine.obey(start(driver, driver.work()))
    driver.finish(FIRST)
    await watcher.each(inputs.MemberExited, nodes_of(driver), attempt=FIRST, code=0)
    watcher.engine.obey(start(driver, driver.work()))
    await watcher.each(inputs.MemberExited, nodes_of(driver), attempt=FIRST, code=0)
    assert [driver.starts(FIRST, node) for node in nodes_of(driver)] == [1, 1, 1]
    await watcher.engine.close()


async def stop_before_start_fences(driver: Driver) -> None:
    watcher = await opened(driver)
    watcher.engine.obey(orders.StopGang(attempt=FIRST, members=gang(driver)))
    await watcher.each(inputs.MemberGone, nodes_of(driver), attempt=FIRST)
    watcher.engine.obey(start(driver, driver.work()))
    # orders to a node are carried out in order: when the second gang runs, the first did not start
    watcher.engine.obey(start(driver, driver.work(), SECOND))
    await watcher.each(inputs.MemberStarted, nodes_of(driver), attempt=SECOND)
    driver.finish(SECOND)
    await watcher.each(inputs.MemberExited, nodes_of(driver), attempt=SECOND)
    assert not watcher.all(inputs.MemberStarted, attempt=FIRST)
    assert [driver.starts(FIRST, node) for node in nodes_of(driver)] == [0, 0, 0]
    await watcher.engine.close()


async def stop_confirms_every_member_also_twice(driver: Driver) -> None:
    watcher = await started(driver, driver.work())
    for grace_s in (0.2, 0.0):
        watcher.engine.obey(orders.StopGang(attempt=FIRST, members=gang(driver), grace_s=grace_s))
        await watcher.each(inputs.MemberGone, nodes_of(driver), attempt=FIRST)
        assert not any(driver.runs(FIRST, node) for node in nodes_of(driver))
    assert not watcher.all(inputs.MemberExited)  # it was ended: it did not end by itself
    await watcher.engine.close()


async def exit_codes_come_through(driver: Driver) -> None:
    watcher = await started(driver, driver.work(7))
    driver.finish(FIRST)
    await watcher.each(inputs.MemberExited, nodes_of(driver), attempt=FIRST, code=7)
    watcher.engine.obey(start(driver, driver.work(0), SECOND))
    driver.finish(SECOND)
    await watcher.each(inputs.MemberExited, nodes_of(driver), attempt=SECOND, code=0)
    for node in nodes_of(driver):  # per node in order
        kinds = [type(one) for one in watcher.heard if getattr(one, "node", "") == node]
        assert kinds.index(inputs.MemberStarted) < kinds.index(inputs.MemberExited)
    await watcher.engine.close()


async def reports_come_through(driver: Driver) -> None:
    watcher = await started(driver, driver.talk())
    assert (await watcher.next(inputs.TrainingResumed, attempt=FIRST)).step == 0
    last = await watcher.next(inputs.StepsReported, attempt=FIRST, step=5)
    assert last.loss > 0 and last.step_ns > 0
    assert sum(one.tokens for one in watcher.all(inputs.StepsReported, attempt=FIRST)) == 50
    await watcher.engine.close()


async def a_request_for_a_checkpoint_reaches_the_worker(driver: Driver) -> None:
    watcher = await started(driver, driver.talk())
    await watcher.next(inputs.StepsReported, attempt=FIRST, step=5)
    watcher.engine.obey(orders.AskCheckpoint(attempt=FIRST, members=gang(driver), request="leave-1"))
    saved = await watcher.next(inputs.CheckpointReported, attempt=FIRST, request="leave-1")
    assert (saved.step, saved.checkpoint_bytes > 0) == (5, True)
    await watcher.engine.close()


async def a_killed_node_shows_by_two_sources(driver: Driver) -> None:
    watcher = await started(driver, driver.work())
    victim = nodes_of(driver)[0]
    driver.kill_node(victim)
    sources = set()
    while len(sources) < 2:
        signal = await watcher.next(inputs.NodeSignalled, node=victim, healthy=False)
        assert signal.instance == watcher.all(inputs.NodeJoined, node=victim)[-1].instance
        sources.add(signal.source)
    watcher.engine.obey(orders.StopGang(attempt=FIRST, members=gang(driver)[1:]))
    await watcher.each(inputs.MemberGone, nodes_of(driver)[1:], attempt=FIRST)
    assert not any(driver.runs(FIRST, node) for node in nodes_of(driver))
    await watcher.engine.close()


async def repair_fences_then_rejoins(driver: Driver) -> None:
    watcher = await started(driver, driver.work())
    victim = nodes_of(driver)[2]
    old = watcher.all(inputs.NodeJoined, node=victim)[-1].instance
    # whether the node is dead or merely distrusted, twice is as good as once
    for _ in range(2):
        watcher.engine.obey(orders.RepairNode(node=victim, instance=old))
    await watcher.next(inputs.NodeFenced, node=victim, instance=old)
    assert not driver.runs(FIRST, victim)
    new = (await watcher.next(inputs.NodeJoined, node=victim)).instance
    assert new != old
    # an old order must not hurt the new incarnation
    watcher.engine.obey(orders.RepairNode(node=victim, instance=old))
    await watcher.next(inputs.NodeFenced, node=victim, instance=old)
    # nor does the attempt that died there begin again
    watcher.engine.obey(start(driver, driver.work()))
    watcher.engine.obey(start(driver, driver.work(), SECOND))
    driver.finish(FIRST)
    driver.finish(SECOND)
    await watcher.each(inputs.MemberExited, nodes_of(driver), attempt=SECOND, code=0)
    assert driver.starts(FIRST, victim) <= 1
    assert {one.instance for one in watcher.all(inputs.NodeJoined, node=victim)} == {old, new}
    await watcher.engine.close()


async def a_new_control_plane_adopts_what_runs(driver: Driver) -> None:
    before = await started(driver, driver.work())
    await before.engine.close()
    await eventually(lambda: all(driver.runs(FIRST, node) for node in nodes_of(driver)))
    after = await opened(driver)
    after.engine.obey(start(driver, driver.work()))
    await after.each(inputs.MemberStarted, nodes_of(driver), attempt=FIRST)
    instances = [{one.instance for one in watcher.all(inputs.NodeJoined)} for watcher in (before, after)]
    assert instances[0] == instances[1]
    driver.finish(FIRST)
    await after.each(inputs.MemberExited, nodes_of(driver), attempt=FIRST, code=0)
    assert [driver.starts(FIRST, node) for node in nodes_of(driver)] == [1, 1, 1]
    await after.engine.close()


async def what_happened_meanwhile_is_told(driver: Driver) -> None:
    before = await started(driver, driver.work(3))
    await eventually(lambda: all(driver.runs(FIRST, node) for node in nodes_of(driver)))
    await before.engine.close()
    driver.finish(FIRST)
    await eventually(lambda: not any(driver.runs(FIRST, node) for node in nodes_of(driver)))
    after = await opened(driver)
    exits = await after.each(inputs.MemberExited, nodes_of(driver), attempt=FIRST)
    assert {one.code for one in exits} == {3}
    await after.engine.close()


async def whoever_opens_hears_that_nodes_are_well(driver: Driver) -> None:
    await (await opened(driver)).engine.close()
    after = await opened(driver)
    for one in await after.each(inputs.NodeSignalled, nodes_of(driver), source="channel"):
        assert one.healthy
        assert one.instance == after.all(inputs.NodeJoined, node=one.node)[-1].instance
    await after.engine.close()


async def a_node_that_died_meanwhile_is_told(driver: Driver) -> None:
    before = await opened(driver)
    victim = nodes_of(driver)[0]
    old = before.all(inputs.NodeJoined, node=victim)[-1].instance
    await before.engine.close()
    driver.kill_node(victim)
    after = Watcher(driver.engine())
    await after.engine.open()

    def sources() -> set[str]:
        return {
            one.source for one in after.all(inputs.NodeSignalled, node=victim, instance=old, healthy=False)
        }

    def another() -> bool:
        return any(one.instance != old for one in after.all(inputs.NodeJoined, node=victim))

    while not (another() or len(sources()) > 1):
        await after.next(inputs.Input)
    await after.engine.close()


async def taken_over(driver: Driver, *gangs: orders.Standing) -> Watcher:
    """A new engine, told what is on record before all else, as a server does."""
    watcher = Watcher(driver.engine())
    await watcher.engine.open()
    watcher.engine.obey(orders.KeepGangs(gangs=gangs))
    return watcher


def standing(driver: Driver, placed_at: int, *, begun: bool) -> orders.Standing:
    return orders.Standing(attempt=FIRST, members=gang(driver), placed_at=placed_at, begun=begun)


def placed(driver: Driver, placed_at: int) -> orders.StartGang:
    return msgspec.structs.replace(start(driver, driver.work()), placed_at=placed_at)


async def what_is_on_record_runs_on(driver: Driver) -> None:
    before = await opened(driver)
    before.engine.obey(placed(driver, 5))
    await before.each(inputs.MemberStarted, nodes_of(driver), attempt=FIRST)
    await before.engine.close()
    after = await taken_over(driver, standing(driver, 5, begun=True))
    await after.each(inputs.MemberStarted, nodes_of(driver), attempt=FIRST)
    driver.finish(FIRST)
    await after.each(inputs.MemberExited, nodes_of(driver), attempt=FIRST, code=0)
    assert [driver.starts(FIRST, node) for node in nodes_of(driver)] == [1, 1, 1]
    await after.engine.close()


async def what_is_not_on_record_is_ended_before_anything_begins_there(driver: Driver) -> None:
    before = await started(driver, driver.work())
    await before.engine.close()
    after = await taken_over(driver)
    after.engine.obey(start(driver, driver.work(), SECOND))
    for _ in nodes_of(driver):
        begun = await after.next(inputs.MemberStarted, attempt=SECOND)
        assert not driver.runs(FIRST, begun.node)
    assert not after.all(inputs.MemberExited)
    await after.engine.close()


async def a_namesake_of_what_is_on_record_is_ended_and_the_name_is_spent(driver: Driver) -> None:
    before = await opened(driver)
    before.engine.obey(placed(driver, 5))
    await before.each(inputs.MemberStarted, nodes_of(driver), attempt=FIRST)
    await eventually(lambda: all(driver.starts(FIRST, node) for node in nodes_of(driver)))
    await before.engine.close()
    after = await taken_over(driver, standing(driver, 7, begun=False))
    after.engine.obey(placed(driver, 7))
    await after.each(inputs.MemberGone, nodes_of(driver), attempt=FIRST)
    assert not any(driver.runs(FIRST, node) for node in nodes_of(driver))
    assert [driver.starts(FIRST, node) for node in nodes_of(driver)] == [1, 1, 1]
    assert not after.all(inputs.MemberExited)
    await after.engine.close()


async def what_had_begun_and_is_nowhere_is_gone(driver: Driver) -> None:
    watcher = await opened(driver)
    await watcher.engine.close()
    after = await taken_over(driver, standing(driver, 5, begun=True))
    await after.each(inputs.MemberGone, nodes_of(driver), attempt=FIRST)
    after.engine.obey(start(driver, driver.work(), SECOND))
    await after.each(inputs.MemberStarted, nodes_of(driver), attempt=SECOND)
    await after.engine.close()


async def orders_for_unknown_nodes_are_answered(driver: Driver) -> None:
    watcher = await opened(driver)
    stranger = (Member(node=NodeId("nowhere"), chips=1),)
    watcher.engine.obey(orders.StartGang(attempt=FIRST, job=JOB, members=stranger, launch=driver.work()))
    watcher.engine.obey(orders.AskCheckpoint(attempt=FIRST, members=stranger, request="r"))
    watcher.engine.obey(orders.QualifyNode(node=NodeId("nowhere")))
    watcher.engine.obey(orders.RepairNode(node=NodeId("nowhere"), instance="x"))
    watcher.engine.obey(orders.HoldNode(node=NodeId("nowhere"), held=True, reason="fan"))
    watcher.engine.obey(orders.HoldNode(node=NodeId("nowhere"), held=False))
    await watcher.next(inputs.MemberGone, attempt=FIRST, node="nowhere")
    await watcher.next(inputs.NodeFenced, node="nowhere", instance="x")
    watcher.engine.obey(orders.StopGang(attempt=FIRST, members=stranger))
    await watcher.next(inputs.MemberGone, attempt=FIRST, node="nowhere")
    await watcher.engine.close()


async def a_frozen_node_loses_its_heartbeat_alone(driver: Driver) -> None:
    watcher = await opened(driver)
    node = nodes_of(driver)[1]
    if driver.can_pause:
        driver.pause_node(node)
        await watcher.next(inputs.NodeSignalled, node=node, source="heartbeat", healthy=False)
        driver.resume_node(node)
        await watcher.next(inputs.NodeSignalled, node=node, source="heartbeat", healthy=True)
        assert {one.source for one in watcher.all(inputs.NodeSignalled, healthy=False)} == {"heartbeat"}
    await watcher.engine.close()


CONTRACT: tuple[Callable[[Driver], Awaitable[None]], ...] = (
    every_node_joins,
    a_node_qualifies,
    starts_once_whatever_is_repeated,
    stop_before_start_fences,
    stop_confirms_every_member_also_twice,
    exit_codes_come_through,
    reports_come_through,
    a_request_for_a_checkpoint_reaches_the_worker,
    a_killed_node_shows_by_two_sources,
    repair_fences_then_rejoins,
    a_new_control_plane_adopts_what_runs,
    what_happened_meanwhile_is_told,
    whoever_opens_hears_that_nodes_are_well,
    a_node_that_died_meanwhile_is_told,
    what_is_on_record_runs_on,
    what_is_not_on_record_is_ended_before_anything_begins_there,
    a_namesake_of_what_is_on_record_is_ended_and_the_name_is_spent,
    what_had_begun_and_is_nowhere_is_gone,
    orders_for_unknown_nodes_are_answered,
    a_frozen_node_loses_its_heartbeat_alone,
)
