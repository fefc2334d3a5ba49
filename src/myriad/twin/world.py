"""The truth of a simulated site: nodes that boot, run gangs, die and come back, in virtual time.

A heap of (instant, sequence, event); nothing happens between events. It has its own truth: the core only
learns what an engine could observe. `engine.MemoryEngine` is its face towards a control plane, `drive`
turns the wheel for a whole simulation.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from myriad.fleet.site import Site
from myriad.kernel.ids import AttemptId, NodeId
from myriad.kernel.rng import Stream
from myriad.kernel.units import MILLISECOND, SECOND, Instant
from myriad.protocol import inputs, orders
from myriad.protocol.inputs import Input
from myriad.protocol.orders import Order

Event = Callable[[], None]


class Physics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long things take in this world, in seconds. Estimated, from what the local engine shows."""

    boot_s: float = 1.0
    qualify_s: float = 0.5
    start_s: float = 0.1
    load_s: float = 1.0
    stop_s: float = 0.05
    step_s: float = 0.3
    repair_s: float = 5.0
    #: Until each kind of evidence shows after a node died.
    channel_s: float = 0.005
    process_s: float = 0.010
    heartbeat_s: float = 3.0
    #: Every delay is multiplied by a draw from [1 - jitter, 1 + jitter].
    jitter: float = 0.2


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated gang does, read from its launch's config; other keys are a real recipe's."""

    #: Steps until it ends; 0: it runs until it is stopped or `World.finish` ends it.
    steps: int = 0
    step_s: float = 0.0
    tokens: int = 1000
    checkpoint_every_steps: int = 0
    #: Copies to peers' memory (0: none).
    memory_every_steps: int = 0
    fail_at_step: int = 0
    exit_code: int = 0
    #: After the last step it waits to be finished, instead of ending.
    lingers: bool = False

    @staticmethod
    def of(launch: orders.Launch) -> "Behaviour":
        """The behaviour a launch asks for."""
        return msgspec.convert(launch.config, Behaviour)


class _Node:
    def __init__(self) -> None:
        self.incarnation = 0
        self.alive = False
        self.paused = False
        self.slowness = 1.0
        self.running: dict[AttemptId, orders.StartGang] = {}


class _Copies(NamedTuple):
    """A checkpoint in memory: each rank's state is on its own node and on its partner's."""

    step: int
    holders: tuple[tuple[NodeId, int], ...]  # by rank: node and incarnation
    shift: int


class _Run:
    """One started attempt: what its processes share. Its launch says how it behaves (`Behaviour`)."""

    def __init__(self, order: orders.StartGang) -> None:
        self.order = order
        self.does = Behaviour.of(order.launch)
        self.started: dict[NodeId, None] = {}
        self.exits: dict[NodeId, int] = {}
        self.step = 0
        self.broken = False
        self.finished = False
        self.waiting = False
        self.request = ""
        #: Its nodes may differ in speed, and it says so at each step.
        self.uneven = False


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
        self._runs: dict[AttemptId, _Run] = {}
        #: Attempts that must never start (again) on a node.
        self._fenced: dict[tuple[AttemptId, NodeId], None] = {}
        #: Shared storage: owner -> steps of its complete checkpoints, oldest first; those that look complete
        #: and are not.
        self.stored: dict[str, list[int]] = {}
        self._spoiled: dict[tuple[str, int], None] = {}
        #: Memory of nodes: job -> its newest copies, wherever they still are.
        self._copies: dict[str, _Copies] = {}
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
                for member in order.members:
                    self._fenced[order.attempt, member.node] = None
                    self.later(self.physics.stop_s, self._stopper(order.attempt, member.node))
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
                if name in run.started:
                    self._say_member(run, name)
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
        for node in list(run.started):
            self._member_exits(attempt, node, run.does.exit_code)

    def runs(self, attempt: AttemptId, node: NodeId) -> bool:
        """Whether the attempt has processes on the node."""
        return attempt in self._nodes[node].running

    def _start(self, order: orders.StartGang) -> None:
        run = self._runs.setdefault(order.attempt, _Run(order))
        for member in order.members:
            self.later(self.physics.start_s, self._starter(run, member.node))

    def _starter(self, run: _Run, node: NodeId) -> Event:
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

    def _begin(self, run: _Run, node: NodeId) -> None:
        attempt = run.order.attempt
        run.started[node] = None
        self.starts[attempt, node] = self.starts.get((attempt, node), 0) + 1
        self._nodes[node].running[attempt] = run.order
        self._say_member(run, node)
        if run.finished:
            self._member_exits(attempt, node, run.does.exit_code)
        elif len(run.started) == len(run.order.members):
            members = run.order.members
            run.uneven = any(self._nodes[member.node].slowness != 1 for member in members)
            self.later(self.physics.load_s, lambda: self._loaded(run))

    def _say_member(self, run: _Run, node: NodeId) -> None:
        """What is so about one member: it runs, or it ended."""
        attempt = run.order.attempt
        if attempt in self._nodes[node].running:
            self._say(inputs.MemberStarted(at=self.now, attempt=attempt, node=node))
        elif node in run.exits:
            code = run.exits[node]
            self._say(inputs.MemberExited(at=self.now, attempt=attempt, node=node, code=code))

    def _loaded(self, run: _Run) -> None:
        if run.broken:
            return
        attempt = run.order.attempt
        if run.order.service:
            self._say(inputs.ReplicaReady(at=self.now, attempt=attempt, url=f"memory://{attempt}"))
        elif run.does.steps:
            run.step = max(self._on_storage(run), self._in_memory(run))
            if (run.order.job, run.step) in self._spoiled:
                self._exit(run, 1, first=self._chance.integer(0, len(run.order.members) - 1))
                return
            self._say(inputs.TrainingResumed(at=self.now, attempt=attempt, step=run.step))
            self.later(self._step_s(run), lambda: self._stepped(run))

    def _step_s(self, run: _Run) -> float:
        """All wait for the slowest."""
        alone_s = run.does.step_s or self.physics.step_s
        if not run.uneven:
            return alone_s
        return alone_s * max(self._nodes[member.node].slowness for member in run.order.members)

    def _tell_paces(self, run: _Run) -> None:
        """What each node works on a step, without its waiting."""
        alone_s = run.does.step_s or self.physics.step_s
        paces = {
            member.node: int(alone_s * SECOND * self._nodes[member.node].slowness)
            for member in run.order.members
        }
        self._say(inputs.GangPaced(at=self.now, attempt=run.order.attempt, paces=paces))

    def _stepped(self, run: _Run) -> None:
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

    def _save(self, run: _Run) -> None:
        self.stored.setdefault(run.order.job, []).append(run.step)
        self._spoiled.pop((run.order.job, run.step), None)
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

    def _copy(self, run: _Run) -> None:
        """Copy the state of every rank to its partner's memory."""
        nodes = [member.node for member in run.order.members]
        holders = tuple((node, self._nodes[node].incarnation) for node in nodes)
        self._copies[run.order.job] = _Copies(run.step, holders, len(nodes) // 2)
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

    def _in_memory(self, run: _Run) -> int:
        """The step that the gang can load from its own nodes' memory; 0: something is gone for good."""
        copies = self._copies.get(run.order.job)
        if copies is None or not run.order.launch.memory_step:
            return 0
        holds = [
            member.node == node and self._nodes[node].incarnation == incarnation
            for member, (node, incarnation) in zip(run.order.members, copies.holders, strict=False)
        ]
        whole = all(here or holds[(k + copies.shift) % len(holds)] for k, here in enumerate(holds))
        return copies.step if whole else 0

    def _ask(self, order: orders.AskCheckpoint) -> None:
        run = self._runs.get(order.attempt)
        if run is not None and not run.broken:
            run.request = order.request
            if run.waiting:
                self._save(run)

    def spoil_checkpoint(self, job: str) -> None:
        """The job's newest checkpoint on storage is whole to look at, and training fails from it."""
        self._spoiled[job, self.stored[job][-1]] = None

    def _on_storage(self, run: _Run) -> int:
        """The step that the gang can load from storage; newer ones that it may not use are set aside."""
        latest = run.order.launch.resume_step
        steps = [step for step in self.stored.get(run.order.job, ()) if not 0 <= latest < step]
        self.stored[run.order.job] = steps
        return steps[-1] if steps else 0

    def _exit(self, run: _Run, code: int, first: int = 0) -> None:
        """Every process ends by itself, that of rank `first` before the others."""
        run.broken = True
        members = run.order.members
        for member in (*members[first:], *members[:first]):
            self._member_exits(run.order.attempt, member.node, code)

    def _member_exits(self, attempt: AttemptId, node: NodeId, code: int) -> None:
        if self._nodes[node].running.pop(attempt, None) is not None:
            self._runs[attempt].exits[node] = code
            self._say_member(self._runs[attempt], node)

    def _break_runs(self, node: NodeId) -> None:
        """The node's share of each gang is gone; its peers fail when their connections close."""
        for attempt in list(self._nodes[node].running):
            run = self._runs[attempt]
            run.broken = True
            for member in run.order.members:
                if member.node != node:
                    self.later(self.physics.stop_s, self._breaker(attempt, member.node))

    def _breaker(self, attempt: AttemptId, node: NodeId) -> Event:
        return lambda: self._member_exits(attempt, node, 1)

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
