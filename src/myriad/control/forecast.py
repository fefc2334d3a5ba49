"""The promise made at submission: step time, start, finish, cost. Kept, and compared with the outcome."""

from decimal import Decimal
from typing import Final

from myriad.control import asks
from myriad.control.moment import Moment
from myriad.control.records import Job
from myriad.kernel.units import HOUR
from myriad.protocol import facts
from myriad.protocol.values import Code, Forecast
from myriad.schedule import foresee
from myriad.schedule.asks import Ask, Waits

#: Queues and sites up to these sizes are laid out at once, at each submission; asked for, any are.
SMALL_QUEUE: Final = 8
SMALL_SITE: Final = 64
#: Reasons that have nothing to do with room.
HELD: Final[frozenset[Code]] = frozenset({"quota", "budget", "reservation"})
_CENT: Final = Decimal("0.01")


def promise(m: Moment, job: Job, waits: Waits | None, would_have: int = 0) -> facts.JobForecast:
    """The forecast of a job just admitted; `waits` says when it should start if it did not already.

    `would_have`: nodes on which it would start at once, if it is not to.
    """
    gang = m.state.gangs[job.attempt] if job.attempt else None
    nodes = len(gang.nodes) if gang else would_have or job.sizes[0]
    estimate = asks.run_estimate(m.state, job, nodes)
    start = foresee.Start(m.now, m.now, m.now) if gang else _start(m, job, waits)
    start_at = start.at
    chip_ns = estimate.run_ns * nodes * job.spec.chips_per_node
    known = bool(estimate.run_ns and start_at)
    price = _price(m, job.spec.chip or (m.state.site.chip if m.state.site else ""))
    return facts.JobForecast(
        at=m.now,
        job=job.job,
        forecast=Forecast(
            step_ns=estimate.step_ns,
            start_at=start_at,
            start_early_at=start.early_at,
            start_late_at=start.late_at,
            finish_at=start_at + estimate.run_ns if known else 0,
            finish_early_at=start.early_at + estimate.run_low_ns if known else 0,
            finish_late_at=start.late_at + estimate.run_high_ns if known else 0,
            chip_ns=chip_ns,
            cost=_cost(chip_ns, price),
            basis=estimate.basis,
        ),
    )


def _start(m: Moment, job: Job, waits: Waits | None) -> foresee.Start:
    """When it will start: laid out where queue and site are small, else as a fluid."""
    ask = m.board.queue.get(job.job)
    if ask is not None and waits is None and m.state.open:
        return foresee.Start(m.now, m.now, m.now)
    if ask is None:
        return foresee.Start(0, 0, 0)
    few = len(m.board.ends) <= SMALL_SITE
    if waits is not None and waits.code in HELD:
        return allowed(m, ask, waits.code) if few else foresee.Start(0, 0, 0)
    if few and len(m.board.queue) <= SMALL_QUEUE:
        found = foresee.start(m.state, m.board, ask, m.now, ahead=SMALL_QUEUE)
    else:
        found = foresee.fluid(m.state, m.board, ask, m.now)
    if waits is not None and waits.starts_at and found.at < waits.starts_at:
        # the scheduler's own reservation is the better word on who is next
        return foresee.Start(
            waits.starts_at, min(found.early_at, waits.starts_at), max(found.late_at, waits.starts_at)
        )
    return found


def allowed(m: Moment, ask: Ask, code: Code) -> foresee.Start:
    """When what keeps the ask from running wherever there is room will be over."""
    if code == "quota":
        gangs = m.state.gangs
        return foresee.release(m.state, m.board, ask, lambda attempt: gangs[attempt].tenant, m.now)
    window = m.state.windows.get(ask.reservation)
    at = m.state.next_budgets() if code == "budget" else window.start_at if window else 0
    return foresee.Start(at, at, at) if at > m.now else foresee.Start(0, 0, 0)


def _price(m: Moment, chip: str) -> Decimal:
    return m.state.prices.chip_hour.get(chip, Decimal(0))


def _cost(chip_ns: int, price: Decimal) -> str:
    return str((Decimal(chip_ns) / HOUR * price).quantize(_CENT)) if price else "0.00"
