"""The scheduling cycle inside a step: asks in, facts out. Runs only when something it depends on changed."""

from collections.abc import Iterator, Sequence
from typing import Final

from myriad.control import asks, forecast, on_gangs
from myriad.control.moment import Moment
from myriad.control.records import Gang, GangPhase
from myriad.kernel.ids import JobId, ServiceId, attempt_of
from myriad.kernel.units import MINUTE, Instant, Span
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.values import IdleReason
from myriad.schedule import elastic, place, plan, quota, spares
from myriad.schedule.asks import Leaves, Placed, Waits

#: So long after a cycle there is another while a gang waits for room or could grow. Estimated.
_SOON: Final[Span] = 5 * MINUTE

#: Facts after which another placement may be possible or due.
TRIGGERS = frozenset(
    {
        facts.SiteOpened,
        facts.SiteClosed,
        facts.TenantSet,
        facts.JobAdmitted,
        facts.JobEnded,
        facts.GangStopped,
        facts.NodeMoved,
        facts.NodeCordoned,
        facts.NodeTaken,
        facts.LeaveAsked,
        facts.ServiceSet,
        facts.ServiceScaled,
        facts.ServiceRemoved,
        facts.WindowSet,
        facts.WindowEnded,
    }
)


def cycle(m: Moment, happened: Sequence[Fact]) -> Iterator[Fact]:
    """Place what can be placed, top up the spares, promise times, and say why chips are idle."""
    if m.state.site is None:
        return
    board = m.board
    board.share(m.now)
    new, only_new = [], board.settled
    for fact in happened:
        if type(fact) is facts.JobAdmitted:
            new.append(fact.job)
        elif type(fact) in TRIGGERS:
            only_new = False
    waits: dict[str, Waits] = {}
    if m.state.open:
        if m.state.services:
            yield from _trim_services(m)
        news = [ask for job in new if (ask := board.queue.get(job))] if only_new and new else None
        for decision in plan.plan(m.state, board, m.rules, m.now, news):
            if isinstance(decision, Placed):
                yield from _place(m, decision)
            elif isinstance(decision, Leaves):
                yield from _send_away(m, decision)
            else:
                waits[decision.ask.owner] = decision
        if m.state.site.spares:
            yield from _keep_spares(m)
        if board.front is None and board.small and m.policy.elastic.grow:
            yield from _grow(m)
        board.settled = True
        if (due := _look_again_at(m)) and not m.now < m.state.look_again_at <= due:
            yield facts.LookAgain(at=m.now, until=due)
    for job in new:
        yield forecast.promise(m, m.state.jobs[job], waits.get(job) or _decided(m, job))
    reason = _idle_reason(m)
    if reason != m.state.idle:
        yield facts.IdleExplained(at=m.now, reason=reason)


def _look_again_at(m: Moment) -> Instant:
    """When to decide again even if nothing happens; 0: no such instant is ahead.

    When victims may be found, or a wait for fewer racks or a budget ends. And soon while a gang waits for
    room or could grow, since time alone changes who may: shares and starvation change the order, who outlives
    its prediction is expected to go on for longer, and what has loaded at last can leave.
    """
    board = m.board
    coming = [*board.victims_at.values(), *board.gathers.values(), m.state.next_budgets()]
    if board.front is not None or (board.small and m.policy.elastic.grow):
        coming.append(m.now + _SOON)
    return min((at for at in coming if at > m.now), default=0)


def _decided(m: Moment, job: JobId) -> Waits | None:
    """Why a new job waits that the whole queue was decided about with; None: it does not."""
    ask = m.board.queue.get(job)
    if ask is None or not m.state.open:
        return None
    decision = plan.decide(m.state, m.board, m.rules, m.now, ask)
    return decision if isinstance(decision, Waits) else None


