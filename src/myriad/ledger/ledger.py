"""The fold: what each fact means for the books. Only it writes; `views`, `invoices`, `predictions` read."""

from collections.abc import Callable, Iterable
from typing import Any

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import NodeId
from myriad.ledger.books import Books
from myriad.ledger.buckets import Slot
from myriad.ledger.records import GONE, Gang, Job, Node, Owner, Phase, Service, Terms
from myriad.ledger.stretches import Timeline
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.values import StopCause

#: Causes that are the site's doing: the tenant pays neither for the work lost nor for the restart.
SITE_CAUSES: frozenset[StopCause] = frozenset({"node", "moved"})

_FOLDS: dict[type[Fact], Callable[["Ledger", Any], None]] = {}


class Ledger(Books):
    """The books of one site, from its first fact on."""

    def fold(self, fact: Fact) -> None:
        """Book one fact. A fact older than the books is booked now: chip-time already told stays told."""
        self.advance(fact.at)
        if book := _FOLDS.get(type(fact)):
            book(self, fact)

    def fold_all(self, many: Iterable[Fact]) -> "Ledger":
        """Book many facts; returns itself."""
        for fact in many:
            self.fold(fact)
        return self


def _folds(kind: type[Fact]) -> Callable[[Callable[[Ledger, Any], None]], Callable[[Ledger, Any], None]]:
    def register(function: Callable[[Ledger, Any], None]) -> Callable[[Ledger, Any], None]:
        assert kind not in _FOLDS, kind
        _FOLDS[kind] = function
        return function

    return register


# ---- site and nodes ----------------------------------------------------------------------------


@_folds(facts.SiteOpened)
def _site_opened(ledger: Ledger, fact: facts.SiteOpened) -> None:
    now = ledger.terms[-1]
    if ledger.site is None or (now.chip, now.prices) != (fact.site.chip, fact.prices):
        ledger.turn_to(Terms(fact.site.chip, fact.prices, ledger.now))
    ledger.site = fact.site
    declared = {place.node: place.chips for place in fact.site.places()}
    for node, chips in declared.items():
        if node not in ledger.nodes:
            ledger.add_node(node, chips)
        elif ledger.nodes[node].state == NodeState.RETIRED:
            _enter(ledger, ledger.nodes[node], NodeState.JOINING)
    for node, record in ledger.nodes.items():
        if node not in declared and record.state != NodeState.RETIRED:
            _enter(ledger, record, NodeState.RETIRED)


@_folds(facts.IdleExplained)
def _idle_explained(ledger: Ledger, fact: facts.IdleExplained) -> None:
    ledger.clock.explain(fact.reason)


@_folds(facts.NodeMoved)
def _node_moved(ledger: Ledger, fact: facts.NodeMoved) -> None:
    _enter(ledger, ledger.nodes[fact.node], fact.state)


def _enter(ledger: Ledger, node: Node, state: NodeState) -> None:
    if state in GONE:
        _release(ledger, node, retiring=state == NodeState.RETIRED)

    def change(node: Node) -> None:
        node.state, node.lost = state, False

    ledger.change_node(node, change)
    if node.lost_at is not None and state == NodeState.READY:
        ledger.repairs.append(ledger.now - node.lost_at)
        node.lost_at = None


@_folds(facts.NodeSpared)
def _node_spared(ledger: Ledger, fact: facts.NodeSpared) -> None:
    def change(node: Node) -> None:
        node.spare = fact.spare

    ledger.change_node(ledger.nodes[fact.node], change)


@_folds(facts.NodeLost)
def _node_lost(ledger: Ledger, fact: facts.NodeLost) -> None:
    def change(node: Node) -> None:
        node.lost = node.state != NodeState.RETIRED

    node = ledger.nodes[fact.node]
    ledger.losses += 1
    node.losses += 1
    node.lost_at = ledger.now if node.lost_at is None else node.lost_at
    _release(ledger, node, retiring=False)
    ledger.change_node(node, change)


