"""One door into the state: `Core.step(input) -> Step(facts, orders)`.

A world (the server's loop, the twin) feeds inputs, makes the facts durable, then gives the orders to a
body. Nothing here knows a clock, a file or a socket; the same inputs give the same facts, always.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from myriad.control import (
    deadlines,
    invariants,
    on_gangs,
    on_intents,
    on_nodes,
    on_paces,
    on_services,
    on_windows,
    orders,
    scheduling,
)
from myriad.control.apply import apply
from myriad.control.board import FOLLOWERS, Board
from myriad.control.moment import Moment
from myriad.control.policy import Own, Policy, order_of, rules_of
from myriad.control.records import GangPhase
from myriad.control.scheduling import TRIGGERS
from myriad.control.state import State
from myriad.kernel.ids import AttemptId, NodeId, ServiceId
from myriad.kernel.units import Instant
from myriad.protocol import inputs
from myriad.protocol.facts import Fact
from myriad.protocol.inputs import Input
from myriad.protocol.orders import Order


class Step(NamedTuple):
    """What one input led to."""

    facts: tuple[Fact, ...]  # in order; applied to the state already
    orders: tuple[Order, ...]  # to be given to the body once the facts are durable


_NOTHING: Final = Step((), ())

Handler = Callable[[Moment, Any], Iterator[Fact]]


def on_woke(m: Moment, given: inputs.Woke) -> Iterator[Fact]:
    """A deadline came due. A stale one finds its subject moved on and does nothing."""
    kind, _, name = given.about.partition(":")
    if kind in ("job", "pause"):
        m.board.refresh(name, m.now)
    if kind == "gang" and (gang := m.state.gangs.get(AttemptId(name))):
        if not gang.until or gang.until > m.now:
            return
        if gang.phase is GangPhase.STOPPING:
            for node in gang.left:
                yield from on_nodes.lose_silent(m, node, f"did not stop {gang.attempt} in time")
        else:
            yield from on_gangs.on_deadline(m, gang)
    elif kind == "node" and (record := m.state.nodes.get(NodeId(name))):
        if record.until and record.until <= m.now:
            yield from on_nodes.on_deadline(m, NodeId(name))
    elif kind == "service" and ServiceId(name) in m.state.services:
        yield from on_services.on_deadline(m, m.state.services[ServiceId(name)])
    elif kind == "budget" and (gang := m.state.gangs.get(AttemptId(name))):
        yield from on_gangs.on_budget_spent(m, gang)
    elif kind == "window" and name in m.state.windows:
        yield from on_windows.on_due(m, m.state.windows[name])


_HANDLERS: dict[type[Input], Handler] = {
    inputs.OpenSite: on_intents.on_open_site,
    inputs.CloseSite: on_intents.on_close_site,
    inputs.ApplyTenant: on_intents.on_apply_tenant,
    inputs.IssueKey: on_intents.on_issue_key,
    inputs.RevokeKey: on_intents.on_revoke_key,
    inputs.SubmitJob: on_intents.on_submit_job,
    inputs.CancelJob: on_intents.on_cancel_job,
    inputs.ApplyService: on_intents.on_apply_service,
    inputs.RemoveService: on_intents.on_remove_service,
    inputs.SetWindow: on_windows.on_set_window,
    inputs.EndWindow: on_windows.on_end_window,
    inputs.DrainNode: on_nodes.on_drain,
    inputs.UndrainNode: on_nodes.on_undrain,
    inputs.NodeJoined: on_nodes.on_joined,
    inputs.NodeQualified: on_nodes.on_qualified,
    inputs.NodeSignalled: on_nodes.on_signalled,
    inputs.NodeFenced: on_nodes.on_fenced,
    inputs.NodeOccupied: on_nodes.on_occupied,
    inputs.MemberStarted: on_gangs.on_member_started,
    inputs.MemberExited: on_gangs.on_member_exited,
    inputs.MemberGone: on_gangs.on_member_gone,
    inputs.GangStarted: on_gangs.on_gang_started,
    inputs.GangExited: on_gangs.on_gang_exited,
    inputs.GangGone: on_gangs.on_gang_gone,
    inputs.TrainingResumed: on_gangs.on_training_resumed,
    inputs.StepsReported: on_gangs.on_steps,
    inputs.GangPaced: on_paces.on_gang_paced,
    inputs.CheckpointReported: on_gangs.on_checkpoint,
    inputs.WorkerSpoke: on_gangs.on_worker_spoke,
    inputs.ReplicaReady: on_gangs.on_replica_ready,
    inputs.ReplicaUnready: on_gangs.on_replica_unready,
    inputs.Listening: deadlines.on_listening,
    inputs.Woke: on_woke,
    inputs.LoadObserved: on_services.on_load,
    inputs.TokensMetered: on_services.on_tokens,
}


#: Timers for which the scheduler looks again.
_RINGS = frozenset({"job", "pause", "service", "grow", "cycle"})


class Core:
    """The brain of one site. Not thread-safe: one world drives it."""

    def __init__(
        self,
        policy: Policy | None = None,
        state: State | None = None,
        check: bool = False,
        own: Own | None = None,
    ) -> None:
        """`check` verifies every invariant after each step: on in tests and the twin; it costs O(site).

        `own`: policies that do not come with Myriad.
        """
        self.policy = policy or Policy()
        self.state = state or State()
        self.rules = rules_of(self.policy, own or Own())
        self.board = Board(self.state, self.policy.order, order_of(self.policy, own or Own()))
        self._check = check

    def step(self, given: Input) -> Step:
        """Take one input; return what became true and what must be done. Time never runs backwards."""
        moment = self.moment(given.at)
        happened, asked = self._apply(_HANDLERS[type(given)](moment, given))
        if asked or (type(given) is inputs.Woke and _rang(given)):
            happened += self._apply(scheduling.cycle(moment, happened))[0]
        if self._check:
            invariants.check(self.state)
        return self._step(happened)

    def turn(self, batch: Sequence[Input]) -> tuple[list[Step], Step]:
        """Take inputs that came together: what each led to, and what one scheduling cycle after them did.

        The scheduler sees all that came before it decides, and decides once: that is what a control plane
        under load is spared, and gangs that end together make one hole.
        """
        facts_of: list[list[Fact]] = []
        asked = False
        for given in batch:
            moment = self.moment(given.at)
            happened, triggers = self._apply(_HANDLERS[type(given)](moment, given))
            asked = asked or triggers or (type(given) is inputs.Woke and _rang(given))
            facts_of.append(happened)
        cycle: list[Fact] = []
        if asked:
            every = facts_of[0] if len(batch) == 1 else [fact for facts in facts_of for fact in facts]
            cycle, _ = self._apply(scheduling.cycle(moment, every))
        if self._check:
            invariants.check(self.state)
        steps = [self._step(happened) for happened in facts_of]
        return steps, self._step(cycle)

    def _apply(self, decided: Iterator[Fact]) -> tuple[list[Fact], bool]:
        """Facts one by one: each is applied before the next is asked for. And whether one is a trigger."""
        state, board, happened, triggers = self.state, self.board, [], False
        for fact in decided:
            kind = type(fact)
            apply(state, fact)
            if kind in FOLLOWERS:
                FOLLOWERS[kind](board, fact)
            if kind in TRIGGERS:
                triggers = True
            happened.append(fact)
        return happened, triggers

    def _step(self, happened: list[Fact]) -> Step:
        if not happened:
            return _NOTHING
        return Step(tuple(happened), orders.due(self.state, self.policy, happened))

    def moment(self, at: Instant) -> Moment:
        """The surroundings of a step, or of a question, at that time."""
        return Moment(self.state, self.policy, max(at, self.state.now), self.board, self.rules)

    def outstanding(self) -> tuple[Order, ...]:
        """Every order the present state implies: given to the body after a restart."""
        return orders.outstanding(self.state, self.policy)


def _rang(given: inputs.Woke) -> bool:
    """Whether the scheduler looks again even if nothing else happened."""
    return given.about.partition(":")[0] in _RINGS