def _keep_spares(m: Moment) -> Iterator[Fact]:
    """As many hot spares as the site says, or as each pod is found to need."""
    assert m.state.site is not None
    columns, wanted = m.state.columns, m.state.site.spares
    if wanted == "auto":
        if m.board.spares_due:
            for node in spares.surplus(columns, m.board.spares_wanted(m.policy)):
                yield facts.NodeSpared(at=m.now, node=node, spare=False)
        enough = columns.spares >= int(m.board.spares_wanted(m.policy).sum())
    else:
        enough = columns.spares >= wanted
    if not enough:
        for node in spares.missing(columns, m.board.spares_wanted(m.policy) if wanted == "auto" else wanted):
            yield facts.NodeSpared(at=m.now, node=node, spare=True)


def _place(m: Moment, decision: Placed) -> Iterator[Fact]:
    ask, columns = decision.ask, m.state.columns
    job, service = ask.job or JobId(""), ask.service or ServiceId("")
    attempts = m.state.jobs[job].attempts if job else m.state.services[service].attempts
    if columns.spares:
        for member, row in zip(decision.members, decision.rows, strict=True):
            if columns.spare[row]:
                yield facts.NodeSpared(at=m.now, node=member.node, spare=False)
    yield facts.GangPlaced(
        at=m.now,
        attempt=attempt_of(job or service, attempts + 1),
        job=job,
        service=service,
        owner=ask.owner,
        members=decision.members,
        until=m.after("start_timeout"),
        replaced=decision.replaced,
        run_ns=ask.run_on(len(decision.members)),
    )


def _send_away(m: Moment, decision: Leaves) -> Iterator[Fact]:
    gang = m.state.gangs[decision.attempt]
    until = m.now + decision.grace_ns if decision.grace_ns else 0
    yield from on_gangs.ask_to_leave(
        m, gang, decision.why, until, cause=decision.cause, claimant=decision.claimant
    )


def _grow(m: Moment) -> Iterator[Fact]:
    """Let one elastic gang come back larger; the others when it did, for they may want the same nodes."""
    knobs = m.policy.elastic
    gangs = [m.state.gangs[attempt] for attempt in m.board.small]
    if any(gang.leave_request for gang in gangs):
        return
    for gang in gangs:
        job, nodes = m.state.jobs[gang.job], len(gang.nodes)
        young = m.now - gang.placed_at < knobs.ns("settle")
        if gang.phase is not GangPhase.RUNNING or young or job.cancel_by is not None:
            continue
        size = elastic.larger(job.sizes, nodes, _free_for(m, gang))
        left_ns = m.state.ends_at(gang) - m.now
        if size and elastic.pays(left_ns, nodes, size, knobs.ns("restart"), knobs.gain):
            yield from _send_away(m, _grown(gang, nodes, size))
            return


def _grown(gang: Gang, nodes: int, size: int) -> Leaves:
    return Leaves(gang.attempt, "resized", "", f"grows from {nodes} to {size} nodes", 0)


def _free_for(m: Moment, gang: Gang) -> int:
    """Nodes by which the gang could grow: free, for it, where it may be, and inside its tenant's quota."""
    ask = asks.of_job(m.state, m.state.jobs[gang.job])
    may = quota.headroom(m.state, gang.tenant) // gang.chips_per_node
    return min(place.beside(m.state.columns, ask, m.state.barred(ask, m.now)), may) if may > 0 else 0


def _trim_services(m: Moment) -> Iterator[Fact]:
    """Stop replicas nobody wants any more: those not yet ready first, then the newest."""
    for service in list(m.state.services.values()):
        if len(service.gangs) <= service.wanted:
            continue
        gangs = asks.staying(m.state, service)
        extra = max(0, len(gangs) - service.wanted)
        order = sorted(enumerate(gangs), key=lambda item: (item[1].phase is GangPhase.RUNNING, -item[0]))
        for _, gang in order[:extra]:
            yield from on_gangs.stop(m, gang, "scaled", service.why or "fewer replicas are wanted")


def _idle_reason(m: Moment) -> IdleReason:
    """Why chips that are free are free. One reason for the site: the strongest that applies."""
    if not m.state.open:
        return "held_back"
    if m.board.front is not None:
        return "fragmentation"
    if m.board.full.chips and len(m.board.queue):
        return "quota"
    waiting = m.state.waiting
    return "held_back" if waiting and len(waiting) > m.board.jobs_waiting else "no_demand"