def _release(ledger: Ledger, node: Node, *, retiring: bool) -> None:
    """The node does nothing for anyone: its chips leave their gangs, whose useful time ends with it."""
    for gang in list(node.gangs.values()):
        finished = gang.done.get(node.node) == 0
        if node.node in gang.present and (retiring or not finished):
            _end(ledger, gang, Slot.RESTART_SITE)
            ledger.give_back(gang, node.node)


# ---- tenants and jobs --------------------------------------------------------------------------


@_folds(facts.TenantSet)
def _tenant_set(ledger: Ledger, fact: facts.TenantSet) -> None:
    ledger.tenant(fact.tenant.name)


@_folds(facts.JobAdmitted)
def _job_admitted(ledger: Ledger, fact: facts.JobAdmitted) -> None:
    job = ledger.jobs[fact.job] = Job(fact.job, fact.spec, ledger.now, ledger.clock)
    ledger.tenant(job.tenant).jobs.append(fact.job)


@_folds(facts.JobForecast)
def _job_forecast(ledger: Ledger, fact: facts.JobForecast) -> None:
    ledger.jobs[fact.job].forecast = fact.forecast


@_folds(facts.JobEnded)
def _job_ended(ledger: Ledger, fact: facts.JobEnded) -> None:
    job = ledger.jobs[fact.job]
    job.outcome, job.ended_at, job.runs = fact.outcome, ledger.now, []


# ---- gangs -------------------------------------------------------------------------------------


@_folds(facts.GangPlaced)
def _gang_placed(ledger: Ledger, fact: facts.GangPlaced) -> None:
    owner: Owner = ledger.jobs[fact.job] if fact.job else ledger.services[fact.service]
    members: dict[NodeId, int] = {member.node: member.chip_count for member in fact.members}
    gang = Gang(fact.attempt, owner, members, ledger.now)
    gang.slot = Slot.RESTART_SITE if owner.last_cause in SITE_CAUSES else Slot.RESTART_OWN
    owner.last_cause = "done"
    owner.placements += 1
    if isinstance(owner, Job) and owner.first_placed_at is None:
        owner.first_placed_at = ledger.now
    ledger.take_chips(gang)


@_folds(facts.GangRunning)
def _gang_running(ledger: Ledger, fact: facts.GangRunning) -> None:
    gang = ledger.gangs.get(fact.attempt)
    if gang is None or gang.phase == Phase.ENDING:
        return
    gang.phase = Phase.USEFUL
    if isinstance(gang.owner, Job):
        _resume(ledger, gang, gang.owner, fact.step)
        ledger.move_gang(gang, Slot.PRODUCTIVE)
    else:
        ledger.move_gang(gang, Slot.SERVING)


def _resume(ledger: Ledger, gang: Gang, job: Job, step: int) -> None:
    """Training goes on after `step`; a plain command may say so a second time, when it has loaded."""
    if gang.timeline is None:
        _settle_earlier(ledger, job, step)
        gang.timeline = Timeline(step, ledger.now)
        job.runs.append(gang)
    elif gang.timeline.fresh and gang.timeline.step != step:
        job.runs.pop()
        _settle_earlier(ledger, job, step)
        gang.timeline.step = step
        job.runs.append(gang)
    if job.interrupted_at is not None:
        job.recoveries.append(ledger.now - job.interrupted_at)
        job.interrupted_at = None


def _settle_earlier(ledger: Ledger, job: Job, step: int) -> None:
    """Only now is it known what earlier attempts' work was worth: all up to `step`, nothing after it.

    A checkpoint that turned out unreadable takes work away from any of them. One that was complete but
    not reported gives work back to the last; what the others lost has been done again since.
    """
    for run in job.runs:
        assert run.timeline is not None
        if step < run.timeline.kept:
            ledger.book(run, run.timeline.keep(step, Slot.LOST_SITE))
        elif run is job.runs[-1]:
            ledger.book(run, run.timeline.keep(step, run.lost_slot))


