"""A small site of real processes, and programs for it that say what they see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from myriad.fleet import site
from myriad.kernel.ids import AttemptId, JobId, NodeId
from myriad.protocol import inputs, orders
from myriad.protocol.values import Member
from tests.contract import suite
from tests.contract.local_driver import LocalDriver

ATTEMPT = AttemptId("job-a.1")
N0, N1 = NodeId("n0"), NodeId("n1")
SMALL = site.parse(
    "{name: small, chip: local-cpu, chips_per_node: 2, pods: [{name: p, racks: 1, nodes_per_rack: 2}]}",
    "small",
)


class SmallDriver(LocalDriver):
    """Two nodes of two chips."""

    site = SMALL


@asynccontextmanager
async def small_site(home: Path) -> AsyncIterator[tuple[SmallDriver, suite.Watcher]]:
    """The site, open and joined; nothing of it is left afterwards."""
    driver = SmallDriver(home)
    try:
        watcher = await suite.opened(driver)
        yield driver, watcher
        await watcher.engine.close()
    finally:
        await driver.dispose()


def start(launch: orders.Launch, *, nodes: tuple[NodeId, ...] = (N0,), chips: int = 1) -> orders.StartGang:
    """The first attempt of a job."""
    members = tuple(Member(node=node, chips=chips) for node in nodes)
    return orders.StartGang(attempt=ATTEMPT, job=JobId("job-a"), members=members, launch=launch)


def stop(*nodes: NodeId, grace_s: float = 0.0) -> orders.StopGang:
    """The end of it."""
    members = tuple(Member(node=node, chips=1) for node in nodes or (N0,))
    return orders.StopGang(attempt=ATTEMPT, members=members, grace_s=grace_s)


def python(code: str, **fields: Any) -> orders.Launch:
    """A program of a line or two."""
    return orders.Launch(command=("python", "-S", "-c", code), **fields)


async def exit_of(watcher: suite.Watcher, order: orders.StartGang) -> inputs.MemberExited:
    """Start it and see how its first member ends."""
    watcher.engine.obey(order)
    found: inputs.MemberExited = await watcher.next(inputs.MemberExited, node=order.members[0].node)
    return found


async def file_with_text(path: Path) -> str:
    """What a program writes, as soon as it has."""
    async with asyncio.timeout(suite.PATIENCE_S):
        while not (path.exists() and path.read_text().endswith("\n")):
            await asyncio.sleep(0.01)
    return path.read_text()
