"""What follows from load and tokens: how many replicas are wanted, and what was served to whom."""

from collections.abc import Iterator

from myriad.control.moment import Moment
from myriad.control.records import GangPhase, Service, Usage
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.route import scale

#: A change of a service's busy share that is worth a fact: a twentieth of its capacity (chosen so that a
#: noisy load does not fill the journal; what is between two facts is wrong by at most that much).
_BUSIER = 0.05


def on_load(m: Moment, given: inputs.LoadObserved) -> Iterator[Fact]:
    """The gateway's load changed. A fact only when the number of replicas it needs did."""
    service = m.state.services.get(given.service)
    if service is None or service.removed:
        return
    in_flight, queued = max(0.0, float(given.in_flight)), max(0, given.queued)
    needs = scale.needed(service.spec, in_flight, queued)
    if needs != scale.needed(service.spec, service.in_flight, service.queued):
        yield from rescale(m, service, in_flight, queued)
    busy = given.busy if given.busy > 0 else _busy(m, service, in_flight)
    busy = min(busy, 1.0)
    if abs(busy - service.busy) > _BUSIER or (busy > 0) != (service.busy > 0):
        yield facts.ServiceLoaded(at=m.now, service=service.service, busy=busy)


def _busy(m: Moment, service: Service, in_flight: float) -> float:
    """What requests in flight fill of the replicas that are ready, by the concurrency of one."""
    ready = sum(m.state.gangs[attempt].phase is GangPhase.RUNNING for attempt in service.gangs)
    return in_flight / (ready * service.spec.concurrency) if ready else 0.0


def on_deadline(m: Moment, service: Service) -> Iterator[Fact]:
    """The patience before a scale-down is over (or back-off is: then the cycle after this places)."""
    if service.until and service.until <= m.now and not service.removed:
        yield from rescale(m, service, service.in_flight, service.queued)


def rescale(m: Moment, service: Service, in_flight: float, queued: int) -> Iterator[Fact]:
    """Decide the number of replicas for this load."""
    below = scale.needed(service.spec, in_flight, queued) < service.wanted
    below_since = (service.below_since or m.now) if below else 0
    idle_ns = m.now - below_since if below else 0
    verdict = scale.want(service.spec, in_flight, queued, service.wanted, idle_ns, m.policy.route)
    # the patience counts anew from each change, so that replicas go step by step
    if verdict.replicas < service.wanted:
        more = scale.needed(service.spec, in_flight, queued) < verdict.replicas
        below_since = m.now if more else 0
        again = scale.want(service.spec, in_flight, queued, verdict.replicas, 0, m.policy.route).again_ns
    else:
        again = verdict.again_ns
    yield facts.ServiceScaled(
        at=m.now,
        service=service.service,
        replicas=verdict.replicas,
        in_flight=in_flight,
        queued=queued,
        below_since=below_since,
        why=verdict.why,
        until=m.now + again if again else 0,
    )


def on_tokens(m: Moment, given: inputs.TokensMetered) -> Iterator[Fact]:
    """Tokens of a request, cumulative. Smaller numbers than known are late news and change nothing."""
    if given.tenant not in m.state.tenants:
        return
    known = m.state.metering.get(given.request, Usage(prompt_tokens=0, completion_tokens=0))
    grew = given.completion_tokens > known.completion_tokens or given.prompt_tokens > known.prompt_tokens
    if grew or given.final:
        yield facts.TokensServed(
            at=m.now,
            request=given.request,
            tenant=given.tenant,
            service=given.service,
            prompt_tokens=max(given.prompt_tokens, known.prompt_tokens),
            completion_tokens=max(given.completion_tokens, known.completion_tokens),
            final=given.final,
            estimated=given.estimated,
        )
