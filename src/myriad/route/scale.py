"""How many replicas a service should have for the load the gateway observed: up at once, down with patience.

A replica that is missing costs every waiting client; one too many costs a chip for a minute. So the count
rises at once and falls one at a time (a tenth of many), only after the load has long needed fewer.
"""

import math

import msgspec

from myriad.kernel.units import Span, show_span
from myriad.route.policy import Policy
from myriad.workload.services import InferenceService

#: Of many replicas, one in so many is given back at a time: a service of hundreds would not follow its day
#: otherwise, nor give back before the night is over what a burst at noon called for. Estimated.
_STEP = 10


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A count of replicas and its reason."""

    replicas: int
    why: str
    #: Look again after this many nanoseconds although nothing changed (0: no need).
    again_ns: Span = 0


def needed(spec: InferenceService, in_flight: float, queued: int) -> int:
    """Replicas that this load fills, within the service's limits."""
    load = math.ceil((in_flight + queued) / spec.concurrency)
    return max(spec.replicas.min, min(spec.replicas.max, load))


def want(
    spec: InferenceService, in_flight: float, queued: int, current: int, idle_ns: Span, policy: Policy
) -> Wanted:
    """The count of replicas there should be now.

    `idle_ns` is how long `needed` has been below `current`, counted anew from each change of `current`:
    that is what makes it fall step by step.
    """
    count = needed(spec, in_flight, queued)
    if current > spec.replicas.max:
        return Wanted(replicas=spec.replicas.max, why=f"at most {spec.replicas.max} allowed")
    if count > current:
        return Wanted(replicas=count, why=_up(spec, in_flight, queued, count))
    if count == current:
        return Wanted(replicas=current, why=f"{current} match the load")
    fewer = max(count, current - max(1, current // _STEP))
    return _down(in_flight, queued, current, fewer, idle_ns, policy)


def _up(spec: InferenceService, in_flight: float, queued: int, count: int) -> str:
    if in_flight + queued <= spec.concurrency * (count - 1):
        return f"at least {spec.replicas.min} wanted"
    load = f"{in_flight:.1f} in flight and {queued} queued at {spec.concurrency} a replica"
    return f"{load}, {spec.replicas.max} at most" if count == spec.replicas.max else load


def _down(in_flight: float, queued: int, current: int, fewer: int, idle_ns: Span, policy: Policy) -> Wanted:
    # the last replica is given up only by a service that may have none and has no request at all
    patience_ns = policy.ns("idle_to_zero" if current == 1 else "scale_down_after")
    why = "no request" if current == 1 else f"{in_flight:.1f} in flight and {queued} queued need fewer"
    if idle_ns >= patience_ns:
        return Wanted(replicas=fewer, why=f"{why} for {show_span(patience_ns)}")
    return Wanted(
        replicas=current,
        why=f"{why}, waiting {show_span(patience_ns)} to be sure",
        again_ns=patience_ns - idle_ns,
    )
