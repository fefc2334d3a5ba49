"""What another scheduler of the cluster is told: who is kept out of service, and whose the gangs are."""

from collections.abc import Sequence

from myriad.control.apply import fold
from myriad.control.core import Core
from myriad.kernel.ids import NodeId, TenantId
from myriad.kernel.units import SECOND
from myriad.protocol import inputs
from myriad.protocol.orders import HoldNode, Order, StartGang
from myriad.protocol.wire import decode
from myriad.workload.windows import Window
from tests import build
from tests.control.world import Rig

N1, N4 = NodeId("n1"), NodeId("n4")


class Told(Rig):
    """Keeps every order."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        super().__init__()
        self.orders.clear()

    def pass_on(self, orders: Sequence[Order]) -> None:
        self.orders += orders
        super().pass_on(orders)

    def holds(self, node: NodeId) -> list[tuple[bool, str]]:
        """What was said of a node."""
        return [(o.held, o.reason) for o in self.orders if isinstance(o, HoldNode) and o.node == node]

    def after_a_restart(self) -> dict[NodeId, HoldNode]:
        """What a control plane says that has just folded the journal."""
        core = Core(state=fold(decode(body) for body in self.journal), check=True)
        return {order.node: order for order in core.outstanding() if isinstance(order, HoldNode)}

    def ask(self, kind: type[inputs.DrainNode | inputs.UndrainNode], node: NodeId, **more: str) -> None:
        self.give(kind(at=self.world.now, node=node, **more))


def test_a_drain_is_told_once_and_again_after_a_restart() -> None:
    rig = Told()
    rig.submit(nodes=5, config={"steps": 500})
    rig.pass_s(5)
    for _ in range(2):
        rig.ask(inputs.DrainNode, N1, by="ann", reason="fan")
        rig.pass_s(30)
    assert rig.holds(N1) == [(True, "fan")] and not rig.holds(N4)
    said = rig.after_a_restart()
    assert len(said) == 6 and said[N1] == HoldNode(node=N1, held=True, reason="fan")
    assert not any(order.held for node, order in said.items() if node != N1)


def test_giving_a_node_back_is_told_too() -> None:
    rig = Told()
    for _ in range(2):
        rig.ask(inputs.DrainNode, N1, by="ann")
        rig.pass_s(1)
        rig.ask(inputs.UndrainNode, N1)
        rig.pass_s(10)
        rig.ask(inputs.UndrainNode, N1)
    assert rig.holds(N1) == [(True, "drained by ann"), (False, "")] * 2
    assert rig.after_a_restart()[N1] == HoldNode(node=N1, held=False)


def test_a_maintenance_window_holds_its_nodes_while_it_lasts() -> None:
    rig = Told()
    now = rig.world.now
    window = Window(
        name="fans", nodes=(N1, N4), start_at=now + 10 * SECOND, end_at=now + 60 * SECOND, kind="maintenance"
    )
    rig.give(inputs.SetWindow(at=now, window=window))
    assert not rig.holds(N1)
    rig.pass_s(20)
    assert rig.holds(N1) == rig.holds(N4) == [(True, "maintenance fans")]
    assert {node for node, order in rig.after_a_restart().items() if order.held} == {N1, N4}
    rig.pass_s(60)
    assert rig.holds(N1) == rig.holds(N4) == [(True, "maintenance fans"), (False, "")]


def test_a_lemon_is_held_until_an_operator_gives_it_back() -> None:
    rig = Told()
    for _ in range(3):
        rig.world.kill_node(N4)
        rig.pass_s(20)
    ((held, why),) = rig.holds(N4)
    assert held and why.startswith("lemon: lost 3 times")
    assert rig.after_a_restart()[N4] == HoldNode(node=N4, held=True, reason=why)
    rig.ask(inputs.UndrainNode, N4)
    assert rig.holds(N4)[1:] == [(False, "")]


def test_nothing_is_said_of_a_node_that_left_the_site() -> None:
    rig = Told()
    rig.give(inputs.OpenSite(at=rig.world.now, site=build.site(racks=2, nodes_per_rack=2)))
    assert set(rig.after_a_restart()) == {NodeId(f"n{k}") for k in range(4)}


def test_a_gang_is_started_for_its_tenant() -> None:
    rig = Told()
    rig.give(inputs.ApplyTenant(at=rig.world.now, tenant=build.tenant("other")))
    rig.submit(nodes=2)
    rig.serve(tenant="other")
    started = [order for order in rig.orders if isinstance(order, StartGang)]
    assert {order.job or order.service: order.tenant for order in started} == {
        "train-1": TenantId("acme"),
        "chat": TenantId("other"),
    }
