"""The fold: what each fact means for the books. Only it writes; `views`, `invoices`, `predictions` read."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import JobId, NodeId
from myriad.kernel.units import Instant, Span
from myriad.ledger import buckets, past
from myriad.ledger.books import Books
from myriad.ledger.buckets import Slot
from myriad.ledger.medians import Sample
from myriad.ledger.records import GONE, UNHEARD, Gang, Job, Node, Owner, Phase, Service
from myriad.ledger.stretches import NO_PARTS, Parts, Shift, Timeline
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.values import StopCause

#: Nobody does the work again: it is done, or its owner has seen enough of it.
_NOT_REDONE: frozenset[StopCause] = frozenset({"done", "cancelled"})
#: Causes that are the site's doing: the tenant pays neither for the work lost nor for the restart.
SITE_CAUSES: frozenset[StopCause] = frozenset({"node", "moved"})
#: Ended jobs of which each is still known by itself.
KEEP_ENDED = 100_000

_FOLDS: dict[type[Fact], Callable[["Ledger", Any], None]] = {}


class Ledger(Books):
    """The books of one site, from its first fact on."""

    def __init__(self, keep_ended: int = KEEP_ENDED) -> None:
        """Of more than `keep_ended` jobs that ended, the oldest are remembered as one for each tenant."""
        super().__init__()
        self._keep_ended = keep_ended
        self._ended: deque[JobId] = deque()

    def fold(self, fact: Fact) -> None:
        """Book one fact. A fact older than the books is booked now: chip-time already told stays told."""
        self.now = max(self.now, fact.at)
        book = _FOLDS.get(type(fact))
        if book is not None:
            book(self, fact)

    def fold_all(self, many: Iterable[Fact]) -> "Ledger":
        """Book many facts; returns itself."""
        for fact in many:
            self.fold(fact)
        return self

    def end_job(self, job: Job) -> None:
        """The job is over; if too many are kept by now, the oldest is forgotten."""
        past.count(self, job)
        self._ended.append(job.job)
        while len(self._ended) > self._keep_ended:
            past.forget(self, self._ended.popleft())


def _folds(kind: type[Fact]) -> Callable[[Callable[[Ledger, Any], None]], Callable[[Ledger, Any], None]]:
    def register(function: Callable[[Ledger, Any], None]) -> Callable[[Ledger, Any], None]:
        assert kind not in _FOLDS, kind
        _FOLDS[kind] = function
        return function

    return register


# ---- site and nodes ----------------------------------------------------------------------------


@_folds(facts.SiteOpened)
def _site_opened(ledger: Ledger, fact: facts.SiteOpened) -> None:
    places = fact.site.places()
    if ledger.site is None or _other_terms(ledger, fact):
        ledger.turn_to(fact.site, fact.prices)
    ledger.site = fact.site
    for gang in ledger.gangs.values():
        if gang.timeline is not None:
            gang.timeline.unheard()
    declared = {place.node for place in places}
    for place in places:
        if place.node not in ledger.nodes:
            ledger.add_node(place.node, place.pod, place.rack, place.chips, place.chip)
        elif ledger.nodes[place.node].state == NodeState.RETIRED:
            _enter(ledger, ledger.nodes[place.node], NodeState.JOINING)
    for node, record in ledger.nodes.items():
        if node not in declared and record.state != NodeState.RETIRED:
            _enter(ledger, record, NodeState.RETIRED)


def _other_terms(ledger: Ledger, fact: facts.SiteOpened) -> bool:
    """Whether prices changed, or a node has another type of chip, or there is a type not known yet."""
    chips = {place.node: place.chip for place in fact.site.places()}
    return any(
        chip not in ledger.terms_of or ledger.terms[ledger.terms_of[chip]].prices != fact.prices
        for chip in (fact.site.chip, *fact.site.kinds())
    ) or any(
        ledger.terms[node.terms].chip != chips.get(name, ledger.terms[node.terms].chip)
        for name, node in ledger.nodes.items()
    )


@_folds(facts.IdleExplained)
def _idle_explained(ledger: Ledger, fact: facts.IdleExplained) -> None:
    ledger.explain_idle(ledger.idle.then(fact.reason, ledger.now))


@_folds(facts.NodeMoved)
def _node_moved(ledger: Ledger, fact: facts.NodeMoved) -> None:
    _enter(ledger, ledger.nodes[fact.node], fact.state)


def _enter(ledger: Ledger, node: Node, state: NodeState) -> None:
    if state in GONE:
        _release(ledger, node, retiring=state == NodeState.RETIRED)

    node.state, node.lost = state, False
    node.taken = node.taken and state not in UNHEARD
    ledger.change_node(node)
    if node.lost_at is not None and state in (NodeState.READY, NodeState.OCCUPIED):
        span = ledger.now - node.lost_at
        ledger.repairs, ledger.repair_ns = ledger.repairs + 1, ledger.repair_ns + span
        node.repairs, node.repair_ns, node.lost_at = node.repairs + 1, node.repair_ns + span, None


@_folds(facts.NodeSpared)
def _node_spared(ledger: Ledger, fact: facts.NodeSpared) -> None:
    node = ledger.nodes[fact.node]
    node.spare = fact.spare
    ledger.change_node(node)


@_folds(facts.NodeTaken)
def _node_taken(ledger: Ledger, fact: facts.NodeTaken) -> None:
    node = ledger.nodes[fact.node]
    node.taken = bool(fact.by)
    ledger.change_node(node)


@_folds(facts.NodeLost)
def _node_lost(ledger: Ledger, fact: facts.NodeLost) -> None:
    node = ledger.nodes[fact.node]
    ledger.losses += 1
    node.losses += 1
    node.lost_at = ledger.now if node.lost_at is None else node.lost_at
    _release(ledger, node, retiring=False, since=fact.since)
    node.lost = node.state != NodeState.RETIRED
    ledger.change_node(node)


def _release(ledger: Ledger, node: Node, *, retiring: bool, since: Instant = 0) -> None:
    """The node does nothing for anyone: its chips leave their gangs, whose useful time ended with it."""
    for gang in list(node.gangs.values()):
        finished = gang.done.get(node.node) == 0
        if node.node not in gang.away and (retiring or not finished):
            _end(ledger, gang, buckets.RESTART_SITE, since)
            ledger.give_back(gang, node.node)


# ---- tenants and jobs --------------------------------------------------------------------------


@_folds(facts.TenantSet)
def _tenant_set(ledger: Ledger, fact: facts.TenantSet) -> None:
    ledger.tenant(fact.tenant.name)


@_folds(facts.JobAdmitted)
def _job_admitted(ledger: Ledger, fact: facts.JobAdmitted) -> None:
    job = ledger.jobs[fact.job] = ledger.open_jobs[fact.job] = Job(fact.job, fact.spec, ledger.now)
    ledger.tenant(job.tenant).jobs[fact.job] = None


@_folds(facts.JobForecast)
def _job_forecast(ledger: Ledger, fact: facts.JobForecast) -> None:
    ledger.jobs[fact.job].forecast = fact.forecast


@_folds(facts.JobEnded)
def _job_ended(ledger: Ledger, fact: facts.JobEnded) -> None:
    job = ledger.open_jobs.pop(fact.job, None)
    if job is not None:
        job.end(fact.outcome, ledger.now)
        ledger.end_job(job)


# ---- gangs -------------------------------------------------------------------------------------


@_folds(facts.GangPlaced)
def _gang_placed(ledger: Ledger, fact: facts.GangPlaced) -> None:
    owner: Owner = ledger.jobs[fact.job] if fact.job else ledger.services[fact.service]
    members: dict[NodeId, int] = {member.node: member.chip_count for member in fact.members}
    gang = Gang(fact.attempt, owner, ledger.tenant(owner.tenant), members, ledger.now)
    gang.slot = buckets.RESTART_SITE if owner.last_cause in SITE_CAUSES else buckets.RESTART_OWN
    owner.last_cause = "done"
    owner.placements += 1
    ledger.take_chips(gang)
    if isinstance(owner, Job):
        owner.chip = ledger.terms[gang.terms].chip
        if owner.first_placed_at is None:
            owner.first_placed_at = ledger.now


@_folds(facts.GangRunning)
def _gang_running(ledger: Ledger, fact: facts.GangRunning) -> None:
    gang = ledger.gangs.get(fact.attempt)
    if gang is None or gang.phase == Phase.ENDING:
        return
    gang.phase = Phase.USEFUL
    if gang.useful_at is None:
        gang.useful_at = ledger.now
    if isinstance(gang.owner, Job):
        _resume(ledger, gang, gang.owner, fact.step)
        ledger.move_gang(gang, buckets.PRODUCTIVE)
    else:
        ledger.move_gang(gang, buckets.SERVING_HEADROOM)


def _resume(ledger: Ledger, gang: Gang, job: Job, step: int) -> None:
    """Training goes on after `step`; a plain command may say so a second time, when it has loaded."""
    if gang.timeline is None:
        _settle_earlier(ledger, job, step)
        gang.timeline = Timeline(step, ledger.now, job.paces, len(gang.members))
        job.runs.append(gang)
    elif gang.timeline.fresh and gang.timeline.step != step:
        job.runs.pop()
        _settle_earlier(ledger, job, step)
        gang.timeline.step = step
        job.runs.append(gang)
    if job.interrupted_at is not None:
        span, job.interrupted_at = ledger.now - job.interrupted_at, None
        for sums in (job, ledger, ledger.classes.of(job.spec.chips)):
            sums.recoveries, sums.recovery_ns = sums.recoveries + 1, sums.recovery_ns + span


def _settle_earlier(ledger: Ledger, job: Job, step: int) -> None:
    """Only now is it known what earlier attempts' work was worth: all up to `step`, nothing after it.

    A checkpoint that turned out unreadable takes work away from any of them. One that was complete but
    not reported gives work back to the last; what the others lost has been done again since.
    """
    for run in job.runs:
        assert run.timeline is not None
        if step < run.timeline.kept:
            ledger.book(run, run.timeline.keep(step, buckets.LOST_SITE))
        elif run is job.runs[-1]:
            ledger.book(run, run.timeline.keep(step, run.lost_slot))


@_folds(facts.ReplicaStalled)
def _replica_stalled(ledger: Ledger, fact: facts.ReplicaStalled) -> None:
    gang = ledger.gangs.get(fact.attempt)
    if gang is not None and gang.phase == Phase.USEFUL:
        gang.phase = Phase.STALLED
        ledger.move_gang(gang, buckets.RESTART_OWN)


@_folds(facts.StepsDone)
def _steps_done(ledger: Ledger, fact: facts.StepsDone) -> None:
    gang = ledger.gangs.get(fact.attempt)
    if gang is None or gang.timeline is None or not isinstance(gang.owner, Job):
        return
    job = gang.owner
    job.step, job.tokens = fact.step, job.tokens + fact.tokens
    if fact.flops:
        for sums in (job, gang, gang.tenant, ledger):
            sums.flops += fact.flops
    if fact.step_ns:
        if not isinstance(job.step_ns, Sample):
            job.step_ns = Sample()
        job.step_ns.add(fact.step_ns)
    if gang.ended_at is None:
        parts = NO_PARTS
        if fact.straggled_ns or fact.exposed_ns or fact.throttled_ns:
            parts = Parts(fact.straggled_ns, fact.exposed_ns, fact.throttled_ns)
        ledger.book(gang, gang.timeline.reported(fact.step, ledger.now, gang.terms, fact.step_ns, parts))


@_folds(facts.CheckpointRecorded)
def _checkpoint_recorded(ledger: Ledger, fact: facts.CheckpointRecorded) -> None:
    gang = ledger.gangs.get(fact.attempt)
    if gang is None or gang.timeline is None or not isinstance(gang.owner, Job):
        return
    stored = fact.tier == "storage"
    gang.owner.checkpoints += stored
    until = ledger.now if gang.ended_at is None else gang.ended_at
    ledger.book(gang, gang.timeline.checkpointed(fact.step, fact.stall_ns, until, gang.terms, stored))


@_folds(facts.MemberDone)
def _member_done(ledger: Ledger, fact: facts.MemberDone) -> None:
    if gang := ledger.gangs.get(fact.attempt):
        gang.done[fact.node] = fact.code


@_folds(facts.GangStopping)
def _gang_stopping(ledger: Ledger, fact: facts.GangStopping) -> None:
    gang = ledger.gangs.get(fact.attempt)
    if gang is not None and fact.cause != "done":
        slot = buckets.RESTART_SITE if fact.cause in SITE_CAUSES else buckets.RESTART_OWN
        _end(ledger, gang, slot, fact.since)


def _end(ledger: Ledger, gang: Gang, slot: Slot, since: Instant = 0) -> None:
    """The gang's chips do no work any more, and did none since `since`. The site's doing stays so."""
    if gang.phase == Phase.ENDING and gang.slot == buckets.RESTART_SITE:
        return
    if gang.ended_at is None:
        gang.ended_at = ledger.now
        if 0 < since < ledger.now:
            _detect(ledger, gang, since, by_site=slot == buckets.RESTART_SITE)
        if gang.timeline is not None:
            gang.timeline.cut(gang.ended_at, gang.terms)
    gang.phase = Phase.ENDING
    ledger.move_gang(gang, slot)


def _detect(ledger: Ledger, gang: Gang, since: Instant, *, by_site: bool) -> None:
    """Work ended before anyone knew: what was booked as useful since then was the time to detect it.

    Steps that were reported, and checkpoints, were done all the same.
    """
    target = buckets.DETECT_SITE if by_site else buckets.DETECT_OWN
    if gang.timeline is not None:
        since = max(since, gang.timeline.settled_at)
        shifts = [Shift(gang.terms, buckets.PRODUCTIVE, target, ledger.now - since)]
    elif gang.slot == buckets.SERVING_HEADROOM:
        gang.bank_busy(ledger.now)
        since = max(since, gang.entered_at)
        shifts = _unserved(ledger, gang, ledger.now - since, target)
    else:
        return
    gang.ended_at = since
    if not by_site:
        gang.detected = (gang.terms, ledger.now - since)
    ledger.book(gang, shifts)


def _unserved(ledger: Ledger, gang: Gang, span: Span, target: Slot) -> list[Shift]:
    """A replica that was dead was neither busy nor ready, in the shares that its service had at last."""
    assert isinstance(gang.owner, Service)
    ledger.settle_service(gang.owner)
    terms = gang.terms
    gang.settle(ledger.now)
    was_busy = gang.shifts.get((terms, buckets.SERVING_HEADROOM, buckets.SERVING_BUSY), 0)
    had_room = gang.spans.get(buckets.SERVING_HEADROOM, 0) - was_busy
    busy = max(min(gang.owner.busy.part(span), was_busy), span - had_room)
    return [
        Shift(terms, buckets.SERVING_BUSY, target, busy),
        Shift(terms, buckets.SERVING_HEADROOM, target, span - busy),
    ]


@_folds(facts.GangStopped)
def _gang_stopped(ledger: Ledger, fact: facts.GangStopped) -> None:
    gang = ledger.gangs.get(fact.attempt)
    if gang is None:
        return
    _end(ledger, gang, buckets.RESTART_SITE if fact.cause in SITE_CAUSES else gang.slot)
    owner = gang.owner
    owner.last_cause = fact.cause
    owner.ends[fact.cause] = owner.ends.get(fact.cause, 0) + 1
    gang.lost_slot = buckets.LOST_SITE if fact.cause in SITE_CAUSES else buckets.LOST_OWN
    if gang.timeline and fact.cause not in _NOT_REDONE:
        ledger.book(gang, gang.timeline.keep(fact.kept_step, gang.lost_slot))
    if isinstance(owner, Job):
        past.count_gang(ledger, gang, fact.cause)
        if gang.timeline and fact.cause != "done" and owner.interrupted_at is None:
            owner.interrupted_at = gang.ended_at
    ledger.close(gang)


# ---- services ----------------------------------------------------------------------------------


@_folds(facts.ServiceSet)
def _service_set(ledger: Ledger, fact: facts.ServiceSet) -> None:
    if fact.service in ledger.services:
        ledger.services[fact.service].spec = fact.spec
        return
    service = ledger.services[fact.service] = Service(fact.service, fact.spec)
    ledger.tenant(service.tenant).services[fact.service] = None


@_folds(facts.ServiceLoaded)
def _service_loaded(ledger: Ledger, fact: facts.ServiceLoaded) -> None:
    service = ledger.services[fact.service]
    ledger.settle_service(service)
    service.busy.change(ledger.now, fact.busy)


@_folds(facts.TokensServed)
def _tokens_served(ledger: Ledger, fact: facts.TokensServed) -> None:
    ledger.tenant(fact.tenant)
    ledger.meter.served(fact, ledger.term)