@_folds(facts.ReplicaStalled)
def _replica_stalled(ledger: Ledger, fact: facts.ReplicaStalled) -> None:
    gang = ledger.gangs.get(fact.attempt)
    if gang is not None and gang.phase == Phase.USEFUL:
        gang.phase = Phase.STALLED
        ledger.move_gang(gang, Slot.RESTART_OWN)


@_folds(facts.StepsDone)
def _steps_done(ledger: Ledger, fact: facts.StepsDone) -> None:
    gang = ledger.gangs.get(fact.attempt)
    if gang is None or gang.timeline is None or not isinstance(gang.owner, Job):
        return
    job = gang.owner
    job.step, job.tokens, job.flops = fact.step, job.tokens + fact.tokens, job.flops + fact.flops
    if fact.step_ns:
        job.step_ns.add(fact.step_ns)
    if not gang.ended:
        ledger.book(gang, gang.timeline.reported(fact.step, ledger.now, ledger.term))


@_folds(facts.CheckpointRecorded)
def _checkpoint_recorded(ledger: Ledger, fact: facts.CheckpointRecorded) -> None:
    gang = ledger.gangs.get(fact.attempt)
    if gang is None or gang.timeline is None or not isinstance(gang.owner, Job):
        return
    stored = fact.tier == "storage"
    gang.owner.checkpoints += stored
    until = ledger.now if gang.ended_at is None else gang.ended_at
    ledger.book(gang, gang.timeline.checkpointed(fact.step, fact.stall_ns, until, ledger.term, stored))


@_folds(facts.MemberDone)
def _member_done(ledger: Ledger, fact: facts.MemberDone) -> None:
    if gang := ledger.gangs.get(fact.attempt):
        gang.done[fact.node] = fact.code


@_folds(facts.GangStopping)
def _gang_stopping(ledger: Ledger, fact: facts.GangStopping) -> None:
    gang = ledger.gangs.get(fact.attempt)
    if gang is not None and fact.cause != "done":
        _end(ledger, gang, Slot.RESTART_SITE if fact.cause in SITE_CAUSES else Slot.RESTART_OWN)


def _end(ledger: Ledger, gang: Gang, slot: Slot) -> None:
    """What the gang's chips do from now on is no work any more. An end that the site caused stays so."""
    if gang.phase == Phase.ENDING and gang.slot == Slot.RESTART_SITE:
        return
    if gang.timeline and not gang.ended:
        gang.timeline.cut(ledger.now, ledger.term)
    if gang.ended_at is None:
        gang.ended_at = ledger.now
    gang.phase = Phase.ENDING
    ledger.move_gang(gang, slot)


@_folds(facts.GangStopped)
def _gang_stopped(ledger: Ledger, fact: facts.GangStopped) -> None:
    gang = ledger.gangs.get(fact.attempt)
    if gang is None:
        return
    _end(ledger, gang, Slot.RESTART_SITE if fact.cause in SITE_CAUSES else gang.slot)
    owner = gang.owner
    owner.last_cause = fact.cause
    owner.interruptions[fact.cause] = owner.interruptions.get(fact.cause, 0) + 1
    gang.lost_slot = Slot.LOST_SITE if fact.cause in SITE_CAUSES else Slot.LOST_OWN
    if gang.timeline and fact.cause != "done":
        ledger.book(gang, gang.timeline.keep(fact.kept_step, gang.lost_slot))
    if gang.timeline and isinstance(owner, Job) and fact.cause != "done" and owner.interrupted_at is None:
        owner.interrupted_at = gang.ended_at
    ledger.close(gang)


# ---- services ----------------------------------------------------------------------------------


@_folds(facts.ServiceSet)
def _service_set(ledger: Ledger, fact: facts.ServiceSet) -> None:
    if fact.service in ledger.services:
        ledger.services[fact.service].spec = fact.spec
        return
    service = ledger.services[fact.service] = Service(fact.service, fact.spec, ledger.clock)
    ledger.tenant(service.tenant).services.append(fact.service)


@_folds(facts.TokensServed)
def _tokens_served(ledger: Ledger, fact: facts.TokensServed) -> None:
    ledger.tenant(fact.tenant)
    ledger.meter.served(fact, ledger.term)
