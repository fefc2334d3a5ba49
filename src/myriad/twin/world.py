"""The truth of a simulated site: nodes that boot, run gangs, die and come back, in virtual time.

A heap of (instant, sequence, event); nothing happens between events. It has its own truth: the core only
learns what an engine could observe. `engine.MemoryEngine` is its face towards a control plane, `drive`
turns the wheel for a whole simulation.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Any

from myriad.fleet.site import Site
from myriad.kernel.ids import AttemptId, NodeId
from myriad.kernel.rng import Stream
from myriad.kernel.units import MILLISECOND, SECOND, Instant
from myriad.protocol import inputs, orders
from myriad.protocol.inputs import Input
from myriad.protocol.orders import Order
from myriad.twin.gangs import Checkpoints, Copies, Run
from myriad.twin.physics import Physics

Event = Callable[[], None]


class _Node:
    def __init__(self) -> None:
        self.incarnation = 0
        self.alive = False
        self.paused = False
        self.slowness = 1.0
        self.running: dict[AttemptId, orders.StartGang] = {}


class World:
    """All that really happens. Deterministic: the same seed and the same calls give the same events."""

    def __init__(self, site: Site, seed: int = 0, physics: Physics | None = None) -> None:
        self.site = site
        self.physics = physics or Physics()
        self.now: Instant = 0
        self._chance = Stream(seed, "world")
        self._heap: list[tuple[Instant, int, Event]] = []
        self._sequence = 0
        self._said: list[Input] = []
        self._nodes = {place.node: _Node() for place in site.places()}
        self._chips = {place.node: place.chips for place in site.places()}
        self._runs: dict[AttemptId, Run] = {}
        #: Attempts that must never start (again) on a node.
        self._fenced: dict[tuple[AttemptId, NodeId], None] = {}
        self._checkpoints = Checkpoints()
        #: Job -> nodes of its first gang.
        self._sizes: dict[str, int] = {}
        #: How often the processes of (attempt, node) were started: more than once is a broken law.
        self.starts: dict[tuple[AttemptId, NodeId], int] = {}
        self._wakes: dict[str, Instant] = {}

    # ---- time ------------------------------------------------------------------------------------

    def later(self, delay_s: float, event: Event) -> None:
        """Let the event happen after a delay with this world's jitter."""
        spread = self.physics.jitter
        delay_ns = int(delay_s * SECOND * self._chance.uniform(1 - spread, 1 + spread))
        self.at(self.now + delay_ns, event)

    def at(self, instant: Instant, event: Event) -> None:
        """Let the event happen at an instant; ties happen in the order they were asked for."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(instant, self.now), self._sequence, event))

    def pending(self) -> bool:
        """Whether anything will still happen."""
        return bool(self._heap)

    def advance(self) -> Sequence[Input]:
        """Let the next event happen; return what an engine would have seen of it."""
        instant, _, event = heapq.heappop(self._heap)
        self.now = instant
        event()
        return self.hear()

    def hear(self) -> Sequence[Input]:
        """What was observed since the last call."""
        said, self._said = self._said, []
        return said

    def wake(self, about: str, instant: Instant) -> None:
        """WakeAt: a later one for the same subject replaces the earlier."""
        self._wakes[about] = instant

        def ring() -> None:
            if self._wakes.get(about) == instant:
                del self._wakes[about]
                self._say(inputs.Woke(at=self.now, about=about))

        self.at(instant, ring)

    def _say(self, said: Input) -> None:
        self._said.append(said)

    # ---- orders ----------------------------------------------------------------------------------

    def obey(self, order: Order) -> None:
        """Begin to carry out an order."""
        match order:
            case orders.StartGang():
                self._start(order)
            case orders.StopGang():
                self._stop(order)
            case orders.AskCheckpoint():
                self.later(self.physics.start_s, lambda: self._ask(order))
            case orders.QualifyNode():
                self.later(self.physics.qualify_s, lambda: self._qualified(order.node))
            case orders.RepairNode():
                self.later(self.physics.stop_s, lambda: self._repair(order.node, order.instance))
            case orders.WakeAt():
                self.wake(order.about, order.wake_at)
            case _:
                raise AssertionError(f"unknown order {order}")

    def census(self) -> None:
        """Say everything that is so now, before what was not heard yet: what an opened engine reports."""
        unheard = self.hear()
        for name, node in self._nodes.items():
            if not node.alive:
                self.later(self.physics.boot_s, self._booter(name))
                continue
            self._say(self._joined(name))
            for run in self._runs.values():
                if name in run.started and not self.physics.whole_gangs:
                    self._say_member(run, name)
        if self.physics.whole_gangs:
            for run in self._runs.values():
                self._say_whole(run)
        self._said += unheard

    # ---- nodes -----------------------------------------------------------------------------------

    def kill_node(self, node: NodeId) -> None:
        """The whole node dies at once, with all that runs on it."""
        record = self._nodes[node]
        if not record.alive:
            return
        record.alive = False
        instance = self._instance(node)
        self._break_runs(node)
        record.running.clear()
        for source, delay_s in (("channel", self.physics.channel_s), ("process", self.physics.process_s)):
            self.later(delay_s, self._signaller(node, instance, source, healthy=False))

    def pause_node(self, node: NodeId) -> None:
        """The node freezes: only its heartbeat tells."""
        record = self._nodes[node]
        record.paused = True
        signal = self._signaller(node, self._instance(node), "heartbeat", healthy=False)
        self.later(self.physics.heartbeat_s, lambda: signal() if record.paused else None)

    def resume_node(self, node: NodeId) -> None:
        """The node thaws."""
        if self._nodes[node].paused and self._nodes[node].alive:
            self._nodes[node].paused = False
            self._say(self._signal(node, self._instance(node), "heartbeat", healthy=True))

    def slow_node(self, node: NodeId, factor: float) -> None:
        """The node takes `factor` times as long for a step from now on; 1: it is well again."""
        self._nodes[node].slowness = factor
        for attempt in self._nodes[node].running:
            self._runs[attempt].uneven = True

    def _instance(self, node: NodeId) -> str:
        return f"{node}/{self._nodes[node].incarnation}"

    def _joined(self, node: NodeId) -> Input:
        return inputs.NodeJoined(
            at=self.now, node=node, instance=self._instance(node), chips=self._chips[node]
        )

    def _signal(self, node: NodeId, instance: str, source: Any, *, healthy: bool) -> Input:
        return inputs.NodeSignalled(at=self.now, node=node, instance=instance, source=source, healthy=healthy)

    def _signaller(self, node: NodeId, instance: str, source: str, *, healthy: bool) -> Event:
        return lambda: self._say(self._signal(node, instance, source, healthy=healthy))

    def _booter(self, node: NodeId) -> Event:
        def boot() -> None:
            record = self._nodes[node]
            if not record.alive:
                record.alive, record.paused = True, False
                record.incarnation += 1
                self._say(self._joined(node))

        return boot

    def _qualified(self, node: NodeId) -> None:
        record = self._nodes.get(node)
        if record is not None and record.alive and not record.paused:
            self._say(
                inputs.NodeQualified(
                    at=self.now, node=node, instance=self._instance(node), ok=True, gemm_flops=1e12
                )
            )

    def _repair(self, node: NodeId, instance: str) -> None:
        """Fence the incarnation, then bring up another one."""
        record = self._nodes.get(node)
        stale = record is not None and instance and instance != self._instance(node)
        if record is not None and not stale:
            record.alive = False
            self._break_runs(node)
            record.running.clear()
            self.later(self.physics.repair_s, self._booter(node))
        # a newer incarnation is left alone: the one that was meant is dead all the same
        self._say(inputs.NodeFenced(at=self.now, node=node, instance=instance))

    # ---- gangs -----------------------------------------------------------------------------------

    def finish(self, attempt: AttemptId) -> None:
        """Let the attempt's processes end with the exit code of their behaviour."""
        run = self._runs[attempt]
        run.finished = True
        self._exits(run, list(run.started), run.does.exit_code)

    def runs(self, attempt: AttemptId, node: NodeId) -> bool:
        """Whether the attempt has processes on the node."""
        return attempt in self._nodes[node].running

    def _start(self, order: orders.StartGang) -> None:
        run = self._runs.get(order.attempt)
        if run is None:
            nodes = len(order.members)
            scale = self._sizes.setdefault(order.job, nodes) / nodes
            run = self._runs[order.attempt] = Run(order, scale)
        if self.physics.whole_gangs:
            self.later(self.physics.start_s, lambda: self._start_whole(run))
            return
        for member in order.members:
            self.later(self.physics.start_s, self._starter(run, member.node))

    def _start_whole(self, run: Run) -> None:
        """Start what can be; the gang is told to have started once all of it has."""
        attempt, nodes = run.order.attempt, run.nodes
        if any((attempt, node) in self._fenced for node in nodes):
            self._say(inputs.GangGone(at=self.now, attempt=attempt))
            return
        before = len(run.started)
        for node in nodes:
            if node not in run.started and node in self._nodes and self._nodes[node].alive:
                self._begin(run, node)
        if before == len(nodes):
            self._say_whole(run)  # the order was repeated: say again what is so
        elif len(run.started) == len(nodes):
            self._say(inputs.GangStarted(at=self.now, attempt=attempt))
            if run.finished:
                self._exits(run, nodes, run.does.exit_code)
            else:
                self._all_began(run)

    def _starter(self, run: Run, node: NodeId) -> Event:
        attempt = run.order.attempt

        def start() -> None:
            record = self._nodes.get(node)
            if record is None or (attempt, node) in self._fenced:
                self._say(inputs.MemberGone(at=self.now, attempt=attempt, node=node))
            elif node in run.started:
                self._say_member(run, node)  # the order was repeated: say again what is so
            elif record.alive:
                self._begin(run, node)

        return start

    def _begin(self, run: Run, node: NodeId) -> None:
        attempt = run.order.attempt
        run.started[node] = self._nodes[node].incarnation
        self.starts[attempt, node] = self.starts.get((attempt, node), 0) + 1
        self._nodes[node].running[attempt] = run.order
        if self.physics.whole_gangs:
            return
        self._say_member(run, node)
        if run.finished:
            self._member_exits(attempt, node, run.does.exit_code)
        elif len(run.started) == len(run.order.members):
            self._all_began(run)

    def _all_began(self, run: Run) -> None:
        run.uneven = any(self._nodes[node].slowness != 1 for node in run.nodes)
        self.later(self.physics.load_s, lambda: self._loaded(run))

    def _say_whole(self, run: Run) -> None:
        """What is so about the gang: it runs, or it ended."""
        attempt = run.order.attempt
        if all(self.runs(attempt, node) for node in run.nodes):
            self._say(inputs.GangStarted(at=self.now, attempt=attempt))
        elif run.exits:
            code = max(run.exits.values(), key=abs)
            self._say(inputs.GangExited(at=self.now, attempt=attempt, code=code, root=next(iter(run.exits))))

    def _say_member(self, run: Run, node: NodeId) -> None:
        """What is so about one member: it runs, or it ended."""
        attempt = run.order.attempt
        if attempt in self._nodes[node].running:
            self._say(inputs.MemberStarted(at=self.now, attempt=attempt, node=node))
        elif node in run.exits:
            code = run.exits[node]
            self._say(inputs.MemberExited(at=self.now, attempt=attempt, node=node, code=code))

    def _loaded(self, run: Run) -> None:
        if run.broken:
            return
        attempt = run.order.attempt
        if run.order.service:
            self._say(inputs.ReplicaReady(at=self.now, attempt=attempt, url=f"memory://{attempt}"))
        elif run.does.steps:
            run.step = self._found(run)
            if self._checkpoints.is_spoiled(run.order.job, run.step):
                self._exit(run, 1, first=self._chance.integer(0, len(run.order.members) - 1))
                return
            self._say(inputs.TrainingResumed(at=self.now, attempt=attempt, step=run.step))
            self.later(self._step_s(run), lambda: self._stepped(run))

    def _step_s(self, run: Run) -> float:
        """All wait for the slowest."""
        alone_s = self._alone_s(run)
        return alone_s * max(self._nodes[node].slowness for node in run.nodes) if run.uneven else alone_s

    def _alone_s(self, run: Run) -> float:
        """What a healthy node works on a step: its part of the job's batch."""
        return (run.does.step_s or self.physics.step_s) * run.scale

    def _tell_paces(self, run: Run) -> None:
        """What each node works on a step, without its waiting."""
        alone_ns = self._alone_s(run) * SECOND
        paces = {node: int(alone_ns * self._nodes[node].slowness) for node in run.nodes}
        self._say(inputs.GangPaced(at=self.now, attempt=run.order.attempt, paces=paces))

    def _stepped(self, run: Run) -> None:
        """One optimizer step of the whole gang."""
        if run.broken:
            return
        does = run.does
        run.step += 1
        self._say(
            inputs.StepsReported(
                at=self.now,
                attempt=run.order.attempt,
                step=run.step,
                tokens=does.tokens,
                loss=8.0 / (1 + run.step) ** 0.1,
                step_ns=int(self._step_s(run) * SECOND),
            )
        )
        if run.uneven:
            self._tell_paces(run)
        if run.request or (does.checkpoint_every_steps and run.step % does.checkpoint_every_steps == 0):
            self._save(run)
        if does.memory_every_steps and run.step % does.memory_every_steps == 0:
            self._copy(run)
        if run.step == does.fail_at_step:
            self._exit(run, does.exit_code or 1)
        elif run.step < does.steps:
            self.later(self._step_s(run), lambda: self._stepped(run))
        elif does.lingers:
            run.waiting = True
        else:
            self._exit(run, does.exit_code)

    def _save(self, run: Run) -> None:
        self._checkpoints.store(run.order.job, run.step)
        request, run.request = run.request, ""
        self._say(
            inputs.CheckpointReported(
                at=self.now,
                attempt=run.order.attempt,
                step=run.step,
                path=f"memory://{run.order.job}/{run.step}",
                checkpoint_bytes=1000,
                stall_ns=20 * MILLISECOND,
                request=request,
            )
        )

    def _copy(self, run: Run) -> None:
        """Copy the state of every rank to its partner's memory."""
        holders = tuple(self._incarnations(run))
        self._checkpoints.copy(run.order.job, Copies(run.step, holders, len(holders) // 2))
        self._say(
            inputs.CheckpointReported(
                at=self.now,
                attempt=run.order.attempt,
                step=run.step,
                path="",
                stall_ns=MILLISECOND,
                tier="memory",
            )
        )

    def _incarnations(self, run: Run) -> list[tuple[NodeId, int]]:
        return [(node, self._nodes[node].incarnation) for node in run.nodes]

    def _found(self, run: Run) -> int:
        """The step that the gang can load, from storage or from its own nodes' memory."""
        launch, job = run.order.launch, run.order.job
        stored = self._checkpoints.on_storage(job, launch.resume_step)
        if not launch.memory_step:
            return stored
        return max(stored, self._checkpoints.in_memory(job, self._incarnations(run)))

    def _ask(self, order: orders.AskCheckpoint) -> None:
        run = self._runs.get(order.attempt)
        if run is not None and not run.broken:
            run.request = order.request
            if run.waiting:
                self._save(run)

    def spoil_checkpoint(self, job: str) -> None:
        """The job's newest checkpoint on storage is whole to look at, and training fails from it."""
        self._checkpoints.spoil(job)

    def _exit(self, run: Run, code: int, first: int = 0) -> None:
        """Every process ends by itself, that of rank `first` before the others."""
        run.broken = True
        nodes = run.nodes
        self._exits(run, [*nodes[first:], *nodes[:first]], code)

    def _exits(self, run: Run, nodes: Sequence[NodeId], code: int) -> None:
        """Processes on these nodes end by themselves, in this order."""
        attempt = run.order.attempt
        if not self.physics.whole_gangs:
            for node in nodes:
                self._member_exits(attempt, node, code)
            return
        ended = [node for node in nodes if self._nodes[node].running.pop(attempt, None) is not None]
        run.exits |= dict.fromkeys(ended, code)
        if ended:
            self._say_whole(run)

    def _member_exits(self, attempt: AttemptId, node: NodeId, code: int) -> None:
        if self._nodes[node].running.pop(attempt, None) is not None:
            self._runs[attempt].exits[node] = code
            self._say_member(self._runs[attempt], node)

    def _break_runs(self, node: NodeId) -> None:
        """The node's share of each gang is gone; its peers fail when their connections close."""
        for attempt in list(self._nodes[node].running):
            run = self._runs[attempt]
            run.broken = True
            peers = [other for other in run.nodes if other != node]
            if self.physics.whole_gangs:
                self.later(self.physics.stop_s, self._breaker(attempt, peers))
                continue
            for other in peers:
                self.later(self.physics.stop_s, self._breaker(attempt, [other]))

    def _breaker(self, attempt: AttemptId, nodes: Sequence[NodeId]) -> Event:
        return lambda: self._exits(self._runs[attempt], nodes, 1)

    def _stop(self, order: orders.StopGang) -> None:
        run = self._runs.get(order.attempt)
        for member in order.members:
            self._fenced[order.attempt, member.node] = None
        if order.forget and run is not None:
            self._checkpoints.forget(run.order.job)
        if self.physics.whole_gangs and run is not None:
            self.later(self.physics.stop_s, lambda: self._stop_whole(run, order))
            return
        for member in order.members:
            self.later(self.physics.stop_s, self._stopper(order.attempt, member.node))

    def _stop_whole(self, run: Run, order: orders.StopGang) -> None:
        """One word for the gang if nothing of it is left anywhere; else one for each node that answers."""
        attempt, run.broken = order.attempt, True
        answered = []
        for member in order.members:
            record = self._nodes.get(member.node)
            if record is None or (record.alive and not record.paused):
                answered.append(member.node)
                if record is not None:
                    record.running.pop(attempt, None)
        if not any(self.runs(attempt, node) for node in run.nodes if node in self._nodes):
            self._say(inputs.GangGone(at=self.now, attempt=attempt))
            return
        for node in answered:
            self._say(inputs.MemberGone(at=self.now, attempt=attempt, node=node))

    def _stopper(self, attempt: AttemptId, node: NodeId) -> Event:
        def stop() -> None:
            record = self._nodes.get(node)
            if record is not None:
                if not record.alive or record.paused:
                    return
                record.running.pop(attempt, None)
            if attempt in self._runs:
                self._runs[attempt].broken = True
            self._say(inputs.MemberGone(at=self.now, attempt=attempt, node=node))

        return stop
