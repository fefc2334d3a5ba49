"""What the gateway needs of the world: a Directory of callers and replicas, and a Sink for what it saw.

The server implements both over the core's state and inputs; tests and benchmarks bring their own.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from myriad.kernel.ids import AttemptId, ServiceId, TenantId
from myriad.protocol.inputs import TokensMetered
from myriad.protocol.values import Role
from myriad.workload.tenants import Rate


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who a key belongs to. An operator may have no tenant; a viewer may list models, not call them."""

    role: Role
    tenant: TenantId = TenantId("")
    rate: Rate = Rate()


class ReplicaView(msgspec.Struct, frozen=True, kw_only=True):
    """One replica that is ready."""

    attempt: AttemptId
    #: Where its OpenAI-compatible server listens, without `/v1`: `http://127.0.0.1:8311`.
    url: str
    #: The model's name in that server's own words.
    upstream_model: str


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """One service and its replicas that are ready."""

    id: ServiceId
    #: What clients call it.
    name: str
    tenant: TenantId
    engine: str = ""
    #: Requests one replica serves at once.
    concurrency: int = 8
    replicas: tuple[ReplicaView, ...] = ()
    #: Why there are no more replicas, for people: `starting`, `no free chips: waits for tiny-llama`.
    note: str = ""


class Directory(Protocol):
    """What exists now. Every method is called on the gateway's event loop and answers from memory."""

    def authenticate(self, bearer: str) -> Caller | None:
        """Whose key this is; None when it is unknown or revoked."""
        ...

    def services(self, caller: Caller) -> Sequence[ServiceView]:
        """The services the caller may use: its tenant's own, and shared ones; all for an operator."""
        ...

    def service(self, service: ServiceId) -> ServiceView | None:
        """One service as it is now; None when it was removed."""
        ...

    def version(self) -> int:
        """A number that grows with every change of services, replicas or tenants."""
        ...

    async def changed(self, after: int) -> int:
        """Wait until the version is above `after`, and return it."""
        ...


class Sink(Protocol):
    """Where the gateway tells what it saw."""

    async def meter(self, metered: TokensMetered) -> None:
        """Record a request's cumulative tokens; durable when it returns."""
        ...

    def load(self, service: ServiceId, in_flight: float, queued: int) -> None:
        """A service's load changed: requests in flight, averaged since last told, and those that wait."""
        ...

    def replica_failed(self, attempt: AttemptId, detail: str) -> None:
        """The replica did not answer as it should and gets no request for a while."""
        ...
