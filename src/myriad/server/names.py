"""Mints ids of jobs and services, and remembers idempotency keys. An observer of the wheel.

An id is `<name>-<n>` and is never used twice, by a job or a service, because attempts carry it and an
attempt starts at most once, ever.
"""

import hashlib
from collections.abc import Iterable, Sequence

from myriad.kernel.ids import JobId, ServiceId
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.server import causes
from myriad.server.identity import Caller


class Names:
    """All ids so far."""

    def __init__(self) -> None:
        self._used: dict[str, None] = {}
        self._counts: dict[str, int] = {}
        self._once: dict[str, JobId] = {}
        self._admitted: dict[JobId, None] = {}

    def observe(self, _seq: int, cause: str, happened: Sequence[Fact]) -> None:
        """Follow the journal."""
        for fact in happened:
            if isinstance(fact, facts.JobAdmitted):
                self._used[fact.job] = None
                if once := causes.once_of(cause):
                    self._once[once] = fact.job
                    self._admitted[fact.job] = None
            elif isinstance(fact, facts.ServiceSet):
                self._used[fact.service] = None

    def reserve(self, ids: Iterable[str]) -> None:
        """These have left something behind, and may be of a history that the journal has lost."""
        self._used |= dict.fromkeys(ids)

    def job(self, name: str, once: str = "") -> JobId:
        """The id of a job: a new one, or that of the first request with the same idempotency digest."""
        if once and (known := self._once.get(once)):
            return known
        job = JobId(self._next(name))
        if once:
            self._once[once] = job
        return job

    def was_admitted(self, job: JobId) -> bool:
        """Whether a job that was asked for with an idempotency key was admitted, however long ago."""
        return job in self._admitted

    def service(self, name: str) -> ServiceId:
        """A new id of a service."""
        return ServiceId(self._next(name))

    def _next(self, name: str) -> str:
        while True:
            number = self._counts.get(name, 0) + 1
            self._counts[name] = number
            found = f"{name}-{number}"
            if found not in self._used:
                self._used[found] = None
                return found


def once(caller: Caller, header: str) -> str:
    """The digest of an Idempotency-Key; different tenants may use the same one. Empty without a header."""
    if not header:
        return ""
    whose = caller.tenant or caller.role
    return hashlib.blake2b(f"{whose}/{header}".encode(), digest_size=12).hexdigest()
