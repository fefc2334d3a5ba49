"""Services of a simulated site: their load is observed, and told to the brain as a gateway would."""

from pathlib import Path
from typing import NamedTuple

from myriad.control.records import GangPhase
from myriad.control.state import State
from myriad.fleet.site import Site
from myriad.kernel.errors import UserError
from myriad.kernel.ids import ServiceId, TenantId
from myriad.kernel.rng import Stream
from myriad.protocol import inputs
from myriad.twin.almanac import Almanac
from myriad.twin.load import Demand, Observation, Services, demand
from myriad.twin.world import World
from myriad.workload.tenants import Quota, Tenant


class Served(NamedTuple):
    """What a service did over a run."""

    requests: int
    refused: int
    tokens_in: int
    tokens_out: int
    late: float  # share of all requests whose first token came later than promised


class Serving:
    """The services of one run."""

    def __init__(
        self, services: Services, world: World, state: State, stream: Stream, almanac: Almanac, folder: Path
    ):
        self._world, self._state = world, state
        self.demands: dict[ServiceId, Demand] = {
            ServiceId(load.service.name): demand(load, stream, almanac=almanac, folder=folder)
            for load in services.scaled()
        }
        _check(self.demands, world.site)
        self._counts: dict[ServiceId, list[float]] = {name: [0, 0, 0, 0, 0.0] for name in self.demands}
        self._ready: dict[ServiceId, int] = dict.fromkeys(self.demands, 0)
        #: What each last did: shares of its replicas' time in prompts and in answers.
        self.activity: dict[ServiceId, Observation] = {}

    def tenants(self) -> tuple[Tenant, ...]:
        """Those that the services belong to; all of the site is theirs if need be."""
        names = dict.fromkeys(one.load.service.tenant for one in self.demands.values())
        chips = self._world.site.chip_count
        return tuple(Tenant(name=TenantId(name), quota=Quota(chips=chips)) for name in names)

    def begin(self) -> list[inputs.Input]:
        """The services are applied; from now on their load is observed."""
        for name in self.demands:
            self._await(name)
        return [
            inputs.ApplyService(
                at=self._world.now,
                service=name,
                spec=one.load.service,
                model_path=one.load.service.model.path,
            )
            for name, one in self.demands.items()
        ]

    def _await(self, name: ServiceId) -> None:
        def look() -> None:
            self.observe(name)
            self._await(name)

        self._world.at(max(self.demands[name].next_at(), self._world.now + 1), look)

    def observe(self, name: ServiceId) -> None:
        """What happened since the last look, with the replicas that were ready all the while."""
        seen = self.demands[name].observe(self._world.now, self._ready[name])
        self._ready[name] = self.ready(name)
        self.activity[name] = seen
        count, every = self._counts[name], seen.requests + seen.refused
        for index, value in enumerate((seen.requests, seen.refused, seen.tokens_in, seen.tokens_out)):
            count[index] += value
        count[4] += seen.late * every
        self._world.say(
            inputs.LoadObserved(
                at=self._world.now,
                service=name,
                in_flight=seen.in_flight,
                queued=seen.queued,
                busy=min(1.0, seen.busy),
            )
        )

    def ready(self, name: ServiceId) -> int:
        """Replicas that a gateway would send requests to."""
        service = self._state.services.get(name)
        gangs = self._state.gangs
        return sum(gangs[one].phase is GangPhase.RUNNING for one in service.gangs) if service else 0

    def changed(self, name: ServiceId) -> None:
        """Replicas came or went: what was served before counts with those that were there."""
        if name in self.demands and self.ready(name) != self._ready[name]:
            self.observe(name)

    def shares(self) -> tuple[float, float]:
        """Of the time of all chips that serve: in reading prompts, and in writing answers."""
        reading = writing = total = 0.0
        for name, seen in self.activity.items():
            chips = self._ready[name] * self.demands[name].load.service.chips_per_replica
            reading, writing = reading + chips * seen.prefill, writing + chips * seen.decode
            total += chips
        return (reading / total, writing / total) if total else (0.0, 0.0)

    def served(self) -> dict[str, Served]:
        """What each service did."""
        found = {}
        for name, (requests, refused, tokens_in, tokens_out, late) in self._counts.items():
            every = requests + refused
            found[str(name)] = Served(
                int(requests), int(refused), int(tokens_in), int(tokens_out), late / every if every else 0.0
            )
        return found


def _check(demands: dict[ServiceId, Demand], site: Site) -> None:
    """Raises UserError for a replica that no node holds: replicas go to the site's own type of chip."""
    largest = site.kinds().get(site.chip, (0, 0))[1]
    for name, one in demands.items():
        if one.load.service.chips_per_replica > largest:
            raise UserError(
                f"does not fit a node of the site, which has {largest} {site.chip}",
                field=f"services: {name}: chips_per_replica",
                value=one.load.service.chips_per_replica,
                remedy="Make the replica smaller",
            )
