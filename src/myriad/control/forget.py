"""What is forgotten of work that is over, so that a control plane can go on for years. Part of `apply`.

The journal and the ledger keep everything; this is about what can be asked of the live state.
"""

from typing import Final

from myriad.control.records import Ended, Job
from myriad.control.state import State
from myriad.kernel.ids import ServiceId
from myriad.kernel.units import Span

#: Ended jobs that can still be asked about, the newest: two days of a site of 100,000 chips that ends 2
#: million jobs in 90 days, and some 85 MB at 1.7 kB each (measured on jobs of one attempt). Estimated.
KEPT_JOBS: Final = 50_000
#: Attempts of one job that its story shows; what is decided looks at far fewer (`escalation`). Estimated.
KEPT_ATTEMPTS: Final = 64
#: Kinds of work whose step time is remembered, the last seen. Estimated: some hundred bytes each.
KEPT_STEP_TIMES: Final = 10_000


def job_ended(state: State, job: Job) -> None:
    """One more is over. The oldest is forgotten, unless a service names it as where its model is from."""
    state.ended.append(job.job)
    for _ in range(len(state.ended) - KEPT_JOBS):
        oldest = state.ended.popleft()
        if _is_served(state, state.jobs[oldest]):
            state.ended.append(oldest)
        else:
            del state.jobs[oldest]


def _is_served(state: State, job: Job) -> bool:
    names = (job.job, job.spec.name)
    return job.outcome == "succeeded" and any(
        service.spec.model.job in names and service.spec.tenant == job.spec.tenant
        for service in state.services.values()
    )


def attempt_ended(job: Job, ended: Ended) -> None:
    """One more chapter of its story."""
    job.history = (*job.history[1 - KEPT_ATTEMPTS :], ended)


def service_gone(state: State, service: ServiceId) -> None:
    """It is removed: the names of its replicas are not given again, should it come back."""
    state.former_attempts[service] = state.services.pop(service).attempts


def step_seen(state: State, work: str, step_ns: Span) -> None:
    """The step time of work of that signature, for forecasts of more of it."""
    state.observed_ns.pop(work, None)
    state.observed_ns[work] = step_ns
    if len(state.observed_ns) > KEPT_STEP_TIMES:
        del state.observed_ns[next(iter(state.observed_ns))]
