"""What the gateway sees of the state (Directory), and how what it saw becomes inputs (Sink)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from myriad.control.records import Gang, GangPhase, Service
from myriad.gateway.ports import Caller, ReplicaView, ServiceView
from myriad.kernel.ids import AttemptId, ServiceId
from myriad.protocol.inputs import LoadObserved, TokensMetered
from myriad.server.plane import Plane
from myriad.server.probe import Probe
from myriad.worker.recipes import serve


class Directory:
    """Implements `gateway.ports.Directory` over the core's state."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def authenticate(self, bearer: str) -> Caller | None:
        """Whose key this is; None when it is unknown or revoked."""
        found = self._plane.keys.find(bearer)
        if found is None:
            return None
        tenant = self._plane.state.tenants.get(found.tenant)
        if tenant is None:
            return Caller(role=found.role)
        return Caller(role=found.role, tenant=found.tenant, rate=tenant.rate)

    def services(self, caller: Caller) -> Sequence[ServiceView]:
        """The services the caller may use."""
        return [
            self._view(service)
            for service in self._plane.state.services.values()
            if not service.removed
            and (caller.role != "tenant" or service.spec.shared or service.spec.tenant == caller.tenant)
        ]

    def service(self, service: ServiceId) -> ServiceView | None:
        """One service as it is now; None when it was removed."""
        found = self._plane.state.services.get(service)
        return None if found is None or found.removed else self._view(found)

    def version(self) -> int:
        """Grows with every change of services, replicas, tenants or keys."""
        return self._plane.served.version

    async def changed(self, after: int) -> int:
        """Wait until the version is above `after`, and return it."""
        return await self._plane.served.after(after)

    def _view(self, service: Service) -> ServiceView:
        gangs = [self._plane.state.gangs[attempt] for attempt in service.gangs]
        return ServiceView(
            id=service.service,
            name=service.spec.name,
            tenant=service.spec.tenant,
            engine=service.spec.engine,
            concurrency=service.spec.concurrency,
            replicas=tuple(_replicas(service, gangs)),
            note=_note(service, gangs, self._plane.state.now),
        )


def _replicas(service: Service, gangs: Sequence[Gang]) -> Iterator[ReplicaView]:
    """Those that are ready; one that is about to leave only while there is no other."""
    ready = [gang for gang in gangs if gang.phase is GangPhase.RUNNING]
    staying = [gang for gang in ready if not gang.leave_request]
    model = serve.upstream_model_name(service.spec.engine, Path(service.model_path), service.spec.name)
    for gang in staying or ready:
        yield ReplicaView(attempt=gang.attempt, url=gang.url, upstream_model=model)


def _note(service: Service, gangs: Sequence[Gang], now: int) -> str:
    starting = sum(gang.phase in (GangPhase.PLACED, GangPhase.STARTED) for gang in gangs)
    if starting:
        return f"{starting} starting"
    if service.held_until > now:
        return f"its replicas failed {service.faults} times in a row and pause"
    if service.wanted > len(gangs):
        return "waits for free chips"
    return service.why


class Sink:
    """Implements `gateway.ports.Sink` over the wheel."""

    def __init__(self, plane: Plane) -> None:
        self._wheel = plane.wheel
        self._probe = Probe(plane)

    async def close(self) -> None:
        """Look after no replica any more."""
        await self._probe.close()

    async def meter(self, metered: TokensMetered) -> None:
        """Durable when it returns."""
        await self._wheel.ask(metered)

    def load(self, service: ServiceId, in_flight: float, queued: int) -> None:
        """A service's load changed."""
        self._wheel.tell(LoadObserved(at=0, service=service, in_flight=in_flight, queued=queued))

    def replica_failed(self, attempt: AttemptId, detail: str) -> None:
        """Unready, if its health check does not answer either."""
        self._probe.suspect(attempt, detail)
