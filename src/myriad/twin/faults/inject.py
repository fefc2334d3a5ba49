"""Lets faults strike a simulated world, and repairs what broke: where `hazards` and `repair` meet the nodes.

The body tells what a monitored cluster would: processes that end, health checks that fail. Who is named may
be the wrong node; then the fault stays and strikes again.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from myriad.kernel.ids import NodeId
from myriad.kernel.rng import Stream
from myriad.kernel.units import SECOND, Instant, Span, span_ns
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.protocol.values import Signal
from myriad.twin.faults import events
from myriad.twin.faults.causes import CAUSES, RIGHT_AGAIN
from myriad.twin.faults.config import Faults, Repair
from myriad.twin.faults.hazards import NEVER, Fault, Hazards, Terrain
from myriad.twin.faults.repair import Workshop, factor_after, plan
from myriad.twin.faults.software import software_fault
from myriad.twin.gangs import Ending, Run
from myriad.twin.nodes import Qualified
from myriad.twin.timeline import Event
from myriad.twin.world import World

#: A fault that was laid at another door strikes again after this, on average. Estimated.
_AGAIN_S: Final = 1800.0
#: The first qualification, of a site that is in service when the scenario begins.
_OPENING_S: Final = 1.0
_DOMAINS: Final = ("rack", "pod", "power", "cooling")
#: An outage shows after this: nodes and channels are silent at once. Estimated.
_SHOWS_S: Final = 10.0


class Injector:
    """Faults, repairs and the operator's care for what the brain keeps out. Implements `nodes.Care`."""

    def __init__(self, world: World, faults: Faults, repair: Repair, stream: Stream) -> None:
        self._world, self._faults, self._repair = world, faults, repair
        places = world.site.places()
        self._names = [place.node for place in places]
        self._rows = {node: row for row, node in enumerate(self._names)}
        self._hazards = Hazards(faults, Terrain.of(places), stream, world.now)
        self._workshop = Workshop(repair)
        self._chance, self._software = stream.split("strikes"), stream.split("software")
        self._repairs = stream.split("repairs")
        #: Nodes with something wrong that a restart does not mend; how often each was taken out; and its
        #: multiplier when nothing is wrong.
        self._wrong: dict[NodeId, Fault] = {}
        self._visits: Counter[NodeId] = Counter()
        #: Nodes that a repair did not help, until they are replaced.
        self._in_vain: dict[NodeId, None] = {}
        self._own = dict.fromkeys(self._hazards.lemons, faults.lemons.factor)
        self._slow = {self._names[row]: faults.slow.factor for row in self._hazards.slow}
        #: What slows a node for a while.
        self._lags: dict[NodeId, list[float]] = {}
        #: Until when a domain's nodes cannot come back.
        self._dark: dict[NodeId, int] = {}
        #: Nothing strikes any more.
        self._over = False
        #: What has struck so far, by cause; those that met a gang.
        self.struck: Counter[str] = Counter()
        self.broke: Counter[str] = Counter()
        #: Nodes that the brain kept out, by what they were: lemon, unmended (by a repair in vain), healthy.
        self.kept_out: Counter[str] = Counter()

    def begin(self) -> None:
        """From now on."""
        self._world.nodes.care = self
        self._world.running.training.on_begin = self._began
        for node, factor in self._slow.items():
            self._world.slow_node(node, factor)
        for event in self._faults.events:
            self._plan(event)
        self._await()

    def _plan(self, event: events.Event) -> None:
        """What the scenario says strikes at its time."""
        nodes, lasts_s = events.nodes_of(event, self._world.site.places()), span_ns(event.lasts) / SECOND
        slow = event.factor or (self._faults.plant.cooling_factor if event.scope == "cooling" else 0.0)

        def strike() -> None:
            self.struck[event.scope] += 1
            if slow:
                self._slow_for(nodes, slow, lasts_s)
            else:
                self._go_dark(nodes, lasts_s, _SHOWS_S, event.scope)

        self._world.at(self._world.now + span_ns(event.at), strike)

    def _await(self) -> None:
        at, fault = self._hazards.next(self._world.now)
        if at >= NEVER:
            return

        def strike() -> None:
            if not self._over:
                self._strike(fault)
                self._await()

        self._world.at(at, strike)

    def end(self) -> None:
        """Nothing strikes from now on, and what was wrong is mended; who is in repair comes back in time."""
        self._over = True
        self._wrong.clear()
        self._slow.clear()
        self._dark.clear()
        for node in self._names:
            self._world.slow_node(node, 1.0)

    # ---- strikes ---------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        if fault.scope in _DOMAINS:
            self._strike_domain(fault)
            return
        node = self._names[fault.where]
        record = self._world.nodes[node]
        if not self._hazards.holds(fault, serving=record.alive, busy=bool(record.running)):
            return
        # rates are counts of what was seen, and here a fault may be seen several times
        if fault.cause in CAUSES and not self._chance.happens(1.0 / CAUSES[fault.cause].strikes):
            return
        self.struck[fault.cause] += 1
        if fault.symptom in ("slow", "flap"):
            self._slow_down([node], fault)
        elif fault.symptom == "false_alarm":
            self._world.later(fault.detect_s, self._sickness(node, 0))
        else:
            self._hit(node, fault)

    def _strike_domain(self, fault: Fault) -> None:
        """All nodes of a rack, pod or feed, for as long as it lasts."""
        nodes = [self._names[row] for row in self._hazards.rows_of(fault)]
        self.struck[fault.cause] += 1
        if fault.symptom == "slow":
            self._slow_for(nodes, fault.factor, fault.lasts_s)
        else:
            self._go_dark(nodes, fault.lasts_s, fault.detect_s, fault.cause)

    def _go_dark(self, nodes: Sequence[NodeId], lasts_s: float, shows_s: float, cause: str) -> None:
        """They are gone, and none of them comes back before so long; those under repair neither."""
        world, back_at = self._world, self._world.now + int(lasts_s * SECOND)
        hit = dict.fromkeys(one for node in nodes for one in world.nodes[node].running)
        self.broke[cause] += len(hit)
        for node in nodes:
            self._dark[node] = max(back_at, self._dark.get(node, 0))
            world.kill_node(node, shows_s)

    def _hit(self, node: NodeId, fault: Fault) -> None:
        """A chip or a host fails: what runs on it breaks, and someone is named."""
        if fault.permanent:
            self._wrong[node] = fault
        seen_s = fault.detect_s + fault.diagnose_s
        runs = self._victims(node, fault)
        self.broke[fault.cause] += len(runs)
        if fault.symptom == "down":
            self._world.kill_node(node, seen_s)
            return
        named = self._named(node, fault, runs)
        if fault.symptom == "corrupt":
            for run in runs:
                self._world.running.training.settle(run)
                if run.spoiled_from < 0:
                    run.spoiled_from = run.progress.steps_at(self._world.now) if run.progress else 0
        since = self._world.now
        if fault.symptom != "corrupt":
            for run in runs:
                self._world.running.halt(run)
        # wrong numbers do not stop work: it is lost, not missed
        sick = self._sickness(named, 0 if fault.symptom == "corrupt" else since) if fault.permanent else None
        self._world.later(seen_s, lambda: self._seen(fault, runs, named, sick, since))
        if fault.permanent and named != node:
            self._strike_again(node, fault, seen_s)

    def _seen(
        self, fault: Fault, runs: Sequence[Run], named: NodeId, sick: Event | None, since: Instant
    ) -> None:
        """Health checks fail, and processes end, at the same time: the checks are heard first."""
        if sick is not None:
            sick()
        for run in runs:
            root = named if named in run.nodes else NodeId("")
            if fault.symptom == "corrupt":
                if run.broken:
                    continue
                self._world.running.training.checkpoints.drop_copies(run.order.job)
                since = self._world.running.halt(run)
            self._world.running.ended(run, Ending(1, root, fault.cause, since))

    def _victims(self, node: NodeId, fault: Fault) -> list[Run]:
        """The gangs that feel it: those on the chip, or all of the node."""
        runs = [run for run in self._world.nodes[node].running.values() if not run.broken]
        if fault.chip < 0 or fault.symptom == "down":
            return runs
        return [run for run in runs if self._holds(run, node, fault.chip)]

    def _holds(self, run: Run, node: NodeId, chip: int) -> bool:
        member = run.order.members[run.nodes.index(node)]
        return bool(member.chips >> chip & 1)

    def _named(self, node: NodeId, fault: Fault, runs: Sequence[Run]) -> NodeId:
        """Who is said to be at fault."""
        if fault.blamed or not runs or len(runs[0].nodes) == 1:
            return node
        return self._chance.choice([other for other in runs[0].nodes if other != node])

    def _strike_again(self, node: NodeId, fault: Fault, after_s: float) -> None:
        """It was laid at another door: it strikes again, and luck is tried again."""
        again_s = after_s + self._chance.exponential(_AGAIN_S)

        def again() -> None:
            if self._wrong.get(node) is fault and self._world.nodes[node].alive:
                found = fault._replace(blamed=self._chance.happens(RIGHT_AGAIN))
                self._hit(node, found)

        self._world.later(again_s, again)

    def _sickness(self, node: NodeId, since: Instant) -> Event:
        """The node's health checks, from now on: they fail, and it is to be taken out.

        `since`: when its work stopped; 0: only now.
        """
        world = self._world
        instance = world.nodes.instance(node)

        def show() -> None:
            if not world.nodes[node].alive or world.nodes.instance(node) != instance:
                return
            sources: tuple[Signal, ...] = ("process", "peer")
            for source in sources:
                world.say(
                    inputs.NodeSignalled(
                        at=world.now, node=node, instance=instance, source=source, healthy=False, since=since
                    )
                )

        return show

    # ---- slowness --------------------------------------------------------------------------------

    def _slow_down(self, nodes: Sequence[NodeId], fault: Fault) -> None:
        """They are slow for a while, or until they are repaired."""
        if fault.permanent or fault.lasts_s == float("inf"):
            self._wrong |= dict.fromkeys(nodes, fault)
            self._pace(nodes)
        else:
            self._slow_for(nodes, fault.factor, fault.lasts_s)

    def _slow_for(self, nodes: Sequence[NodeId], factor: float, lasts_s: float) -> None:
        """They are slow for a while; of several causes the worst counts."""
        for node in nodes:
            self._lags.setdefault(node, []).append(factor)
        self._pace(nodes)

        def over() -> None:
            for node in nodes:
                self._lags[node].remove(factor)
                if not self._lags[node]:
                    del self._lags[node]
            self._pace(nodes)

        self._world.later(lasts_s, over)

    def _pace(self, nodes: Sequence[NodeId]) -> None:
        """Let them be as slow as all that ails them makes them."""
        for node in nodes:
            factor = max(self._slow.get(node, 1.0), *self._lags.get(node, ()), 1.0)
            if (fault := self._wrong.get(node)) is not None:
                factor = max(factor, fault.factor)
            if factor != self._world.nodes[node].slowness:
                self._world.slow_node(node, factor)

    # ---- software --------------------------------------------------------------------------------

    def _began(self, run: Run) -> None:
        """A gang goes on: its own next fault."""
        after_s, fault = software_fault(self._faults, self._software, run.chips)
        if fault is None or self._outlives(run, after_s):
            return

        def strike() -> None:
            if run.broken or run.finished or self._over:
                return
            self.struck[fault.cause] += 1
            self.broke[fault.cause] += 1
            ending = Ending(1, NodeId(""), fault.cause, self._world.running.halt(run))
            seen_s = fault.detect_s + fault.diagnose_s
            self._world.later(seen_s, lambda: self._world.running.ended(run, ending))

        self._world.later(after_s, strike)

    def _outlives(self, run: Run, after_s: float) -> bool:
        """Whether it is over before then in any case: spares the event."""
        if run.progress is None or not run.does.steps:
            return False
        left_ns: Span = run.progress.done_at(run.does.steps) - self._world.now
        return left_ns < after_s * SECOND and not run.does.lingers

    # ---- care ------------------------------------------------------------------------------------

    def repair_s(self, node: NodeId) -> float:
        """A visit to the workshop: how long until the node is up again."""
        world, row = self._world, self._rows[node]
        fault = self._wrong.pop(node, None)
        if not self.dark_ns(node):
            self._visits[node] += 1
        done = plan(self._repair, fault, self._repairs, losses=self._visits[node])
        if fault is not None:
            self._hazards.set_factor(row, factor_after(self._repair, self._own.get(row, 1.0), done))
        if not done.fixed:
            self._in_vain[node] = None
        if done.cured:
            self._renew(node)
        else:
            self._pace([node])
        back_at = self._workshop.book(world.now, done)
        check_s = self._repair.seconds("burn_in")
        return max(1.0, (back_at - world.now) / SECOND - check_s)

    def dark_ns(self, node: NodeId) -> Span:
        """How long it cannot come up yet, whatever is done about it."""
        left_ns = self._dark.get(node, 0) - self._world.now
        if left_ns <= 0:
            self._dark.pop(node, None)
        return max(0, left_ns)

    def qualify(self, node: NodeId) -> Qualified:
        """Burn-in; what it would have found is in the visit's plan already."""
        first = self._world.nodes[node].incarnation == 1 and not self._visits[node]
        return Qualified(_OPENING_S if first else self._repair.seconds("burn_in"), True)

    def _renew(self, node: NodeId) -> None:
        """Another machine stands in its place."""
        row = self._rows[node]
        self._own.pop(row, None)
        self._slow.pop(node, None)
        self._wrong.pop(node, None)
        self._in_vain.pop(node, None)
        self._visits[node] = 0
        self._hazards.set_factor(row, 1.0)
        self._pace([node])

    def follow(self, happened: Sequence[Fact]) -> None:
        """The operator looks at what the brain keeps out, and gives it back once it is well."""
        for fact in happened:
            if type(fact) is facts.NodeCordoned and fact.cordoned and fact.by == "myriad":
                self.kept_out[self._kind(fact.node)] += 1
                self._return_later(fact.node)

    def _kind(self, node: NodeId) -> str:
        if self._rows[node] in self._own:
            return "lemon"
        return "unmended" if node in self._in_vain else "healthy"

    def _return_later(self, node: NodeId) -> None:
        """A node that fails or lags goes to the vendor; one that is well after all is given back."""
        row = self._rows[node]
        ill = node in self._wrong or node in self._slow or self._hazards.factor(row) > 1.0
        after_s = self._repair.seconds("vendor" if ill else "automatic")

        def back() -> None:
            if ill:
                self._renew(node)
            self._world.say(inputs.UndrainNode(at=self._world.now, node=node))

        self._world.later(after_s, back)
