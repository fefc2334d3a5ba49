"""One seeded storm on a saturated site: preemption, failures, repairs, others who take nodes; facts digested,
restarts on demand.

Run as a program it prints the digest, so that a test can ask for it under another hash seed.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence

from bench.saturated import Crowd, add_tenants, site

from myriad.control.apply import fold
from myriad.control.board import Board
from myriad.control.core import Core, Step
from myriad.control.policy import Policy
from myriad.control.state import State
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import NodeId
from myriad.kernel.rng import Stream
from myriad.kernel.units import MINUTE
from myriad.protocol import inputs, wire
from myriad.protocol.inputs import Input
from myriad.schedule.policy import Backfill, Order, Preemption

CHIPS = 16


class Told(Core):
    """A core whose every fact is written down."""

    def __init__(self, policy: Policy, journal: list[bytes], state: State | None = None) -> None:
        super().__init__(policy, state)
        self.journal = journal

    def step(self, given: Input) -> Step:
        step = super().step(given)
        if step.facts:
            self.journal.append(wire.encode("storm", step.facts))
        return step

    def turn(self, batch: Sequence[Input]) -> tuple[list[Step], Step]:
        steps, cycle = super().turn(batch)
        self.journal += [wire.encode("storm", one.facts) for one in (*steps, cycle) if one.facts]
        return steps, cycle


def policy(
    order: str = "fair", period: str = "5m", preemption: str = "cheapest", fill: str = "easy"
) -> Policy:
    """Preemption that is quick to act."""
    return Policy(
        order=Order(policy=order, period=period),
        backfill=Backfill(policy=fill),
        preemption=Preemption(policy=preemption, min_run="1m", patience="1s", worth=1000.0),
    )


def remember(board: Board, before: Board) -> None:
    """What a restart forgets, and may: none of it is truth.

    When shares were worked out last, and what they were; and for whom a search for victims found nobody, so
    that it need not be repeated yet; and which quotas were found full, for whose sake a victim is looked for
    when they are found to be so; and who waits in front, with the reservation made then.
    """
    board.full, board.front, board.settled = before.full, before.front, before.settled
    board._shared_at, board.spares_due = before._shared_at, before.spares_due
    board._shared, board._unshared = before._shared, before._unshared
    board.victims_at = before.victims_at
    board.queue._starved = before.queue._starved
    for name, branch in before.queue._branches.items():
        if name:
            board.queue.set_order(name, share=branch.order[1])
    for owner in list(board.queue._entries):
        board.queue.put(board.queue._entries[owner].ask)


class Storm:
    """The crowd of the benchmark, and nodes that are lost and come back."""

    def __init__(self, seed: int, rules: Policy, nodes: int = 512, *, remembers: bool = False) -> None:
        self.core: Told = Told(rules, [])
        of = site(nodes * CHIPS)
        self._nodes = [place.node for place in of.places()]
        self.core.step(inputs.OpenSite(at=0, site=of))
        for node in self._nodes:
            self._join(node, "i")
        users = add_tenants(self.core, nodes * CHIPS)
        self.crowd = Crowd(self.core, users, seed)
        self._chance, self._pending = Stream(seed, "storm"), 60
        self._remembers = remembers

    def _join(self, node: NodeId, instance: str) -> None:
        self.core.step(inputs.NodeJoined(at=0, node=node, instance=instance, chips=CHIPS))
        self.core.step(inputs.NodeQualified(at=0, node=node, instance=instance, ok=True))

    def run(self, turns: int, restarts: Sequence[int] = ()) -> "Storm":
        """So many things happen; before some of them the control plane dies and comes back."""
        crowd = self.crowd
        for number in range(turns):
            if number in restarts:
                self._restart()
            while crowd.pending < self._pending:
                crowd.submit()
            crowd.pass_time()
            if self._chance.happens(0.05):
                self._lose(self._chance.choice(self._nodes))
            if self._chance.happens(0.05):
                self._take(self._chance.choice(self._nodes))
        return self

    def _lose(self, node: NodeId) -> None:
        crowd = self.crowd
        if self.core.state.node_state(node) is not NodeState.READY:
            return
        crowd._obey(self.core.step(inputs.NodeFenced(at=crowd.now, node=node)).orders)
        fresh = f"i{crowd.now}"
        back = crowd.now + 20 * MINUTE
        crowd._later(back, inputs.NodeJoined(at=back, node=node, instance=fresh, chips=CHIPS))
        crowd._later(back, inputs.NodeQualified(at=back, node=node, instance=fresh, ok=True))

    def _take(self, node: NodeId) -> None:
        """Another scheduler gives the node to somebody, for a while."""
        crowd = self.crowd
        done = crowd.now + 15 * MINUTE
        taken = inputs.NodeOccupied(at=crowd.now, node=node, by="others", until=done)
        crowd._obey(self.core.step(taken).orders)
        crowd._later(done, inputs.NodeOccupied(at=done, node=node, by=""))

    def _restart(self) -> None:
        """What is known is folded; the world goes on, and its timers with it."""
        state = fold(wire.decode(body) for body in self.core.journal)
        assert state.digest() == self.core.state.digest()
        before = self.core
        self.core = self.crowd.core = Told(before.policy, before.journal, state)
        if self._remembers:
            remember(self.core.board, before.board)

    @property
    def digest(self) -> str:
        """Of all facts, in order."""
        return hashlib.blake2b(b"\n".join(self.core.journal), digest_size=16).hexdigest()

    @property
    def kinds(self) -> Counter[str]:
        """How many facts of each kind there were, and why gangs stopped."""
        found: Counter[str] = Counter()
        for body in self.core.journal:
            for fact in wire.decode(body).facts:
                found[type(fact).__name__] += 1
                found[getattr(fact, "cause", "")] += 1
        return found


if __name__ == "__main__":
    print(Storm(int(sys.argv[1]), policy(sys.argv[2], fill=sys.argv[3])).run(int(sys.argv[4])).digest)
