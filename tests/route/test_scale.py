"""Scaling: within limits, up at once, down one at a time and late, to zero only without any request."""

import math

from hypothesis import given
from hypothesis import strategies as st

from myriad.kernel.ids import TenantId
from myriad.kernel.units import MINUTE, SECOND
from myriad.route import scale
from myriad.route.policy import Policy
from myriad.workload.services import InferenceService, ModelSource, Replicas

POLICY = Policy()


def service(low: int, high: int, concurrency: int = 4) -> InferenceService:
    return InferenceService(
        name="coder",
        tenant=TenantId("acme"),
        model=ModelSource(path="/m"),
        replicas=Replicas(min=low, max=high),
        concurrency=concurrency,
    )


SPECS = st.builds(
    lambda low, more, each: service(low, low + more, each),
    st.integers(0, 4),
    st.integers(1, 6),
    st.integers(1, 16),
)
LOADS = st.floats(0, 200)
QUEUES = st.integers(0, 200)


@given(SPECS, LOADS, QUEUES, st.integers(0, 12), st.integers(0, 10 * MINUTE))
def test_the_law(spec: InferenceService, in_flight: float, queued: int, current: int, idle: int) -> None:
    wanted = scale.want(spec, in_flight, queued, current, idle, POLICY)
    low, high = spec.replicas.min, spec.replicas.max
    assert low <= wanted.replicas <= high
    assert wanted.replicas >= min(high, math.ceil((in_flight + queued) / spec.concurrency))
    if current <= high:
        assert wanted.replicas >= current - 1
    if queued or in_flight:
        assert wanted.replicas > 0
    if wanted.replicas < current <= high:
        assert idle >= POLICY.ns("scale_down_after")
    assert wanted.why


@given(SPECS, LOADS, QUEUES, st.integers(0, 12))
def test_more_load_never_wants_fewer(spec: InferenceService, load: float, queued: int, current: int) -> None:
    def count(queue: int) -> int:
        return scale.want(spec, load, queue, current, 0, POLICY).replicas

    assert count(queued) <= count(queued + 1)


def test_from_zero_at_once_when_someone_waits() -> None:
    assert scale.want(service(0, 3), 0.0, 1, 0, 0, POLICY).replicas == 1


def test_an_idle_service_goes_to_zero_after_five_minutes_and_says_when_to_look() -> None:
    early = scale.want(service(0, 3), 0.0, 0, 1, 4 * MINUTE, POLICY)
    assert (early.replicas, early.again_ns) == (1, MINUTE)
    assert scale.want(service(0, 3), 0.0, 0, 1, 5 * MINUTE, POLICY).replicas == 0
    assert scale.want(service(1, 3), 0.0, 0, 1, 5 * MINUTE, POLICY).replicas == 1


def test_a_lowered_maximum_is_obeyed_at_once() -> None:
    assert scale.want(service(1, 2), 50.0, 9, 5, 0, POLICY).replicas == 2


def test_of_many_a_tenth_goes_at_a_time_and_never_more_than_the_load_allows() -> None:
    spec = service(0, 500, 10)
    assert scale.want(spec, 1000.0, 0, 400, MINUTE, POLICY).replicas == 360
    assert scale.want(spec, 3900.0, 0, 400, MINUTE, POLICY).replicas == 390
    assert scale.want(spec, 10.0, 0, 19, MINUTE, POLICY).replicas == 18


def test_down_one_at_a_time() -> None:
    assert scale.want(service(1, 5), 0.0, 0, 5, 59 * SECOND, POLICY).replicas == 5
    assert scale.want(service(1, 5), 0.0, 0, 5, 60 * SECOND, POLICY).replicas == 4
