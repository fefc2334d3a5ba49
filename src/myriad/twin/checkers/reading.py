"""What the facts say, read a second time: the little that laws are about, nothing of the core's state."""

from collections.abc import Callable, Mapping
from typing import Any

from myriad.fleet.columns import NodeState
from myriad.fleet.site import NodePlace, Site
from myriad.kernel.ids import AttemptId, JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import Instant
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.values import Outcome, Profile
from myriad.workload.jobs import TrainingJob
from myriad.workload.services import InferenceService
from myriad.workload.tenants import Tenant
from myriad.workload.windows import Window


class Gang:
    """A live attempt."""

    __slots__ = ("chips", "job", "members", "phase", "request", "service", "started", "tenant", "until")

    def __init__(self, fact: facts.GangPlaced, tenant: TenantId) -> None:
        self.job, self.service, self.tenant = fact.job, fact.service, tenant
        self.members: dict[NodeId, int] = {member.node: member.chips for member in fact.members}
        self.chips = sum(chips.bit_count() for chips in self.members.values())
        #: placed, started, running, stalled or stopping; by when it must have left that.
        self.phase, self.until = "placed", fact.until
        self.started: dict[NodeId, None] = {}
        #: The leave that it was asked for.
        self.request = ""


class Job:
    """An admitted job that is not over."""

    __slots__ = ("admitted_at", "attempt", "held_until", "profile", "spec", "waits_since")

    def __init__(self, at: Instant, spec: TrainingJob, profile: Profile) -> None:
        self.spec, self.profile, self.admitted_at = spec, profile, at
        self.attempt: AttemptId | None = None
        self.held_until: Instant = 0
        self.waits_since = at


