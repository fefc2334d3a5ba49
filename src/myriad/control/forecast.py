"""The promise made at submission: step time, start, finish, cost. Kept, and compared with the outcome."""

from decimal import Decimal

from myriad.control import asks
from myriad.control.moment import Moment
from myriad.control.state import Job
from myriad.kernel.units import HOUR
from myriad.protocol import facts
from myriad.protocol.values import Forecast
from myriad.schedule.asks import Waits


def promise(m: Moment, job: Job, waits: Waits | None) -> facts.JobForecast:
    """The forecast of a job just admitted; `waits` says when it should start if it did not already."""
    estimate = asks.run_estimate(m.state, job)
    start_at = waits.starts_at if waits else m.now
    chip_ns = estimate.run_ns * job.spec.chips
    known = bool(estimate.run_ns and start_at)
    price = m.state.prices.chip_hour.get(m.state.site.chip, Decimal(0)) if m.state.site else Decimal(0)
    return facts.JobForecast(
        at=m.now,
        job=job.job,
        forecast=Forecast(
            step_ns=estimate.step_ns,
            start_at=start_at,
            finish_at=start_at + estimate.run_ns if known else 0,
            finish_early_at=start_at + estimate.run_low_ns if known else 0,
            finish_late_at=start_at + estimate.run_high_ns if known else 0,
            chip_ns=chip_ns,
            cost=str((Decimal(chip_ns) / HOUR * price).quantize(Decimal("0.01"))),
            basis=estimate.basis,
        ),
    )
