"""Nodes of the simulated world: they boot, die, freeze, lag, are repaired and qualified."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from myriad.fleet.site import NodePlace, Site
from myriad.kernel.ids import AttemptId, NodeId
from myriad.kernel.units import SECOND, Instant, Span
from myriad.protocol import inputs
from myriad.protocol.inputs import Input
from myriad.protocol.values import Signal
from myriad.twin.gangs import Run
from myriad.twin.physics import Physics
from myriad.twin.timeline import Event, Timeline

#: Cuts a node's share out of its gangs; returns what their other processes do when they notice.
Died = Callable[[NodeId], Sequence[Event]]
#: Who notices a dead node at once.
_SILENT: Final[tuple[Signal, ...]] = ("channel", "process")


class Qualified(NamedTuple):
    """How a burn-in goes."""

    after_s: float
    ok: bool
    detail: str = ""
    gemm_flops: float = 1e12


class Care(Protocol):
    """Who repairs and qualifies nodes."""

    def repair_s(self, node: NodeId) -> float:
        """How long until a node that was fenced is up again."""
        ...

    def dark_ns(self, node: NodeId) -> Span:
        """How long it cannot come up, because its power or network is gone."""
        ...

    def qualify(self, node: NodeId) -> Qualified:
        """What burn-in will find."""
        ...


class Plain:
    """Every repair takes as long and helps."""

    def __init__(self, physics: Physics) -> None:
        self._physics = physics

    def repair_s(self, node: NodeId) -> float:
        """The same for all."""
        del node
        return self._physics.repair_s

    def dark_ns(self, node: NodeId) -> Span:
        """Nothing else is amiss."""
        del node
        return 0

    def qualify(self, node: NodeId) -> Qualified:
        """All are well."""
        del node
        return Qualified(self._physics.qualify_s, True)


class Node:
    """One node as it really is."""

    __slots__ = ("alive", "domain", "incarnation", "paused", "place", "repairing", "running", "slowness")

    def __init__(self, place: NodePlace) -> None:
        self.place = place
        #: What it shares with others, narrowest first.
        self.domain = (place.rack, place.pod, place.core)
        self.incarnation = 0
        self.alive = self.paused = self.repairing = False
        self.slowness = 1.0
        self.running: dict[AttemptId, Run] = {}


class Nodes:
    """All of a site."""

    def __init__(
        self,
        site: Site,
        timeline: Timeline,
        physics: Physics,
        say: Callable[[Input], None],
        later: Callable[[float, Event], None],
    ) -> None:
        self._timeline, self._physics = timeline, physics
        self._say, self._later = say, later
        self._nodes = {place.node: Node(place) for place in site.places()}
        #: Nodes that are not at full speed.
        self._slow: dict[NodeId, None] = {}
        self.care: Care = Plain(physics)

    def __getitem__(self, node: NodeId) -> Node:
        return self._nodes[node]

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._nodes)

    def exists(self, node: NodeId) -> bool:
        """Whether it is one of the site's."""
        return node in self._nodes

    def is_up(self, node: NodeId) -> bool:
        """Whether processes can be started there."""
        return node in self._nodes and self._nodes[node].alive

    def answers(self, node: NodeId) -> bool:
        """Whether an order to stop is carried out: one that does not exist has nothing to stop."""
        record = self._nodes.get(node)
        return record is None or (record.alive and not record.paused)

    def clear(self, node: NodeId, attempt: AttemptId) -> None:
        """Nothing of the attempt is left there."""
        if record := self._nodes.get(node):
            record.running.pop(attempt, None)

    def slowest(self, nodes: Sequence[NodeId]) -> float:
        """The largest step time among them, over that of a healthy node."""
        if not self._slow:
            return 1.0
        return max(self._nodes[node].slowness for node in nodes)

    def stretch(self, nodes: Sequence[NodeId], factors: tuple[float, float, float]) -> float:
        """How much longer a step takes where these nodes are: in one rack, several, several pods, cores."""
        if len(nodes) == 1 or factors[2] == 1.0:
            return 1.0
        domains = [self._nodes[node].domain for node in nodes]
        first = domains[0]
        for level in (2, 1, 0):
            if any(domain[level] != first[level] for domain in domains):
                return factors[level]
        return 1.0

    # ---- what happens to them --------------------------------------------------------------------

    def kill(self, node: NodeId, died: Died, after_s: float | None = None) -> None:
        """It dies at once with all that runs on it; what shows after a while (None: as `physics` says).

        Where the delay is given all is seen together, the node's silence before the exits of its peers.
        """
        record = self._nodes[node]
        if not record.alive:
            return
        record.alive, since = False, self._timeline.now
        instance = self.instance(node)
        silent = [self._signaller(node, instance, source, healthy=False, since=since) for source in _SILENT]
        exits = died(node)
        record.running.clear()
        if after_s is not None:
            # the node is missed before its peers give up
            self._later(after_s, lambda: _all((*silent, *exits)))
            return
        delays = (self._physics.channel_s, self._physics.process_s)
        for delay_s, event in zip(delays, silent, strict=True):
            self._later(delay_s, event)
        for event in exits:
            self._later(self._physics.stop_s, event)

    def pause(self, node: NodeId) -> None:
        """It freezes: only its heartbeat tells."""
        record = self._nodes[node]
        record.paused = True
        signal = self._signaller(node, self.instance(node), "heartbeat", healthy=False)
        self._later(self._physics.heartbeat_s, lambda: signal() if record.paused else None)

    def resume(self, node: NodeId) -> None:
        """It thaws."""
        if self._nodes[node].paused and self._nodes[node].alive:
            self._nodes[node].paused = False
            self._say(self._signal(node, self.instance(node), "heartbeat", healthy=True))

    def flap(self, node: NodeId, lasts_s: float, source: Signal = "channel") -> None:
        """One source says that it is not well, and soon that it is: nothing else is so."""
        if not self._nodes[node].alive:
            return
        instance = self.instance(node)
        self._say(self._signal(node, instance, source, healthy=False))
        back = self._signaller(node, instance, source, healthy=True)
        self._later(lasts_s, lambda: back() if self.instance(node) == instance else None)

    def slow(self, node: NodeId, factor: float) -> None:
        """It takes `factor` times as long for a step from now on; 1: it is well again."""
        self._nodes[node].slowness = factor
        if factor == 1.0:
            self._slow.pop(node, None)
        else:
            self._slow[node] = None

    # ---- orders ----------------------------------------------------------------------------------

    def boot(self, node: NodeId) -> None:
        """It comes up as another incarnation, once it can."""
        record = self._nodes[node]
        if not record.alive and (dark_ns := self.care.dark_ns(node)):
            self._later(dark_ns / SECOND + self._physics.boot_s, lambda: self.boot(node))
            return
        record.repairing = False
        if not record.alive:
            record.alive, record.paused = True, False
            record.incarnation += 1
            self._say(self.joined(node))

    def qualify(self, node: NodeId) -> None:
        """Run burn-in."""
        if node not in self._nodes:
            return
        found, instance = self.care.qualify(node), self.instance(node)

        def qualified() -> None:
            record = self._nodes[node]
            if record.alive and not record.paused and self.instance(node) == instance:
                self._say(
                    inputs.NodeQualified(
                        at=self._timeline.now,
                        node=node,
                        instance=instance,
                        ok=found.ok,
                        gemm_flops=found.gemm_flops if found.ok else 0.0,
                        detail=found.detail,
                    )
                )

        self._later(found.after_s, qualified)

    def repair(self, node: NodeId, instance: str, died: Died) -> None:
        """Fence the incarnation, then bring up another one; a repair under way goes on."""
        record = self._nodes.get(node)
        stale = record is not None and instance and instance != self.instance(node)
        if record is not None and not stale and not record.repairing:
            if record.alive:
                record.alive = False
                for event in died(node):
                    self._later(self._physics.stop_s, event)
            record.running.clear()
            record.repairing = True
            self._later(self.care.repair_s(node), lambda: self.boot(node))
        # a newer incarnation is left alone: the one that was meant is dead all the same
        self._say(inputs.NodeFenced(at=self._timeline.now, node=node, instance=instance))

    # ---- words -----------------------------------------------------------------------------------

    def instance(self, node: NodeId) -> str:
        """Name of its incarnation."""
        return f"{node}/{self._nodes[node].incarnation}"

    def joined(self, node: NodeId) -> Input:
        """It is up."""
        chips = self._nodes[node].place.chips
        return inputs.NodeJoined(at=self._timeline.now, node=node, instance=self.instance(node), chips=chips)

    def seen(self, node: NodeId) -> Iterator[Input]:
        """How it is to whoever looks for the first time."""
        for source in (*_SILENT, "heartbeat"):
            healthy = source != "heartbeat" or not self._nodes[node].paused
            yield self._signal(node, self.instance(node), source, healthy=healthy)

    def _signal(
        self, node: NodeId, instance: str, source: Signal, *, healthy: bool, since: Instant = 0
    ) -> Input:
        return inputs.NodeSignalled(
            at=self._timeline.now, node=node, instance=instance, source=source, healthy=healthy, since=since
        )

    def _signaller(
        self, node: NodeId, instance: str, source: Signal, *, healthy: bool, since: Instant = 0
    ) -> Event:
        return lambda: self._say(self._signal(node, instance, source, healthy=healthy, since=since))


def _all(events: Sequence[Event]) -> None:
    for event in events:
        event()
