"""The wheel of a leader whose lease may run out: orders wait, answers do not; who is deposed gives none."""

import asyncio

import pytest

from myriad.control.core import Core
from myriad.control.policy import Policy
from myriad.control.state import State
from myriad.kernel.errors import UserError
from myriad.kernel.ids import JobId
from myriad.protocol import orders
from myriad.protocol.inputs import ApplyTenant, NodeJoined, NodeQualified, OpenSite, SubmitJob
from myriad.server.wheel import Wheel
from myriad.store.memory import MemoryJournal
from myriad.store.postgres.seat import Deposed
from tests import build


class Lease:
    """Whether we may act, as a test wants it."""

    def __init__(self) -> None:
        self.holds = True

    def __call__(self) -> bool:
        return self.holds


async def _opened(lease: Lease, given: list[orders.Order]) -> Wheel:
    wheel = Wheel(Core(Policy(), State()), MemoryJournal(), 0, [], lease)
    wheel.start()
    site = build.site()
    await wheel.ask(OpenSite(at=0, site=site))
    await wheel.ask(ApplyTenant(at=0, tenant=build.tenant()))
    for place in site.places():
        await wheel.ask(NodeJoined(at=0, node=place.node, instance="i", chips=place.chips))
        await wheel.ask(NodeQualified(at=0, node=place.node, instance="i", ok=True))
    wheel.release(given.append)
    given.clear()
    return wheel


def _starts(given: list[orders.Order]) -> list[str]:
    return [str(order.job) for order in given if isinstance(order, orders.StartGang)]


async def _submit(wheel: Wheel, name: str) -> None:
    step = await wheel.ask(SubmitJob(at=0, job=JobId(name), spec=build.job(1, command=("x",))))
    assert step.facts, "acknowledged, whatever the lease does: it is on record"


def test_orders_wait_for_the_lease_and_keep_their_order() -> None:
    async def story() -> None:
        lease, given = Lease(), list[orders.Order]()
        wheel = await _opened(lease, given)
        await _submit(wheel, "a-1")
        assert _starts(given) == ["a-1"]
        lease.holds = False
        await _submit(wheel, "b-1")
        wheel.resume()
        assert _starts(given) == ["a-1"]
        lease.holds = True
        await _submit(wheel, "c-1")
        assert _starts(given) == ["a-1", "b-1", "c-1"], "what was held back comes first"
        await wheel.stop()

    asyncio.run(story())


def test_nobody_listens_before_the_first_orders_are_given() -> None:
    async def story() -> None:
        lease, given = Lease(), list[orders.Order]()
        wheel = await _opened(lease, given)
        lease.holds = False
        wheel.release(given.append)
        waits = asyncio.create_task(wheel.all_given())
        await asyncio.sleep(0.2)
        assert not waits.done() and not given
        lease.holds = True
        wheel.resume()
        await asyncio.wait_for(waits, 5)
        assert isinstance(given[0], orders.KeepGangs)
        await wheel.stop()

    asyncio.run(story())


def test_who_is_deposed_gives_no_order_and_refuses_everyone() -> None:
    async def story() -> None:
        lease, given = Lease(), list[orders.Order]()
        wheel = await _opened(lease, given)
        lease.holds = False
        await _submit(wheel, "a-1")
        wheel.fail(Deposed("another control plane leads", field="journal", remedy="Ask that one", status=503))
        lease.holds = True
        wheel.resume()
        assert not _starts(given), "an order of the past has no effect"
        with pytest.raises(Deposed, match="another control plane leads"):
            await _submit(wheel, "b-1")
        with pytest.raises(UserError, match="Ask that one"):
            await wheel.settled()
        with pytest.raises(Deposed):
            await wheel.failed
        wheel.fail(Deposed("again", status=503))
        await wheel.stop()

    asyncio.run(story())
