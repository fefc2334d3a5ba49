"""One contract, every engine."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.contract import suite
from tests.contract.local_driver import LocalDriver
from tests.contract.memory_driver import MemoryDriver
from tests.contract.slurm_driver import SlurmDriver

#: Each makes the driver of one engine's world from an empty folder.
DRIVERS: dict[str, Callable[[Path], suite.Driver]] = {"local": LocalDriver, "memory": MemoryDriver}


@pytest.fixture(params=[*DRIVERS, "slurm"])
def make_driver(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], suite.Driver]:
    if request.param == "slurm":
        cluster = request.getfixturevalue("slurm")  # skips where there is no Slurm
        return lambda: SlurmDriver(tmp_path, cluster)
    return lambda: DRIVERS[request.param](tmp_path)


@pytest.mark.parametrize("clause", suite.CONTRACT, ids=lambda clause: clause.__name__)
def test_contract(
    make_driver: Callable[[], suite.Driver], clause: Callable[[suite.Driver], Awaitable[None]]
) -> None:
    async def run() -> None:
        driver = make_driver()
        try:
            await clause(driver)
        finally:
            await driver.dispose()

    asyncio.run(run())
