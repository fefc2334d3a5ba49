"""What came of a simulation, as plain values: for tables, reports and comparisons."""

from typing import Any, get_args

import msgspec

from myriad.kernel.ids import JobId
from myriad.kernel.units import DAY, Instant, Span, seconds
from myriad.ledger import views
from myriad.ledger.ledger import Ledger
from myriad.protocol.values import DomainKind
from myriad.twin.energy import Energy
from myriad.twin.money import per_useful_chip_hour
from myriad.twin.serving import Served
from myriad.twin.statistics import Statistics, size_names

#: Names of the columns of `Outcome.series`, in their order.
COLUMNS = (
    "at_s", "useful", "held", "idle", "spare", "down", "drained", "burn_in", "waiting", "running", "replicas",
    "site_w", "throttle",
)  # fmt: skip


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Results of one run. Shares are of all chip-time; times in seconds unless a name says otherwise."""

    scenario: str
    scenario_digest: str
    seed: int
    span_ns: Span
    nodes: int
    chips: int
    #: Digest of all facts: the same scenario and seed give the same one.
    digest: str
    inputs: int
    facts: int
    # ---- work
    submitted: int
    jobs: dict[str, int]
    waiting: int
    by_size: dict[str, dict[str, float]]
    services: dict[str, Served]
    # ---- where the chip-time went
    capacity_chip_ns: int
    buckets: dict[str, int]
    goodput: float
    #: Chips held by someone over capacity, and the share of it that no fault took.
    utilisation: float
    availability: float
    mfu: float | None
    ettr: float | None
    # ---- faults
    faults: dict[str, int]
    #: Those of them that stopped a gang, each gang once.
    broke: dict[str, int]
    #: Nodes that the brain kept out, by what they really were: lemon, unmended, healthy.
    kept_out: dict[str, int]
    stops: dict[str, int]
    #: Mean time to interruption of jobs by size class, in seconds, and interruptions.
    mtti_s: dict[str, float]
    interruptions: dict[str, int]
    #: Share of useful time of each job that the scenario names and has one of, since it was first placed.
    job_ettr: dict[str, float]
    node_losses: int
    mttf_s: float | None
    mttr_s: float | None
    recovery_s: float | None
    #: Losses that the brain took for one event, by what failed: rack, power, pod, site.
    incidents: dict[str, int]
    # ---- power and money
    energy_j: float
    mean_pue: float
    peak_w: float
    throttled_s: float
    costs: dict[str, float]
    cost_per_useful_chip_hour: float | None
    #: Columns by name (`COLUMNS`), one value for each sample.
    series: dict[str, list[float]]
    #: Wall-clock seconds that the run took; not part of any digest.
    wall_s: float = 0.0

    def share(self, bucket: str) -> float:
        """Share of all chip-time in a bucket."""
        return self.buckets.get(bucket, 0) / self.capacity_chip_ns if self.capacity_chip_ns else 0.0


#: Buckets that are nobody's: chips free, kept back, or out of service.
_FREE = ("idle_no_demand", "idle_fragmentation", "idle_quota", "idle_held_back", "spare")
_OUT = ("down", "drained", "occupied", "burn_in")


def figures(outcome: Outcome) -> dict[str, float]:
    """Figures by name, as `expect:` sections and sweeps call them: shares of buckets and results."""
    found = {bucket: outcome.share(bucket) for bucket in outcome.buckets}
    plain = (
        "goodput", "utilisation", "availability", "mfu", "ettr", "node_losses", "mttf_s", "mttr_s",
        "recovery_s", "mean_pue", "peak_w", "throttled_s", "submitted", "waiting",
        "cost_per_useful_chip_hour",
    )  # fmt: skip
    for name in plain:
        if (value := getattr(outcome, name)) is not None:
            found[name] = float(value)
    found["energy_mwh"] = outcome.energy_j / 3.6e9
    found["days"] = outcome.span_ns / DAY
    found["interruptions"] = float(sum(outcome.interruptions.values()))
    found |= {f"jobs.{name}": float(count) for name, count in outcome.jobs.items()}
    found |= {f"stops.{name}": float(count) for name, count in outcome.stops.items()}
    found |= {f"faults.{name}": float(count) for name, count in outcome.faults.items()}
    found |= {f"broke.{name}": float(count) for name, count in outcome.broke.items()}
    found |= {f"kept_out.{name}": float(count) for name, count in outcome.kept_out.items()}
    found["broke"] = float(sum(outcome.broke.values()))
    found |= {f"{job}.ettr": value for job, value in outcome.job_ettr.items()}
    found |= {f"incidents.{name}": float(outcome.incidents.get(name, 0)) for name in get_args(DomainKind)}
    for size, row in outcome.by_size.items():
        found |= {f"{size}.{name}": value for name, value in row.items()}
    found |= {f"{size}.mtti_h": value / 3600 for size, value in outcome.mtti_s.items()}
    for service, served in outcome.services.items():
        found |= {f"{service}.{name}": float(value) for name, value in served._asdict().items()}
    return found


def of(simulation: Any, span_ns: Span, wall_s: float) -> Outcome:
    """The outcome of a `run.Simulation` that is over."""
    ledger, statistics, core = simulation.ledger, simulation.statistics, simulation.core
    seen = views.site(ledger)
    energy: Energy | None = simulation.energy
    useful = sum(seen.buckets.get(name, 0) for name in ("productive", "serving_busy"))
    held = seen.capacity_chip_ns - sum(seen.buckets.get(name, 0) for name in (*_FREE, *_OUT))
    out = sum(seen.buckets.get(name, 0) for name in _OUT)
    bill = energy.bill(span_ns) if energy else None
    return Outcome(
        scenario=simulation.scenario.name,
        scenario_digest=simulation.scenario.digest,
        seed=simulation.seed,
        span_ns=span_ns,
        nodes=simulation.world.site.node_count,
        chips=simulation.world.site.chip_count,
        digest=simulation.driver.digest,
        inputs=simulation.driver.input_count,
        facts=simulation.driver.fact_count,
        submitted=statistics.submitted,
        jobs=dict(statistics.outcomes),
        waiting=len(core.state.waiting),
        by_size=statistics.by_size(),
        services=simulation.serving.served() if simulation.serving else {},
        capacity_chip_ns=seen.capacity_chip_ns,
        buckets=dict(seen.buckets),
        goodput=seen.goodput or 0.0,
        utilisation=held / seen.capacity_chip_ns,
        availability=1.0 - out / seen.capacity_chip_ns,
        mfu=getattr(seen, "mfu", None),
        ettr=getattr(seen, "ettr", None),
        faults=dict(simulation.faults.struck) if simulation.faults else {},
        broke=dict(simulation.faults.broke) if simulation.faults else {},
        kept_out=dict(simulation.faults.kept_out) if simulation.faults else {},
        stops=dict(statistics.stops),
        **_by_size(statistics, simulation.world.now),
        job_ettr=_job_ettr(simulation),
        node_losses=seen.node_losses,
        mttf_s=seen.mttf_s,
        mttr_s=seen.mttr_s,
        recovery_s=seen.recovery_s,
        incidents=dict(statistics.incidents),
        energy_j=energy.meter.energy_j if energy else 0.0,
        mean_pue=energy.meter.mean_pue if energy else 0.0,
        peak_w=float(energy.meter.peak_w) if energy else 0.0,
        throttled_s=seconds(energy.meter.throttled_ns) if energy else 0.0,
        costs={**bill._asdict(), "total": bill.total} if bill else {},
        cost_per_useful_chip_hour=per_useful_chip_hour(bill, useful) if bill else None,
        series={name: list(column) for name, column in zip(COLUMNS, simulation.samples.columns, strict=True)},
        wall_s=wall_s,
    )


def _job_ettr(simulation: Any) -> dict[str, float]:
    """Of jobs that there is one of, by the name that the scenario gives."""
    books: Ledger = simulation.ledger
    names = {one.name: JobId(f"{one.name}-1") for one in simulation.scenario.jobs if one.count == 1}
    found = {name: views.job(books, job).ettr for name, job in names.items() if job in books.jobs}
    return {name: value for name, value in found.items() if value is not None}


def _by_size(statistics: Statistics, now: Instant) -> dict[str, Any]:
    """Interruptions by size class, and running time for each."""
    names = size_names()
    counts: dict[str, int] = {}
    for (_, number), count in statistics.interruptions.items():
        counts[names[number]] = counts.get(names[number], 0) + count
    mtti_s = {
        names[number]: seconds(ran) / counts[names[number]]
        for number, ran in statistics.running_now(now).items()
        if counts.get(names[number])
    }
    return {"interruptions": counts, "mtti_s": mtti_s}


class Samples:
    """The time series of a run: one value of each column for each look."""

    def __init__(self) -> None:
        self.columns: tuple[list[float], ...] = tuple([] for _ in COLUMNS)

    def add(self, now: Instant, simulation: Any, chips_now: dict[str, int]) -> None:
        """Look at the run as it is now."""
        state, draw = simulation.core.state, simulation.energy.draw if simulation.energy else None
        idle = sum(count for name, count in chips_now.items() if name.startswith("idle"))
        out = {name: chips_now.get(name, 0) for name in ("spare", "down", "drained", "burn_in")}
        useful = sum(chips_now.get(name, 0) for name in ("productive", "serving_busy"))
        replicas = sum(len(service.gangs) for service in state.services.values())
        values = (
            seconds(now), useful, simulation.world.site.chip_count - idle - sum(out.values()), idle,
            *out.values(),
            len(state.waiting), len(state.gangs) - replicas, replicas,
            draw.site_w if draw else 0, draw.throttle if draw else 1.0,
        )  # fmt: skip
        for column, value in zip(self.columns, values, strict=True):
            column.append(float(value))