class Reading:
    """Everything that lives, by the facts alone."""

    def __init__(self) -> None:
        self.now: Instant = 0
        self.site: Site | None = None
        self.open = False
        self.places: dict[NodeId, NodePlace] = {}
        self.states: dict[NodeId, NodeState] = {}
        self.spares: dict[NodeId, None] = {}
        self.cordoned: dict[NodeId, str] = {}
        #: Nodes that others use, and who.
        self.taken: dict[NodeId, str] = {}
        #: Chips of each node that someone holds, a bit each.
        self.held: dict[NodeId, int] = {}
        self.gangs: dict[AttemptId, Gang] = {}
        self.jobs: dict[JobId, Job] = {}
        self.over: dict[JobId, Outcome] = {}
        self.tenants: dict[TenantId, Tenant] = {}
        self.services: dict[ServiceId, InferenceService] = {}
        self.wanted: dict[ServiceId, int] = {}
        self.paused: dict[ServiceId, Instant] = {}
        self.windows: dict[str, Window] = {}
        self._on: Mapping[type[Fact], Callable[[Any], None]] = {
            facts.SiteOpened: self._opened,
            facts.SiteClosed: self._closed,
            facts.TenantSet: self._tenant,
            facts.NodeMoved: self._moved,
            facts.NodeSpared: self._spared,
            facts.NodeCordoned: self._cordoned,
            facts.NodeTaken: self._taken,
            facts.JobAdmitted: self._admitted,
            facts.JobHeld: self._job_held,
            facts.JobEnded: self._ended,
            facts.GangPlaced: self._placed,
            facts.MemberStarted: self._member_started,
            facts.GangStarted: self._started,
            facts.GangRunning: self._running,
            facts.ReplicaStalled: self._stalled,
            facts.LeaveAsked: self._leaves,
            facts.GangStopping: self._stopping,
            facts.DeadlineMoved: self._postponed,
            facts.GangStopped: self._stopped,
            facts.ServiceSet: self._service,
            facts.ServiceScaled: self._scaled,
            facts.ServiceHeld: self._service_held,
            facts.ServiceRemoved: self._removed,
            facts.WindowSet: self._window,
            facts.WindowEnded: self._window_ended,
        }

    def count(self, fact: Fact) -> None:
        """The fact is true from now on."""
        self.now = max(self.now, fact.at)
        if on := self._on.get(type(fact)):
            on(fact)

    def path(self, tenant: TenantId) -> list[TenantId]:
        """The tenant and all it is part of."""
        found = [tenant]
        while above := self.tenants[found[-1]].parent:
            found.append(above)
        return found

    def kept_by(self, node: NodeId, at: Instant) -> list[Window]:
        """Windows that are open on the node then: one may be over though nobody has said so yet."""
        return [w for w in self.windows.values() if w.start_at <= at < w.end_at and node in w.nodes]

    # ---- site, tenants, nodes --------------------------------------------------------------------

    def _opened(self, fact: facts.SiteOpened) -> None:
        self.site, self.open = fact.site, True
        for place in fact.site.places():
            if place.node not in self.places:
                self.places[place.node] = place
                self.states[place.node], self.held[place.node] = NodeState.JOINING, 0

    def _closed(self, _: facts.SiteClosed) -> None:
        self.open = False

    def _tenant(self, fact: facts.TenantSet) -> None:
        self.tenants[fact.tenant.name] = fact.tenant

    def _moved(self, fact: facts.NodeMoved) -> None:
        self.states[fact.node] = fact.state
        if fact.state in (NodeState.JOINING, NodeState.REPAIRING, NodeState.RETIRED):
            self.taken.pop(fact.node, None)

    def _taken(self, fact: facts.NodeTaken) -> None:
        if fact.by:
            self.taken[fact.node] = fact.by
        else:
            self.taken.pop(fact.node, None)

    def _spared(self, fact: facts.NodeSpared) -> None:
        if fact.spare:
            self.spares[fact.node] = None
        else:
            self.spares.pop(fact.node, None)

    def _cordoned(self, fact: facts.NodeCordoned) -> None:
        if fact.cordoned:
            self.cordoned[fact.node] = fact.by
        else:
            self.cordoned.pop(fact.node, None)

    # ---- jobs ------------------------------------------------------------------------------------

    def _admitted(self, fact: facts.JobAdmitted) -> None:
        self.jobs[fact.job] = Job(fact.at, fact.spec, fact.profile)

    def _job_held(self, fact: facts.JobHeld) -> None:
        self.jobs[fact.job].held_until = fact.until

    def _ended(self, fact: facts.JobEnded) -> None:
        self.jobs.pop(fact.job, None)
        self.over[fact.job] = fact.outcome

    # ---- gangs -----------------------------------------------------------------------------------

    def _placed(self, fact: facts.GangPlaced) -> None:
        spec = self.jobs[fact.job].spec if fact.job else self.services[fact.service]
        gang = self.gangs[fact.attempt] = Gang(fact, spec.tenant)
        for node, chips in gang.members.items():
            self.held[node] |= chips
        if fact.job:
            self.jobs[fact.job].attempt = fact.attempt

    def _member_started(self, fact: facts.MemberStarted) -> None:
        self.gangs[fact.attempt].started[fact.node] = None

    def _started(self, fact: facts.GangStarted) -> None:
        gang = self.gangs[fact.attempt]
        gang.phase, gang.until = "started", 0

    def _running(self, fact: facts.GangRunning) -> None:
        gang = self.gangs[fact.attempt]
        gang.phase = "running"
        gang.until = gang.until if gang.request else 0

    def _stalled(self, fact: facts.ReplicaStalled) -> None:
        gang = self.gangs[fact.attempt]
        gang.phase, gang.until = "stalled", fact.until

    def _leaves(self, fact: facts.LeaveAsked) -> None:
        gang = self.gangs[fact.attempt]
        gang.request, gang.until = fact.request, fact.until

    def _stopping(self, fact: facts.GangStopping) -> None:
        gang = self.gangs[fact.attempt]
        gang.phase, gang.until = "stopping", fact.until

    def _postponed(self, fact: facts.DeadlineMoved) -> None:
        if fact.attempt:
            self.gangs[fact.attempt].until = fact.until

    def _stopped(self, fact: facts.GangStopped) -> None:
        gang = self.gangs.pop(fact.attempt)
        for node, chips in gang.members.items():
            self.held[node] &= ~chips
        if gang.job:
            job = self.jobs[gang.job]
            job.attempt, job.waits_since = None, fact.at

    # ---- services and windows --------------------------------------------------------------------

    def _service(self, fact: facts.ServiceSet) -> None:
        self.services[fact.service] = fact.spec
        self.wanted.setdefault(fact.service, max(1, fact.spec.replicas.min))
        self.paused.pop(fact.service, None)

    def _scaled(self, fact: facts.ServiceScaled) -> None:
        self.wanted[fact.service] = fact.replicas

    def _service_held(self, fact: facts.ServiceHeld) -> None:
        self.paused[fact.service] = fact.until

    def _removed(self, fact: facts.ServiceRemoved) -> None:
        self.wanted.pop(fact.service, None)

    def _window(self, fact: facts.WindowSet) -> None:
        self.windows[fact.window.name] = fact.window

    def _window_ended(self, fact: facts.WindowEnded) -> None:
        self.windows.pop(fact.name, None)
