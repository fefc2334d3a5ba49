"""A trace as a source of work: the jobs that were, to be run again on a site of one's own."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from myriad.fleet.site import Site
from myriad.kernel.errors import UserError
from myriad.kernel.ids import JobId, TenantId
from myriad.kernel.rng import Stream
from myriad.kernel.units import MILLISECOND, SECOND, Instant, Span
from myriad.protocol.values import Outcome, Profile
from myriad.twin.workload.draws import Chance
from myriad.twin.workload.generator import Gang, gang_of, pieces, said_s
from myriad.twin.workload.shapes import Estimates
from myriad.twin.workload.traces.rows import Row
from myriad.twin.workload.work import Refill, Truth, Work
from myriad.workload.jobs import TrainingJob
from myriad.workload.tenants import Quota, Tenant

#: Whoever replays a schedule as it was judged knows every run time: no error, no word missing.
KNOWN = Estimates(error=0.0, bias=1.0, rounded=False, unknown=0.0)


class Trace:
    """Jobs of a trace in order of submission. What users said of run times is in no trace: it is drawn."""

    def __init__(
        self,
        name: str,
        rows: Sequence[Row],
        *,
        estimates: Estimates | None = None,
        quotas: dict[str, int] | None = None,
        checkpoint_bytes_per_chip: float = 0.0,
        left_out: Counter[str] | None = None,
        bad_rows: Sequence[UserError] = (),
    ) -> None:
        if not rows:
            raise UserError("holds no job that ran on accelerators", field="trace", value=name)
        self.name = name
        self.rows = sorted(rows, key=lambda row: row.submit_s)
        #: Sound rows that are no jobs of ours, by reason; and rows that could not be read.
        self.left_out = left_out or Counter()
        self.bad_rows = tuple(bad_rows)
        self.estimates = estimates or Estimates()
        self._saved = checkpoint_bytes_per_chip
        self._owners = _names(row.tenant for row in self.rows)
        self._kinds = _names((row.kind for row in self.rows), "job")
        self._quotas = quotas or {}
        for owner in self._quotas:
            if owner not in self._owners:
                remedy = "It has " + ", ".join(list(self._owners)[:12])
                raise UserError("is nobody of the trace", field="quotas", value=owner, remedy=remedy)

    @property
    def span_ns(self) -> Span:
        """From the first submission to the last."""
        return round((self.rows[-1].submit_s - self.rows[0].submit_s) * 1000) * MILLISECOND

    def only(self, *owners: str) -> "Trace":
        """The jobs of some virtual clusters or users, as the trace names them."""
        rows = [row for row in self.rows if row.tenant in owners]
        quotas = {name: chips for name, chips in self._quotas.items() if name in owners}
        return Trace(
            f"{self.name} ({', '.join(owners)})",
            rows,
            estimates=self.estimates,
            quotas=quotas,
            checkpoint_bytes_per_chip=self._saved,
        )

    def owner(self, name: str) -> TenantId:
        """The tenant that stands for a virtual cluster or user of the trace."""
        return TenantId(self._owners[name])

    def tenants(self, site: Site) -> tuple[Tenant, ...]:
        """One for each virtual cluster, or each user where there are none.

        Quotas are not in the traces: without any given, all own nothing and may borrow twice the site, so
        that room is what a gang waits for. A limit of just the site would be met first, and who waits for
        quota holds nobody up: large gangs would be passed for ever.
        """
        total = site.chip_count
        if sum(self._quotas.values()) > total:
            raise UserError(
                f"is more than the {total} chips of {site.name}",
                field="quotas",
                value=sum(self._quotas.values()),
                remedy="Give less, or take a larger site",
            )
        found = []
        for name, tenant in self._owners.items():
            own = self._quotas.get(name, 0)
            borrow = 0 if name in self._quotas else 2 * total
            found.append(Tenant(name=TenantId(tenant), quota=Quota(chips=own, borrow=borrow)))
        return tuple(found)

    def backlog(self, site: Site, stream: Stream) -> Refill | None:  # noqa: ARG002
        """None: a trace says itself when its jobs come."""
        return None

    def arrivals(
        self, site: Site, stream: Stream, span_ns: Span = 1 << 62, start: Instant = 0
    ) -> Iterator[Work]:
        """Jobs of the first `span_ns`, the first at `start`. UserError if one is larger than the site."""
        gangs = self._gangs(site)
        return self._made(gangs, Chance(stream.split("trace")), span_ns, start)

    def _gangs(self, site: Site) -> dict[float, Gang]:
        gangs: dict[float, Gang] = {}
        for row in self.rows:
            if row.chips in gangs:
                continue
            try:
                gangs[row.chips] = gang_of(site, "", row.chips)
            except UserError as error:
                raise UserError(
                    error.problem,
                    field=f"{self.name}, line {row.line}, job {row.job}: chips",
                    value=error.value,
                    remedy="Take a larger site",
                ) from None
        return gangs

    def _made(
        self, gangs: dict[float, Gang], chance: Chance, span_ns: Span, start: Instant
    ) -> Iterator[Work]:
        count = len(self.rows)
        error, _ = chance.normals(count)
        silent = chance.uniform(count) < self.estimates.unknown
        ran = np.array([row.run_s for row in self.rows])
        said = np.where(silent, 0.0, said_s(self.estimates, np.maximum(ran, 1.0), error))
        first = self.rows[0].submit_s
        specs: dict[tuple[str, str, float, Outcome], TrainingJob] = {}
        for row, guess in zip(self.rows, said.tolist(), strict=True):
            at = round((row.submit_s - first) * 1000) * MILLISECOND
            if at >= span_ns:
                return
            gang = gangs[row.chips]
            key = (row.tenant, row.kind, row.chips, row.outcome)
            spec = specs.get(key)
            if spec is None:
                spec = specs[key] = TrainingJob(
                    name=self._kinds[row.kind],
                    tenant=self.owner(row.tenant),
                    nodes=gang.nodes,
                    chips_per_node=gang.chips_per_node,
                    # what saves speaks to the brain, and is told when to
                    recipe="pretrain" if self._saved else "",
                    command=() if self._saved else ("run",),
                    retries=0 if row.outcome == "failed" else 3,
                )
            work_ns = max(1, round(row.run_s)) * SECOND
            truth = Truth(*pieces(work_ns), row.outcome, self._saved * gang.chips)
            profile = Profile(expected_ns=int(guess) * SECOND, memory_copies=self._saved > 0)
            yield Work(start + at, JobId(f"job-{row.line}"), spec, profile, truth)

    def summary(self) -> "Summary":
        """The figures that its publishers give for a trace."""
        chips = np.array([row.chips for row in self.rows])
        ran = np.array([row.run_s for row in self.rows])
        return summary(chips, ran, [row.outcome for row in self.rows])


class Summary(NamedTuple):
    """Figures of jobs, in seconds and chips, as `cluster_summary.csv` of AcmeTrace has them."""

    jobs: int
    mean_size: float
    median_size: float
    largest: float
    mean_run_s: float
    median_run_s: float
    longest_run_s: float
    job_shares: dict[Outcome, float]
    chip_s: dict[Outcome, float]  # by outcome, summed


def summary(chips: np.ndarray, ran_s: np.ndarray, outcomes: Sequence[Outcome]) -> Summary:
    """The figures of jobs given as columns."""
    ended = np.array(outcomes)
    kinds: tuple[Outcome, ...] = ("succeeded", "failed", "cancelled")
    return Summary(
        jobs=len(chips),
        mean_size=float(chips.mean()),
        median_size=float(np.median(chips)),
        largest=float(chips.max()),
        mean_run_s=float(ran_s.mean()),
        median_run_s=float(np.median(ran_s)),
        longest_run_s=float(ran_s.max()),
        job_shares={kind: float((ended == kind).mean()) for kind in kinds},
        chip_s={kind: float((chips * ran_s)[ended == kind].sum()) for kind in kinds},
    )


def _names(given: Iterator[str], default: str = "somebody") -> dict[str, str]:
    """A name that can be part of an id for each name of a trace, no two the same; in order of first use."""
    found: dict[str, str] = {}
    taken: dict[str, None] = {}
    for text in given:
        if text in found:
            continue
        kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())
        base = kept.strip("-")[:30] or default
        base = base if base[0].isalpha() else f"x{base}"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}-{number}"
        found[text] = name
        taken[name] = None
    return found
