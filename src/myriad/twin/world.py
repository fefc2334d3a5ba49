"""The truth of a simulated site: nodes that boot, run gangs, die and come back, in virtual time.

It has its own truth: the core only learns what an engine could observe. `engine.MemoryEngine` is its face
towards a control plane, `drive` turns the wheel for a whole simulation.
"""

from collections.abc import Sequence

from myriad.fleet.site import Site
from myriad.kernel.ids import AttemptId, JobId, NodeId
from myriad.kernel.rng import Stream
from myriad.kernel.units import SECOND, Instant
from myriad.protocol import facts, inputs, orders
from myriad.protocol.facts import Fact
from myriad.protocol.inputs import Input
from myriad.protocol.orders import Order
from myriad.twin.nodes import Nodes
from myriad.twin.physics import Physics
from myriad.twin.running import Running
from myriad.twin.timeline import Event, Timeline
from myriad.twin.workload.work import Work


class World(Timeline):
    """All that really happens. Deterministic: the same seed and the same calls give the same events."""

    def __init__(self, site: Site, seed: int = 0, physics: Physics | None = None) -> None:
        super().__init__()
        self.site = site
        self.physics = physics or Physics()
        self._chance = Stream(seed, "world")
        self._said: list[Input] = []
        self._wakes: dict[str, Instant] = {}
        self.nodes = Nodes(site, self, self.physics, self.say, self.later)
        self.running = Running(
            self, self.physics, self.nodes, self.say, self.later, self._chance.split("running")
        )

    # ---- time ------------------------------------------------------------------------------------

    def later(self, delay_s: float, event: Event) -> None:
        """Let the event happen after a delay with this world's jitter."""
        spread = self.physics.jitter
        if spread:
            delay_s *= self._chance.uniform(1 - spread, 1 + spread)
        self.at(self.now + int(delay_s * SECOND), event)

    def advance(self) -> Sequence[Input]:
        """Let the next event happen; return what an engine would have seen of it."""
        self.happen()
        return self.hear()

    def hear(self) -> Sequence[Input]:
        """What was observed since the last call."""
        said, self._said = self._said, []
        return said

    def say(self, said: Input) -> None:
        """Something was observed."""
        self._said.append(said)

    def wake(self, about: str, instant: Instant) -> None:
        """WakeAt: a later one for the same subject replaces the earlier."""
        self._wakes[about] = instant

        def ring() -> None:
            if self._wakes.get(about) == instant:
                del self._wakes[about]
                self.say(inputs.Woke(at=self.now, about=about))

        self.at(instant, ring)

    def drop_wakes(self) -> None:
        """The control plane that asked for them is gone, and its timers with it."""
        self._wakes.clear()

    # ---- orders ----------------------------------------------------------------------------------

    def obey(self, order: Order) -> None:
        """Begin to carry out an order."""
        match order:
            case orders.KeepGangs():
                self.running.keep(order)
            case orders.StartGang():
                self.running.start(order)
            case orders.WakeAt():
                self.wake(order.about, order.wake_at)
            case orders.StopGang():
                self.running.stop(order)
            case orders.AskCheckpoint():
                self.later(self.physics.start_s, lambda: self.running.ask(order))
            case orders.QualifyNode():
                self.nodes.qualify(order.node)
            case orders.RepairNode():
                node, instance = order.node, order.instance
                self.later(self.physics.stop_s, lambda: self.nodes.repair(node, instance, self.running.cut))
            case orders.HoldNode():
                pass  # a world has no scheduler beside the brain
            case _:
                raise AssertionError(f"unknown order {order}")

    def light_up(self) -> None:
        """All nodes are up, before anybody looks: a site that was in service already."""
        for name in self.nodes:
            self.nodes.boot(name)
        self.hear()

    def census(self) -> None:
        """Say everything that is so now, before what was not heard yet: what an opened engine reports."""
        unheard = self.hear()
        for name in self.nodes:
            if not self.nodes[name].alive:
                self._boot(name)
                continue
            self.say(self.nodes.joined(name))
            self._said += self.nodes.seen(name)
            for run in self.running.runs.values():
                if name in run.started and not self.physics.whole_gangs:
                    self.running.say_member(run, name)
        if self.physics.whole_gangs:
            for run in self.running.runs.values():
                self.running.say_whole(run)
        self._said += unheard

    def _boot(self, node: NodeId) -> None:
        if not self.nodes[node].repairing:
            self.later(self.physics.boot_s, lambda: self.nodes.boot(node))

    # ---- what happens to it ----------------------------------------------------------------------

    def expect(self, work: Work) -> None:
        """A job will be started whose truth is this."""
        self.running.works[work.job] = work

    def kill_node(self, node: NodeId, after_s: float | None = None) -> None:
        """The whole node dies at once, with all that runs on it; it shows `after_s`."""
        self.nodes.kill(node, self.running.cut, after_s)

    def pause_node(self, node: NodeId) -> None:
        """The node freezes: only its heartbeat tells."""
        self.nodes.pause(node)

    def resume_node(self, node: NodeId) -> None:
        """The node thaws."""
        self.nodes.resume(node)

    def slow_node(self, node: NodeId, factor: float) -> None:
        """The node takes `factor` times as long for a step from now on; 1: it is well again."""
        self.nodes.slow(node, factor)
        for run in list(self.nodes[node].running.values()):
            self.running.training.repace(run)

    def spoil_checkpoint(self, job: str) -> None:
        """The job's newest checkpoint on storage is whole to look at, and training fails from it."""
        self.running.training.checkpoints.spoil(job)

    def finish(self, attempt: AttemptId) -> None:
        """Let the attempt's processes end with the exit code of their behaviour."""
        self.running.finish(attempt)

    # ---- what is so ------------------------------------------------------------------------------

    @property
    def starts(self) -> dict[tuple[AttemptId, NodeId], int]:
        """How often the processes of (attempt, node) were started: more than once is a broken law."""
        return self.running.starts

    def runs(self, attempt: AttemptId, node: NodeId) -> bool:
        """Whether the attempt has processes on the node."""
        return self.running.runs_on(attempt, node)

    def clear(self, happened: Sequence[Fact]) -> None:
        """What is over for the control plane need not be remembered."""
        for fact in happened:
            if isinstance(fact, facts.GangStopped):
                self.release(fact.attempt)
            elif isinstance(fact, facts.JobEnded):
                self.forget(fact.job)

    def release(self, attempt: AttemptId) -> None:
        """The attempt is over for its control plane, which will not ask again."""
        self._wakes.pop(f"gang:{attempt}", None)
        self.running.release(attempt)

    def forget(self, job: JobId) -> None:
        """The job is over: it never comes back."""
        self.running.forget(job)
