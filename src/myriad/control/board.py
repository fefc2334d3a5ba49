"""What the scheduler keeps between cycles: indexes of the state, brought up to date by each fact.

Nothing here is truth. It is built from a state and followed from there; after a restart it is built again.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from myriad.control import asks, observed
from myriad.control.policy import Policy
from myriad.control.records import Gang
from myriad.control.state import State
from myriad.kernel.ids import AttemptId, JobId, TenantId
from myriad.kernel.units import DAY, Instant
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.schedule import order
from myriad.schedule.asks import Ask
from myriad.schedule.backfill import End, Ends
from myriad.schedule.board import Front, Full
from myriad.schedule.policy import Order, OrderPolicy, Standing
from myriad.schedule.queue import Queue

#: A prediction that moves by less than this share of what is left is not worth moving the gang.
_WORTH_MOVING: Final = 0.02


class Board:
    """The indexes of one state."""

    def __init__(self, state: State, knobs: Order, policy: OrderPolicy) -> None:
        self._state, self._knobs, self._policy = state, knobs, policy
        self.queue = Queue(policy)
        self._period, self._half_life = knobs.ns("period"), knobs.ns("half_life")
        self._starvation = knobs.ns("starvation")
        self.ends = Ends()
        self.front: Front | None = None
        #: Whether `front` holds: nothing but arrivals happened since it was found.
        self.settled = False
        self.full = Full()
        self.victims_at: dict[str, Instant] = {}
        self.gathers: dict[str, Instant] = {}
        #: Elastic gangs that run below their largest size.
        self.small: dict[AttemptId, None] = {}
        #: Jobs that ran before and wait again.
        self.interrupted: dict[JobId, None] = {job: None for job in state.waiting if state.jobs[job].history}
        self._replicas: dict[str, list[str]] = {}
        self._shared_at: Instant = -1
        self._over: dict[TenantId, bool] = {}
        #: Tenants whose shares are to be worked out once more than one ask waits; when that was done last;
        #: and what each used before that day.
        self._unshared: dict[TenantId, None] = {}
        self._shared: dict[TenantId, int] = {}
        self._before: dict[TenantId, tuple[int, Instant, float]] = {}
        self._spares: NDArray[np.intp] | None = None
        #: Whether the number of hot spares is to be worked out anew.
        self.spares_due = True
        self._regroup()
        for owner in (*state.waiting, *state.services):
            self.refresh(owner)
        for gang in state.gangs.values():
            self._enter(gang)

    @property
    def holders(self) -> Collection[tuple[TenantId, int]]:
        """Tenant and priority of whatever holds nodes."""
        return self._state.holders

    # ---- kept in step ------------------------------------------------------------------------------

    @property
    def jobs_waiting(self) -> int:
        """Jobs in the queue; one that pauses after a fault waits outside of it."""
        return len(self.queue) - sum(map(len, self._replicas.values()))

    def replicas(self) -> Iterator[Ask]:
        """Asks of services in the queue."""
        every = (self.queue.get(owner) for owners in self._replicas.values() for owner in owners)
        return (ask for ask in every if ask is not None)

    def refresh(self, owner: str, now: Instant = 0) -> None:
        """Ask anew for a job or service: its asks, as the state now has them."""
        self.queue.drop(owner)
        for replica in self._replicas.pop(owner, ()):
            self.queue.drop(replica)
        found = list(asks.of_owner(self._state, owner, max(now, self._state.now)))
        for ask in found:
            self._put(ask)
        if owner in self._state.services:
            self._replicas[owner] = [ask.owner for ask in found]
        self.settled = False

    def arrived(self, fact: facts.JobAdmitted) -> None:
        """A new job waits; what was decided about the others holds."""
        self._put(asks.of_job(self._state, self._state.jobs[fact.job]))

    def arrives(self, ask: Ask, now: Instant) -> None:
        """An ask that is not in the state waits too, for as long as a question takes."""
        self._put(ask)
        self.work_out_shares(now)

    def _put(self, ask: Ask) -> None:
        self.queue.put(ask)
        if self._shared.get(ask.tenant) != self._shared_at:
            self._unshared.update(dict.fromkeys(self._state.paths[ask.tenant]))

    def placed(self, fact: facts.GangPlaced) -> None:
        """It waits no more and holds chips."""
        gang = self._state.gangs[fact.attempt]
        self.victims_at.pop(fact.owner, None)
        self.gathers.pop(fact.owner, None)
        if gang.service:
            settled = self.settled
            self.refresh(gang.service)
            self.settled = settled
        else:
            self.queue.drop(gang.job)
            self.interrupted.pop(gang.job, None)
        self._enter(gang)
        self._weigh(gang.tenant)

    def _enter(self, gang: Gang) -> None:
        if gang.job and len(gang.members) < self._state.jobs[gang.job].sizes[0]:
            self.small[gang.attempt] = None
        at = self._state.ends_at(gang)
        if not at:
            return
        columns = self._state.columns
        pods, kind = columns.pods_of(columns.rows(gang.nodes))
        self.ends.put(End(at, gang.attempt, kind, len(gang.nodes), gang.chips_per_node, gang.placed_at, pods))

    def stopped(self, fact: facts.GangStopped) -> None:
        """Its chips are free."""
        self.ends.drop(fact.attempt)
        self.small.pop(fact.attempt, None)
        owner = fact.attempt.rpartition(".")[0]
        job = self._state.jobs.get(owner)  # type: ignore[call-overload]
        tenant = job.spec.tenant if job else None
        if tenant is None and owner in self._state.services:
            tenant = self._state.services[owner].spec.tenant  # type: ignore[index]
        if tenant is not None:
            self._weigh(tenant)
            self.full.release(self._state.paths[tenant])
        else:
            self.full.clear()
        if job is None or job.job in self._state.waiting:
            self.refresh(owner)
        if job is not None and job.job in self._state.waiting:
            self.interrupted[job.job] = None
        self.settled = False

    def stepped(self, fact: facts.StepsDone) -> None:
        """Progress: the end is predicted anew."""
        end = self.ends.get(fact.attempt)
        gang = self._state.gangs[fact.attempt]
        if gang.leave_request:
            return
        at = self._state.ends_at(gang)
        if end is None and at:
            self._enter(gang)
        elif end is not None and abs(end.at - at) > _WORTH_MOVING * max(1, at - self._state.now):
            self.ends.move(fact.attempt, at)

    def leaving(self, fact: facts.LeaveAsked | facts.GangStopping) -> None:
        """It ends soon, by its deadline at the latest."""
        gang = self._state.gangs[fact.attempt]
        if self.ends.get(fact.attempt):
            self.ends.move(fact.attempt, gang.until)
        else:
            self._enter(gang)
        # who was placed meanwhile, and waits again, claims nothing
        if gang.claimant in self._state.claims and (ask := self.queue.get(gang.claimant)):
            self._put(ask._replace(claims=True))
        if gang.service:
            self.refresh(gang.service)
        self.settled = False

    def postponed(self, fact: facts.DeadlineMoved) -> None:
        """It may take longer than was expected."""
        if fact.attempt and self.ends.get(fact.attempt):
            self.ends.move(fact.attempt, self._state.ends_at(self._state.gangs[fact.attempt]))

    def ended(self, fact: facts.JobEnded) -> None:
        """Nobody waits for it."""
        if self.queue.get(fact.job) is not None:
            self.queue.drop(fact.job)
            self.settled = False
        self.victims_at.pop(fact.job, None)
        self.gathers.pop(fact.job, None)
        self.interrupted.pop(fact.job, None)

    def held(self, fact: facts.JobHeld | facts.ServiceHeld) -> None:
        """It pauses."""
        self.refresh(fact.job if isinstance(fact, facts.JobHeld) else fact.service)

    def served(self, fact: facts.ServiceSet | facts.ServiceScaled | facts.ServiceRemoved) -> None:
        """Another number of replicas may be wanted."""
        self.refresh(fact.service)

    def unsettle(self, _: Fact) -> None:
        """What was decided may not hold any more."""
        self.settled = False

    def grouped(self, _: facts.TenantSet) -> None:
        """Quotas or the tree changed."""
        self._regroup()
        self.full.clear()
        self.settled = False

    # ---- the order of tenants ----------------------------------------------------------------------

    def share(self, now: Instant) -> None:
        """Shares anew, if their period is over; who has waited too long goes first."""
        period = now // self._period
        if period != self._shared_at:
            self._shared_at, self.spares_due = period, True
            self.queue.age(now - self._starvation)
            self._unshared = dict.fromkeys(self.queue.tenants())
            self.settled = False
        if self._unshared and len(self.queue) > 1:
            self.work_out_shares(now)

    def work_out_shares(self, now: Instant) -> None:
        """Shares of those who wait, once in a period. The order of the others is nobody's concern."""
        shares: dict[TenantId, float] = {}
        for name in self._unshared:
            if self._shared.get(name) == self._shared_at:
                continue
            self._shared[name] = self._shared_at
            tenant, held = self._state.tenants[name], self._state.usage[name]
            used = self._used(name, held, now)
            standing = Standing(name, tenant.weight, held, tenant.quota.chips, used)
            shares[name] = self._policy.tenant_key(standing, now)
        self.queue.set_shares(shares)
        self._unshared.clear()

    def _used(self, name: TenantId, held: int, now: Instant) -> float:
        """Decayed chip-time of a tenant. Days that are over are added up once."""
        spent, today = self._state.spent[name], now // DAY
        day, until, before = self._before.get(name, (-1, 0, 0.0))
        if day != today or (until < today * DAY and until != spent.until):
            earlier = {day: chip_ns for day, chip_ns in spent.days.items() if day < today}
            before = order.decayed(earlier, now, self._half_life)
            self._before[name] = (today, spent.until, before)
        return before + spent.days.get(today, 0) + held * max(0, now - spent.until)

    def spares_wanted(self, policy: Policy) -> NDArray[np.intp]:
        """Hot spares for each pod, worked out once in each period of the shares."""
        if self._spares is None or self.spares_due or len(self._spares) != len(self._state.columns.pods):
            self._spares, self.spares_due = observed.spares_per_pod(self._state, policy), False
        return self._spares

    def _weigh(self, tenant: TenantId) -> None:
        """Who holds more than its quota goes after those who do not."""
        for name in self._state.paths[tenant]:
            over = self._state.usage[name] >= self._state.tenants[name].quota.chips
            if over != self._over.get(name):
                self._over[name] = over
                self.queue.set_order(name, over=over)

    def _regroup(self) -> None:
        self._over.clear()
        self.queue.set_parents({name: tenant.parent for name, tenant in self._state.tenants.items()})
        for name in self._state.tenants:
            self._weigh(name)


#: What a fact changes on the board, once it has been applied to the state.
FOLLOWERS: Final[dict[type[Fact], Callable[[Board, Any], None]]] = {
    facts.TenantSet: Board.grouped,
    facts.JobAdmitted: Board.arrived,
    facts.JobHeld: Board.held,
    facts.JobEnded: Board.ended,
    facts.GangPlaced: Board.placed,
    facts.StepsDone: Board.stepped,
    facts.LeaveAsked: Board.leaving,
    facts.GangStopping: Board.leaving,
    facts.DeadlineMoved: Board.postponed,
    facts.GangStopped: Board.stopped,
    facts.ServiceSet: Board.served,
    facts.ServiceScaled: Board.served,
    facts.ServiceRemoved: Board.served,
    facts.ServiceHeld: Board.held,
    facts.NodeMoved: Board.unsettle,
    facts.NodeSpared: Board.unsettle,
    facts.NodeCordoned: Board.unsettle,
    facts.NodeTaken: Board.unsettle,
    facts.WindowSet: Board.unsettle,
    facts.WindowEnded: Board.unsettle,
    facts.SiteOpened: Board.unsettle,
    facts.SiteClosed: Board.unsettle,
}
