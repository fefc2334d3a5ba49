"""Quota: at each placement every tenant on the path holds at most its own chips and what it may borrow."""

from typing import ClassVar

from myriad.kernel.ids import TenantId
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.twin.checkers.base import Checker, Scene


class Quotas(Checker):
    """Sums of its own, by tenant, parts included."""

    law: ClassVar[str] = "quota"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.held: dict[TenantId, int] = {}

    def hear(self, fact: Fact) -> None:
        """Who holds what from now on."""
        if isinstance(fact, facts.GangPlaced):
            reading = self.reading
            spec = reading.jobs[fact.job].spec if fact.job else reading.services[fact.service]
            self._take(fact, spec.tenant, sum(member.chip_count for member in fact.members))
        elif isinstance(fact, facts.GangStopped) and (gang := self.reading.gangs.get(fact.attempt)):
            for name in self.reading.path(gang.tenant):
                self.held[name] -= gang.chips
        elif isinstance(fact, facts.TenantSet):
            known = self.reading.tenants.get(fact.tenant.name)
            if known is not None and known.parent != fact.tenant.parent:
                self._regroup(fact)

    def _take(self, fact: facts.GangPlaced, tenant: TenantId, chips: int) -> None:
        for name in self.reading.path(tenant):
            quota = self.reading.tenants[name].quota
            held = self.held[name] = self.held.get(name, 0) + chips
            if held > quota.chips + quota.borrow:
                raise self.broken(
                    fact.attempt, f"{name} holds at most {quota.chips} + {quota.borrow} chips, not {held}"
                )

    def _regroup(self, fact: facts.TenantSet) -> None:
        """The tree changed: sums anew."""
        tenants = {**self.reading.tenants, fact.tenant.name: fact.tenant}
        self.held = dict.fromkeys(tenants, 0)
        for gang in self.reading.gangs.values():
            name = gang.tenant
            while name:
                self.held[name] += gang.chips
                name = tenants[name].parent
