"""What a finished simulation has to say, as plain values: from the ledger, the statistics and the faults.

Shares are of capacity x time. Figures that end in `_ns` and `_s` are spans. The time series has a row for
each part of the run (`twin.run.PARTS`).
"""

from typing import Final

import msgspec
import numpy as np

from myriad.fleet.columns import NodeState
from myriad.kernel.units import Instant
from myriad.ledger import views
from myriad.ledger.buckets import HELD, Slot
from myriad.twin.run import Simulation

#: Buckets in which a node is out of service.
_OUT: Final = ("down", "burn_in", "drained", "draining")
#: Nodes in these are counted over time, beside those that are ready.
_STATES: Final = (
    NodeState.BURN_IN,
    NodeState.SUSPECT,
    NodeState.DRAINING,
    NodeState.DRAINED,
    NodeState.REPAIRING,
)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All that is told of one simulation. The same for the same scenario and seed."""

    name: str
    seed: int
    span_ns: int
    chips: int
    nodes: int
    #: Jobs that were submitted, and those that ended, by outcome.
    submitted: int
    jobs: dict[str, int]
    #: Size of job in chips -> jobs, waits and turnaround in seconds.
    by_size: dict[str, dict[str, float]]
    capacity_chip_ns: int
    buckets: dict[str, int]
    #: Productive and serving; held by somebody; in service.
    goodput: float
    utilisation: float
    availability: float
    node_losses: int
    #: Of one node; None: nothing was lost.
    mttf_s: float | None
    mttr_s: float | None
    recovery_s: float | None
    #: Faults that struck, and of them those that interrupted a gang, by cause.
    faults: dict[str, int]
    interruptions: dict[str, int]
    #: Ends of gangs, by cause.
    stops: dict[str, int]
    #: Chips held x catalogue power: estimated.
    energy_j: float
    facts: int
    inputs: int
    #: Of all facts in order.
    digest: str
    #: Columns of one length over `at` (nanoseconds since the start).
    series: dict[str, list[float]]


class Sampler:
    """Takes a row of the time series whenever it is called."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.series: dict[str, list[float]] = {}

    def __call__(self, elapsed: Instant) -> None:
        """One row."""
        for name, value in self._row(elapsed).items():
            self.series.setdefault(name, []).append(value)

    def _row(self, elapsed: Instant) -> dict[str, float]:
        state = self._simulation.core.state
        columns, chips = state.columns, self._simulation.ledger.account.chips()
        counts = np.bincount(columns.state, minlength=len(NodeState))
        ready = int(counts[NodeState.READY])
        return {
            "at": elapsed,
            "used_chips": sum(chips.get(slot, 0) for slot in HELD),
            "productive_chips": chips.get(Slot.PRODUCTIVE, 0),
            "waiting_jobs": len(state.waiting),
            "running_gangs": len(state.gangs),
            "ready_nodes": ready - columns.spares,
            "spare_nodes": columns.spares,
            **{f"{one.name.lower()}_nodes": int(counts[one]) for one in _STATES},
        }


def of(simulation: Simulation, span_ns: int, series: dict[str, list[float]]) -> Outcome:
    """What a simulation that has run for `span_ns` came to."""
    scenario, statistics, faults = simulation.scenario, simulation.statistics, simulation.faults
    site, books = views.site(simulation.ledger), simulation.ledger
    capacity = site.capacity_chip_ns or 1
    totals = books.account.totals()
    held = sum(totals.get(slot, 0) for slot in HELD)
    return Outcome(
        name=scenario.name,
        seed=simulation.seed,
        span_ns=span_ns,
        chips=scenario.setup.site.chip_count,
        nodes=scenario.setup.site.node_count,
        submitted=statistics.submitted,
        jobs=_counts(statistics.outcomes),
        by_size=statistics.by_size(),
        capacity_chip_ns=site.capacity_chip_ns,
        buckets=site.buckets,
        goodput=site.goodput or 0.0,
        utilisation=held / capacity,
        availability=1 - sum(site.buckets.get(name, 0) for name in _OUT) / capacity,
        node_losses=site.node_losses,
        mttf_s=site.mttf_s,
        mttr_s=site.mttr_s,
        recovery_s=site.recovery_s,
        faults=_counts(faults.struck) if faults else {},
        interruptions=_counts(faults.broke) if faults else {},
        stops=_counts(statistics.stops),
        energy_j=3.6e6 * site.energy.kwh,
        facts=simulation.driver.facts,
        inputs=simulation.driver.inputs,
        digest=simulation.driver.digest,
        series=series,
    )


def _counts(found: dict[str, int]) -> dict[str, int]:
    """The largest first; ties by name."""
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
