"""The scheduling cycle inside a step: asks in, facts out. Runs only when something it depends on changed."""

from collections.abc import Iterator

from myriad.control import asks, forecast, on_gangs
from myriad.control.moment import Moment
from myriad.control.state import GangPhase
from myriad.kernel.ids import JobId, ServiceId, attempt_of
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.values import IdleReason
from myriad.schedule import plan, spares
from myriad.schedule.asks import Placed, Waits

#: Facts after which another placement may be possible or due.
TRIGGERS = (
    facts.SiteOpened,
    facts.SiteClosed,
    facts.TenantSet,
    facts.JobAdmitted,
    facts.JobEnded,
    facts.GangStopped,
    facts.NodeMoved,
    facts.NodeCordoned,
    facts.LeaveAsked,
    facts.ServiceSet,
    facts.ServiceScaled,
    facts.ServiceRemoved,
)


def cycle(m: Moment) -> Iterator[Fact]:
    """Place what can be placed, top up the spares, promise times, and say why chips are idle."""
    if m.state.site is None:
        return
    waits: dict[str, Waits] = {}
    unpromised = [job for name in m.state.waiting if not (job := m.state.jobs[name]).forecast]
    if m.state.open:
        yield from _trim_services(m)
        for decision in plan.plan(m.state, list(asks.of_site(m)), m.now):
            if isinstance(decision, Placed):
                yield from _place(m, decision)
            else:
                waits[decision.ask.owner] = decision
        for node in spares.missing(m.state.columns, m.state.site.spares):
            yield facts.NodeSpared(at=m.now, node=node, spare=True)
    for job in unpromised:
        yield forecast.promise(m, job, waits.get(job.job))
    reason = _idle_reason(m, waits)
    if reason != m.state.idle:
        yield facts.IdleExplained(at=m.now, reason=reason)


def _place(m: Moment, decision: Placed) -> Iterator[Fact]:
    ask = decision.ask
    job, service = ask.job or JobId(""), ask.service or ServiceId("")
    attempts = m.state.jobs[job].attempts if job else m.state.services[service].attempts
    for member in decision.members:
        if m.state.columns.spare[m.state.columns.index[member.node]]:
            yield facts.NodeSpared(at=m.now, node=member.node, spare=False)
    yield facts.GangPlaced(
        at=m.now,
        attempt=attempt_of(job or service, attempts + 1),
        job=job,
        service=service,
        members=decision.members,
        until=m.after("start_timeout"),
        replaced=decision.replaced,
    )


def _trim_services(m: Moment) -> Iterator[Fact]:
    """Stop replicas nobody wants any more: those not yet ready first, then the newest."""
    for service in list(m.state.services.values()):
        gangs = asks.staying(m.state, service)
        extra = len(gangs) - service.wanted
        order = sorted(enumerate(gangs), key=lambda item: (item[1].phase is GangPhase.RUNNING, -item[0]))
        for _, gang in order[: max(0, extra)]:
            yield from on_gangs.stop(m, gang, "scaled", service.why or "fewer replicas are wanted")


def _idle_reason(m: Moment, waits: dict[str, Waits]) -> IdleReason:
    """Why chips that are free are free. One reason for the site: the strongest that applies."""
    codes = {wait.reason.code: None for wait in waits.values()}
    if not m.state.open:
        return "held_back"
    if "capacity" in codes or "fragmentation" in codes:
        return "fragmentation"
    if "quota" in codes:
        return "quota"
    held = any(m.state.jobs[name].held_until > m.now for name in m.state.waiting)
    return "held_back" if held or "priority" in codes else "no_demand"
