"""The brain told anything, and the words of recovery on top: copies in memory, whole racks that vanish.

Invariants after every step, the fold equals the live state, and the books keep the law throughout.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from myriad.kernel.ids import NodeId
from myriad.ledger.ledger import Ledger
from myriad.protocol import inputs, wire
from myriad.protocol.inputs import Input
from tests.control.test_machine import NODES, Brain, nodes, small


class Recovering(Brain):
    """One core whose site fails in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()

    def give(self, given: Input) -> None:
        before = len(self.journal)
        super().give(given)
        for body in self.journal[before:]:
            for fact in wire.decode(body).facts:
                self.ledger.fold(fact)
        self.ledger.check_deeply()

    @rule(pick=st.integers(0, 4))
    def gang_runs(self, pick: int) -> None:
        self.every_member_says(pick, "start")
        attempt = self.attempt(pick)
        gang = self.core.state.gangs.get(attempt)
        step = self.core.state.jobs[gang.job].kept_step if gang and gang.job else 0
        self.give(inputs.TrainingResumed(at=self.at, attempt=attempt, step=step))

    @rule(pick=st.integers(0, 4), first=nodes)
    def fails(self, pick: int, first: NodeId) -> None:
        """Every member ends by itself, one before the others."""
        attempt = self.attempt(pick)
        gang = self.core.state.gangs.get(attempt)
        for node in sorted(gang.nodes, key=lambda node: node != first) if gang else ():
            self.give(inputs.MemberExited(at=self.at, attempt=attempt, node=node, code=1))

    @rule(pick=st.integers(0, 4), more=small, memory=st.booleans())
    def saves(self, pick: int, more: int, memory: bool) -> None:
        attempt = self.attempt(pick)
        gang = self.core.state.gangs.get(attempt)
        step = (gang.step if gang else 0) + more
        tier = "memory" if memory else "storage"
        self.give(inputs.CheckpointReported(at=self.at, attempt=attempt, step=step, path="p", tier=tier))

    @rule(pick=st.integers(0, 4), slow=st.lists(nodes, max_size=2, unique=True))
    def paced(self, pick: int, slow: list[NodeId]) -> None:
        paces = dict.fromkeys(NODES, 100) | dict.fromkeys(slow, 300)
        self.give(inputs.GangPaced(at=self.at, attempt=self.attempt(pick), paces=paces))

    @rule(lost=st.lists(nodes, min_size=2, unique=True))
    def vanish(self, lost: list[NodeId]) -> None:
        for node in lost:
            record = self.core.state.nodes.get(node)
            for source in ("channel", "process"):
                instance = record.instance if record else "i0"
                self.give(
                    inputs.NodeSignalled(
                        at=self.at, node=node, instance=instance, source=source, healthy=False
                    )
                )


TestRecovering = Recovering.TestCase
TestRecovering.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
