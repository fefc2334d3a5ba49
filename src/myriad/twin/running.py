"""Gangs of the simulated world: they start, break, end and stop as their orders and nodes say.

What they do in between is `training`.
"""

from collections.abc import Callable, Sequence

import msgspec

from myriad.kernel.ids import AttemptId, JobId, NodeId
from myriad.kernel.rng import Stream
from myriad.kernel.units import Instant
from myriad.protocol import inputs, orders
from myriad.protocol.inputs import Input
from myriad.twin.gangs import Behaviour, Ending, Run
from myriad.twin.nodes import Nodes
from myriad.twin.physics import Physics
from myriad.twin.storage import Storage
from myriad.twin.timeline import Event, Timeline
from myriad.twin.training import Training
from myriad.twin.workload.work import Work


class Running:
    """Everything that runs, and the checkpoints it leaves."""

    def __init__(
        self,
        timeline: Timeline,
        physics: Physics,
        nodes: Nodes,
        say: Callable[[Input], None],
        later: Callable[[float, Event], None],
        chance: Stream,
    ) -> None:
        self._timeline, self._physics, self._nodes = timeline, physics, nodes
        self._say, self._later = say, later
        self.training = Training(timeline, physics, nodes, say, self.exit, chance)
        self._storage = Storage(timeline, physics.storage, physics.node_storage)
        self.runs: dict[AttemptId, Run] = {}
        #: Jobs whose truth is known; job -> nodes of its first gang, and of its last.
        self.works: dict[str, Work] = {}
        self._first: dict[str, int] = {}
        self._last: dict[str, list[NodeId]] = {}
        #: Attempts that must never start (again) on a node.
        self._fenced: dict[AttemptId, dict[NodeId, None]] = {}
        #: How often the processes of (attempt, node) were started: more than once is a broken law.
        self.starts: dict[tuple[AttemptId, NodeId], int] = {}
        #: Told of processes that start, before they run: for whoever checks.
        self.on_start: Callable[[Run, NodeId], None] | None = None

    @property
    def _now(self) -> Instant:
        return self._timeline.now

    # ---- after a restart -------------------------------------------------------------------------

    def keep(self, order: orders.KeepGangs) -> None:
        """End what is not on record; what had begun and is not here is gone."""
        kept = {one.attempt: one for one in order.gangs}
        for attempt, run in list(self.runs.items()):
            known = kept.get(attempt)
            if known is None or known.placed_at != run.order.placed_at:
                self.stop(orders.StopGang(attempt=attempt, members=run.order.members))
        for one in order.gangs:
            for member in one.members if one.begun and one.attempt not in self.runs else ():
                self._say(inputs.MemberGone(at=self._now, attempt=one.attempt, node=member.node))

    # ---- starting --------------------------------------------------------------------------------

    def start(self, order: orders.StartGang) -> None:
        """Begin to start a gang, or say again what is so."""
        run = self.runs.get(order.attempt)
        if run is None:
            run = self.runs[order.attempt] = self._made(order)
        starts_s = self._physics.starts_s(run.chips, self._known(order.job, run.nodes))
        if self._physics.whole_gangs:
            self._later(starts_s, lambda: self._start_whole(run))
            return
        for member in order.members:
            self._later(starts_s, self._starter(run, member.node))

    def _made(self, order: orders.StartGang) -> Run:
        work, nodes = self.works.get(order.job), len(order.members)
        if work is not None:
            does = Behaviour.true(work)
        elif order.service:
            does = Behaviour()
        else:
            does = Behaviour.of(order.launch)
            if not does.step_s:
                does = msgspec.structs.replace(does, step_s=self._physics.step_s)
        meant = does.nodes or (self._first.setdefault(order.job, nodes) if order.job else nodes)
        return Run(order, does, meant / nodes)

    def _known(self, job: str, nodes: Sequence[NodeId]) -> float:
        """Share of the nodes that the job's last gang had."""
        if not job:
            return 0.0
        before, self._last[job] = self._last.get(job), list(nodes)
        if not before:
            return 0.0
        held = dict.fromkeys(before)
        return sum(node in held for node in nodes) / len(nodes)

    def _start_whole(self, run: Run) -> None:
        """Start what can be; the gang is told to have started once all of it has."""
        attempt, nodes = run.order.attempt, run.nodes
        if self.runs.get(attempt) is not run:
            return  # it was over before it began, and is forgotten
        if attempt in self._fenced:
            self._say(inputs.GangGone(at=self._now, attempt=attempt))
            return
        before = len(run.started)
        for node in nodes:
            if node not in run.started and self._nodes.is_up(node):
                self._begin(run, node)
        if before == len(nodes):
            self.say_whole(run)  # the order was repeated: say again what is so
        elif len(run.started) == len(nodes):
            self._say(inputs.GangStarted(at=self._now, attempt=attempt))
            if run.finished:
                self._exits(run, nodes, Ending(run.does.exit_code))
            else:
                self._load(run)

    def _starter(self, run: Run, node: NodeId) -> Event:
        attempt = run.order.attempt

        def start() -> None:
            if self.runs.get(attempt) is not run:
                return  # it was over before it began, and is forgotten
            if not self._nodes.exists(node) or node in self._fenced.get(attempt, ()):
                self._say(inputs.MemberGone(at=self._now, attempt=attempt, node=node))
            elif node in run.started:
                self.say_member(run, node)  # the order was repeated: say again what is so
            elif self._nodes.is_up(node):
                self._begin(run, node)

        return start

    def _begin(self, run: Run, node: NodeId) -> None:
        attempt, record = run.order.attempt, self._nodes[node]
        if self.on_start is not None:
            self.on_start(run, node)
        run.started[node] = record.incarnation
        record.running[attempt] = run
        if self._physics.whole_gangs:
            return
        self.starts[attempt, node] = self.starts.get((attempt, node), 0) + 1
        self.say_member(run, node)
        if run.finished:
            self._member_exits(attempt, node, Ending(run.does.exit_code))
        elif len(run.started) == len(run.order.members):
            self._load(run)

    def _load(self, run: Run) -> None:
        """All processes exist: they meet, and read their state."""
        done = self._loader(run)
        self._later(
            self._physics.load_s,
            lambda: self._storage.transfer(self.training.reads(run), len(run.nodes), done),
        )

    def _loader(self, run: Run) -> Event:
        def loaded() -> None:
            if run.broken:
                return
            if run.order.service:
                attempt = run.order.attempt
                self._say(inputs.ReplicaReady(at=self._now, attempt=attempt, url=f"memory://{attempt}"))
            elif run.does.steps:
                self.training.begin(run)

        return loaded

    # ---- breaking and ending ---------------------------------------------------------------------

    def finish(self, attempt: AttemptId) -> None:
        """Let the attempt's processes end with the exit code of their behaviour."""
        run = self.runs[attempt]
        run.finished = True
        self._exits(run, list(run.started), Ending(run.does.exit_code))

    def exit(self, run: Run, ending: Ending) -> None:
        """Every process ends by itself, that of the root before the others."""
        run.broken = True
        nodes = run.nodes
        first = nodes.index(ending.root) if ending.root else 0
        self._exits(run, [*nodes[first:], *nodes[:first]], ending)

    def halt(self, run: Run) -> Instant:
        """Its work stops now, and nobody knows; `ended` is for when its processes say so."""
        if not run.broken:
            self.training.settle(run)
        run.broken = True
        return self._now

    def ended(self, run: Run, ending: Ending) -> None:
        """The processes of a gang that has halted end, and say so."""
        self._exits(run, run.nodes, ending)

    def _breaker(self, run: Run, nodes: Sequence[NodeId], ending: Ending) -> Event:
        return lambda: self._exits(run, nodes, ending)

    def _exits(self, run: Run, nodes: Sequence[NodeId], ending: Ending) -> None:
        """Processes on these nodes end by themselves, in this order."""
        attempt = run.order.attempt
        if not self._physics.whole_gangs:
            for node in nodes:
                self._member_exits(attempt, node, ending)
            return
        ended = [node for node in nodes if self._nodes[node].running.pop(attempt, None) is not None]
        run.exits |= dict.fromkeys(ended, ending)
        if ended:
            self.say_whole(run)

    def _member_exits(self, attempt: AttemptId, node: NodeId, ending: Ending) -> None:
        if self._nodes[node].running.pop(attempt, None) is not None:
            self.runs[attempt].exits[node] = ending
            self.say_member(self.runs[attempt], node)

    def cut(self, node: NodeId) -> list[Event]:
        """The node's share of each gang is gone; how its peers fail when they notice."""
        fails: list[Event] = []
        for run in list(self._nodes[node].running.values()):
            if not run.broken:
                self.training.settle(run)
            run.broken, ending = True, Ending(since=self._now)
            peers = [other for other in run.nodes if other != node]
            groups = [peers] if self._physics.whole_gangs else [[other] for other in peers]
            fails += [self._breaker(run, group, ending) for group in groups]
        return fails

    def ask(self, order: orders.AskCheckpoint) -> None:
        """Ask the gang to checkpoint."""
        if run := self.runs.get(order.attempt):
            self.training.ask(run, order.request)

    def stop(self, order: orders.StopGang) -> None:
        """End it everywhere, and never start it again."""
        run = self.runs.get(order.attempt)
        fenced = self._fenced.setdefault(order.attempt, {})
        for member in order.members:
            fenced[member.node] = None
        if order.forget and run is not None:
            self.training.checkpoints.drop_copies(run.order.job)
        if self._physics.whole_gangs and run is not None:
            self._later(self._physics.stop_s, lambda: self._stop_whole(run, order))
            return
        for member in order.members:
            self._later(self._physics.stop_s, self._stopper(order.attempt, member.node))

    def _stop_whole(self, run: Run, order: orders.StopGang) -> None:
        """One word for the gang if nothing of it is left anywhere; else one for each node that answers."""
        attempt, run.broken = order.attempt, True
        answered = []
        for member in order.members:
            if self._nodes.answers(member.node):
                answered.append(member.node)
                self._nodes.clear(member.node, attempt)
        if not any(self.runs_on(attempt, node) for node in run.nodes if self._nodes.exists(node)):
            self._say(inputs.GangGone(at=self._now, attempt=attempt))
            return
        for node in answered:
            self._say(inputs.MemberGone(at=self._now, attempt=attempt, node=node))

    def _stopper(self, attempt: AttemptId, node: NodeId) -> Event:
        def stop() -> None:
            if not self._nodes.answers(node):
                return
            self._nodes.clear(node, attempt)
            if attempt in self.runs:
                self.runs[attempt].broken = True
            self._say(inputs.MemberGone(at=self._now, attempt=attempt, node=node))

        return stop

    # ---- what is so ------------------------------------------------------------------------------

    def runs_on(self, attempt: AttemptId, node: NodeId) -> bool:
        """Whether the attempt has processes on the node."""
        return attempt in self._nodes[node].running

    def say_whole(self, run: Run) -> None:
        """What is so about the gang: it runs, or it ended."""
        attempt = run.order.attempt
        if all(self.runs_on(attempt, node) for node in run.nodes):
            self._say(inputs.GangStarted(at=self._now, attempt=attempt))
        elif run.exits:
            code, root, detail, since = max(run.exits.values(), key=lambda ending: abs(ending.code))
            self._say(
                inputs.GangExited(
                    at=self._now, attempt=attempt, code=code, root=root, detail=detail, since=since
                )
            )

    def say_member(self, run: Run, node: NodeId) -> None:
        """What is so about one member: it runs, or it ended."""
        attempt = run.order.attempt
        if attempt in self._nodes[node].running:
            self._say(inputs.MemberStarted(at=self._now, attempt=attempt, node=node))
        elif node in run.exits:
            code, _, detail, since = run.exits[node]
            self._say(
                inputs.MemberExited(
                    at=self._now, attempt=attempt, node=node, code=code, detail=detail, since=since
                )
            )

    def throttle(self, factor: float) -> None:
        """All training takes so many times as long from now on."""
        self.training.throttle = factor
        for run in list(self.runs.values()):
            self.training.repace(run)

    def release(self, attempt: AttemptId) -> None:
        """The attempt is over for its control plane, which will not ask again."""
        self._fenced.pop(attempt, None)
        if run := self.runs.pop(attempt, None):
            run.broken = True

    def forget(self, job: JobId) -> None:
        """The job is over: it never comes back."""
        self.training.checkpoints.forget(job)
        self.works.pop(job, None)
        self._first.pop(job, None)
        self._last.pop(job, None)
