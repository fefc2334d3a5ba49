"""Lets faults strike a simulated world, and repairs what broke: where `hazards` and `repair` meet the nodes.

The body tells what a monitored cluster would: processes that end, health checks that fail. Who is named may
be the wrong node; then the fault stays and strikes again.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from myriad.kernel.ids import NodeId
from myriad.kernel.rng import Stream
from myriad.kernel.units import SECOND, Instant, Span
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.protocol.values import Signal
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
        #: Until when a domain's nodes cannot come back.
        self._dark: dict[NodeId, int] = {}
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
        self._await()

    def _await(self) -> None:
        at, fault = self._hazards.next(self._world.now)
        if at >= NEVER:
            return

        def strike() -> None:
            self._strike(fault)
            self._await()

        self._world.at(at, strike)

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
            self._slow_down(nodes, fault)
            return
        back_at = self._world.now + int(fault.lasts_s * SECOND)
        for node in nodes:
            self._dark[node] = max(back_at, self._dark.get(node, 0))
            self._world.kill_node(node, fault.detect_s)

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
        # one event: were the exits told first, the gang would be started again where it cannot run
        worked_on = fault.symptom == "corrupt"
        shows = self._sickness(named, 0 if worked_on else self._world.now) if fault.permanent else None
        for run in runs:
            ending = Ending(1, named if named in run.nodes else NodeId(""), fault.cause)
            if worked_on:
                self._corrupt(run, seen_s, ending, shows)
            else:
                self._world.running.broke(run, seen_s, ending, shows)
        if shows is not None and not runs:
            self._world.later(seen_s, shows)
        if fault.permanent and named != node:
            self._strike_again(node, fault, seen_s)

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

    def _corrupt(self, run: Run, seen_s: float, ending: Ending, shows: Event | None) -> None:
        """Its numbers are wrong from now on; that is seen late, and what it saved meanwhile is of no use."""
        if run.spoiled_from < 0:
            run.spoiled_from = run.progress.steps_at(self._world.now) if run.progress else 0

        def seen() -> None:
            if not run.broken:
                self._world.running.broke(run, 0.0, ending, shows)
            elif shows is not None:
                shows()

        self._world.later(seen_s, seen)

    def _sickness(self, node: NodeId, since: Instant) -> Event:
        """Its health checks fail, as far as anybody can tell: it is to be taken out.

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
        for node in nodes:
            self._world.slow_node(node, max(fault.factor, self._slow.get(node, 1.0)))
        if fault.permanent or fault.lasts_s == float("inf"):
            self._wrong |= dict.fromkeys(nodes, fault)
            return

        def over() -> None:
            for node in nodes:
                self._world.slow_node(node, self._slow.get(node, 1.0))

        self._world.later(fault.lasts_s, over)

    # ---- software --------------------------------------------------------------------------------

    def _began(self, run: Run) -> None:
        """A gang goes on: its own next fault."""
        after_s, fault = software_fault(self._faults, self._software, run.chips)
        if fault is None or self._outlives(run, after_s):
            return

        def strike() -> None:
            if run.broken or run.finished:
                return
            self.struck[fault.cause] += 1
            self.broke[fault.cause] += 1
            seen_s = fault.detect_s + fault.diagnose_s
            self._world.running.broke(run, seen_s, Ending(1, NodeId(""), fault.cause))

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
        dark_ns = max(0, self._dark.pop(node, 0) - world.now)
        if not dark_ns:
            self._visits[node] += 1
        done = plan(self._repair, fault, self._repairs, losses=self._visits[node])
        if fault is not None:
            self._hazards.set_factor(row, factor_after(self._repair, self._own.get(row, 1.0), done))
        if not done.fixed:
            self._in_vain[node] = None
        if done.cured:
            self._renew(node)
        elif self._slow.get(node, 1.0) != world.nodes[node].slowness:
            world.slow_node(node, self._slow.get(node, 1.0))
        back_at = self._workshop.book(world.now, done)
        check_s = self._repair.seconds("burn_in")
        return max(1.0, (dark_ns + back_at - world.now) / SECOND - check_s)

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
        self._world.slow_node(node, 1.0)

    def follow(self, happened: Sequence[Fact]) -> None:
        """The operator sends what the brain keeps out to the vendor, and gives it back when it comes."""
        for fact in happened:
            if type(fact) is facts.NodeCordoned and fact.cordoned and fact.by == "myriad":
                self.kept_out[self._kind(fact.node)] += 1
                self._return_later(fact.node)

    def _kind(self, node: NodeId) -> str:
        if self._rows[node] in self._own:
            return "lemon"
        return "unmended" if node in self._in_vain else "healthy"

    def _return_later(self, node: NodeId) -> None:
        def back() -> None:
            self._renew(node)
            self._world.say(inputs.UndrainNode(at=self._world.now, node=node))

        self._world.later(self._repair.seconds("vendor"), back)
