"""The generator against published aggregates of real clusters; a real trace, first come against shortest.

Data: the folder `shared/data` beside the repository, or where MYRIAD_DATA says; the files and their
licences are in its README. (a) For each cluster, what `scenarios/parts/workload-*.yaml` gives in as many
jobs as were published (more windows where these are few), beside `cluster_summary_acme.csv`. (b) Two
virtual clusters of Helios Venus through the real brain, each with its own nodes, under `fifo` and with
shortest-first in its place, run times known: alone, and in the simulated world; beside them an event
simulation of strict first come and strict shortest first, written apart, which the brain cannot beat or
miss by more than a placement. Published for comparison: Helios' own artifact replays Philly with mean
completion 86,072 s first come and 34,272 s shortest first (2.5 times; waits 56,531 and 4,731 s, 11.9
times); with predicted run times up to 6.5 times on Helios (Hu et al., SC 2021). Neither is of these two
virtual clusters.
"""

import csv
import heapq
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from bench import report
from bench.saturated import opened
from myriad.control.core import Core
from myriad.control.policy import Own, Policy
from myriad.control.sitefile import Setup
from myriad.fleet.site import Pod, Site
from myriad.kernel import documents
from myriad.kernel.ids import JobId
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, SECOND, Instant, Span
from myriad.protocol import facts, inputs, orders
from myriad.protocol.fact import Fact
from myriad.schedule.asks import Ask
from myriad.schedule.policy import Standing
from myriad.twin.physics import Physics
from myriad.twin.run import simulate
from myriad.twin.scenario import Scenario
from myriad.twin.workload import config, traces
from myriad.twin.workload.columns import OUTCOMES
from myriad.twin.workload.work import Work
from myriad.workload.prices import PriceBook

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("MYRIAD_DATA", ROOT.parent / "shared" / "data")) / "traces"
#: Row of the summary -> our file, days of the trace (tools/workload_priors.yaml has their sources).
CLUSTERS = {
    "Seren": ("workload-acme-seren.yaml", 184),
    "Kalos": ("workload-acme-kalos.yaml", 107),
    "Philly": ("workload-philly.yaml", 137),
    "Helios": ("workload-helios.yaml", 183),
    "PAI": ("workload-pai.yaml", 62),
}
#: Jobs drawn at least, so that the figure is the mixture's and not the luck of its few largest jobs.
ENOUGH = 2_000_000
BAR = 0.10
#: Virtual clusters of the slice and their nodes of 8, as its header has them.
NODES = {"vcvGl": 20, "vcvlY": 2}
CHIPS = 8
#: What takes time in the simulated world and not in a published simulation of a queue.
DELAYS = ("boot_s", "qualify_s", "start_s", "load_s", "stop_s", "save_s", "copy_s")
STRICT = Path("src/myriad/control/policies/fifo.yaml")


class Line(NamedTuple):
    """One published figure and ours."""

    cluster: str
    figure: str
    published: float
    ours: float

    @property
    def ratio(self) -> float:
        """Ours over published."""
        return self.ours / self.published


def like(chips: int) -> Site:
    """A site of about so many chips in nodes of 8."""
    return Site(
        name="like",
        chip="v100-sxm-32gb",
        chips_per_node=CHIPS,
        pods=(Pod(name="p", racks=1, nodes_per_rack=chips // CHIPS),),
    )


def window(workload: config.Workload, days: int, seed: int) -> traces.Summary:
    """One window as its publishers would summarise it: sizes as asked, parts of a chip included."""
    site = like(workload.per_chips)
    sizes, ran, ended = [], [], []
    table = [np.array(list(kind.sizes)) for kind in workload.classes]
    for jobs in workload.columns(site, Stream(seed, "bench"), days * DAY):
        asked = np.empty(len(jobs.kind))
        for kind, of in enumerate(table):
            rows = jobs.kind == kind
            asked[rows] = of[jobs.size[rows]]
        sizes.append(asked)
        ran.append(jobs.work_s)
        ended.append(jobs.outcome)
    names = np.array(OUTCOMES)[np.concatenate(ended)]
    return traces.summary(np.concatenate(sizes), np.concatenate(ran), names)


def pooled(windows: Sequence[traces.Summary]) -> traces.Summary:
    """Several windows as one: means weighed by jobs, medians averaged, jobs of one window."""
    jobs = [one.jobs for one in windows]
    every = {
        name: float(np.average([getattr(one, name) for one in windows], weights=jobs))
        for name in ("mean_size", "median_size", "mean_run_s", "median_run_s")
    }
    shares, spent = (
        {kind: float(np.average([getattr(one, name)[kind] for one in windows])) for kind in OUTCOMES}
        for name in ("job_shares", "chip_s")
    )
    return traces.Summary(
        jobs=round(float(np.mean(jobs))),
        largest=max(one.largest for one in windows),
        longest_run_s=max(one.longest_run_s for one in windows),
        job_shares=shares,
        chip_s=spent,
        **every,
    )


def lines(cluster: str, row: dict[str, str], ours: traces.Summary) -> Iterator[Line]:
    """Every published figure of a cluster."""
    for name, column, value in (
        ("GPU jobs", "gpu_job_num", ours.jobs),
        ("mean size", "avg_gpu_num", ours.mean_size),
        ("median size", "med_gpu_num", ours.median_size),
        ("largest size", "max_gpu", ours.largest),
        ("mean run time, s", "avg_run_time_gpu", ours.mean_run_s),
        ("median run time, s", "med_run_time_gpu", ours.median_run_s),
        ("longest run time, s", "max_run_time_gpu", ours.longest_run_s),
    ):
        yield Line(cluster, name, float(row[column]), float(value))
    words = {"succeeded": "complete", "failed": "fail", "cancelled": "cancel"}
    total = sum(ours.chip_s.values())
    for outcome in OUTCOMES:
        word = words[outcome]
        if row[f"{word}_rate_gpu"]:
            yield Line(cluster, f"{outcome}, jobs", float(row[f"{word}_rate_gpu"]), ours.job_shares[outcome])
            share, spent = float(row[f"{word}_rate_gpu_time"]), ours.chip_s[outcome]
            yield Line(cluster, f"{outcome}, share of GPU time", share, spent / total)
            yield Line(cluster, f"{outcome}, GPU-s", float(row[f"{word}_gpu_time"]), spent)


def aggregates(console: Console) -> tuple[list[Line], list[Line]]:
    """(a): all clusters, pooled and in one window of the published length."""
    with (DATA / "cluster_summary_acme.csv").open() as file:
        published = {row["id"]: row for row in csv.DictReader(file)}
    found: list[Line] = []
    alone: list[Line] = []
    table = Table("cluster", "figure", "published", "ours", "ratio", "one window", title="generator")
    for cluster, (name, days) in CLUSTERS.items():
        workload = config.read(ROOT / "scenarios" / "parts" / name)
        row = published[cluster]
        count = max(1, -(-ENOUGH // int(row["gpu_job_num"])))
        windows = [window(workload, days, seed) for seed in range(count)]
        single = list(lines(cluster, row, windows[0]))
        for line, once in zip(lines(cluster, row, pooled(windows)), single, strict=True):
            found.append(line)
            alone.append(once)
            table.add_row(
                f"{cluster} x{count}",
                line.figure,
                f"{line.published:,.6g}",
                f"{line.ours:,.6g}",
                f"{line.ratio:.3f}",
                f"{once.ratio:.3f}",
            )
    console.print(table)
    return found, alone


# ---- (b) a replay --------------------------------------------------------------------------------


class ShortestFirst:
    """An order of one's own, as in examples/policies: predicted run time first."""

    by_tenant = False

    def tenant_key(self, _standing: Standing, _now: Instant, /) -> float:
        """Not asked."""
        return 0.0

    def ask_key(self, ask: Ask) -> tuple[int, ...]:
        """Predicted run time, then time of submission."""
        return (ask.run_ns or 1 << 62, ask.queued_at)


class Ran(NamedTuple):
    """Waits and completion times of a replay, in seconds, and how much of the nodes was used."""

    waits: np.ndarray
    completions: np.ndarray
    utilisation: float


class Replay:
    """Jobs through a core, nothing but the queue between them: gangs start and end at once."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._ahead: list[tuple[Instant, int, inputs.Input]] = []
        self._number = 0
        self._works: dict[JobId, Work] = {}
        self.started: dict[JobId, Instant] = {}

    def run(self, works: Iterable[Work]) -> None:
        """Until nothing happens any more."""
        for work in works:
            self._works[work.job] = work
            given = inputs.SubmitJob(at=work.at, job=work.job, spec=work.spec, profile=work.profile)
            self._later(work.at, given)
        while self._ahead:
            now = self._ahead[0][0]
            batch = []
            while self._ahead and self._ahead[0][0] == now:
                batch.append(msgspec.structs.replace(heapq.heappop(self._ahead)[2], at=now))
            steps, cycle = self._core.turn(batch)
            for step in (*steps, cycle):
                for order in step.orders:
                    self._obey(now, order)

    def _later(self, at: Instant, given: inputs.Input) -> None:
        self._number += 1
        heapq.heappush(self._ahead, (at, self._number, given))

    def _obey(self, now: Instant, order: orders.Order) -> None:
        match order:
            case orders.StartGang():
                self.started[order.job] = now
                self._later(now, inputs.GangStarted(at=now, attempt=order.attempt))
                work = self._works[order.job]
                self._later(now + work.truth.work_ns, inputs.GangExited(at=now, attempt=order.attempt))
            case orders.StopGang():
                self._later(now, inputs.GangGone(at=now, attempt=order.attempt))
            case orders.WakeAt():
                self._later(max(order.wake_at, now), inputs.Woke(at=now, about=order.about))
            case _:
                pass


def through_core(trace: traces.Trace, nodes: int, policy: Policy, own: Own | None = None) -> Ran:
    """The trace on a site of its own, decided by the real brain."""
    site = like(nodes * CHIPS)
    core = opened(site, policy, own)
    for tenant in trace.tenants(site):
        core.step(inputs.ApplyTenant(at=0, tenant=tenant))
    works = list(trace.arrivals(site, Stream(1, "replay")))
    replay = Replay(core)
    replay.run(works)
    assert len(replay.started) == len(works), "a job never started"
    starts = [replay.started[work.job] for work in works]
    return judged(works, starts, nodes)


def through_twin(trace: traces.Trace, nodes: int, policy: Policy, own: Own | None = None) -> Ran:
    """The trace in the simulated world, where gangs start and stop in no time, without faults."""
    site = like(nodes * CHIPS)
    at_once = Physics(whole_gangs=True, report_s=3600, jitter=0, **dict.fromkeys(DELAYS, 0.0))
    setup = Setup(site, policy, PriceBook(), own or Own())
    works = list(trace.arrivals(site, Stream(1, "replay")))
    began: dict[JobId, Instant] = {}
    ended: dict[JobId, Instant] = {}

    def follow(happened: Sequence[Fact]) -> None:
        for fact in happened:
            if isinstance(fact, facts.GangPlaced):
                began[fact.job] = fact.at
            elif isinstance(fact, facts.JobEnded):
                ended[fact.job] = fact.at

    scenario = Scenario("replay", setup, physics=at_once)
    span_ns = works[-1].at + 60 * DAY
    simulate(scenario, 1, span_ns, source=trace, followers=[follow])
    assert len(ended) == len(works), f"{len(works) - len(ended)} jobs did not end"
    at = np.array([work.at for work in works], dtype=float) / SECOND
    start = np.array([began[work.job] for work in works], dtype=float) / SECOND
    over = np.array([ended[work.job] for work in works], dtype=float) / SECOND
    chips = np.array([work.spec.chips for work in works], dtype=float)
    used = float(((over - start) * chips).sum()) / (nodes * CHIPS * float(over.max() - at.min()))
    return Ran(start - at, over - at, used)


def judged(works: Sequence[Work], starts: Sequence[Instant], nodes: int) -> Ran:
    """Waits, completions, and chip-time used from the first submission to the last end."""
    at = np.array([work.at for work in works], dtype=float) / SECOND
    began = np.array(starts, dtype=float) / SECOND
    ran = np.array([work.truth.work_ns for work in works], dtype=float) / SECOND
    chips = np.array([work.spec.chips for work in works], dtype=float)
    used = float((ran * chips).sum())
    return Ran(began - at, began + ran - at, used / (nodes * CHIPS * float((began + ran).max() - at.min())))


def strict(works: Sequence[Work], nodes: int, *, shortest: bool) -> list[Instant]:
    """The peer: strictly in order, nobody passes the head; small gangs go to the tightest node that fits."""
    free = [CHIPS] * nodes
    ends: list[tuple[Instant, int, list[tuple[int, int]]]] = []
    queue: list[tuple[tuple[Span, int] | int, int]] = []
    starts = [0] * len(works)
    arriving = 0
    while arriving < len(works) or queue or ends:
        moments = [works[arriving].at] if arriving < len(works) else []
        now = min([*moments, *([ends[0][0]] if ends else [])])
        while ends and ends[0][0] == now:
            for node, chips in heapq.heappop(ends)[2]:
                free[node] += chips
        while arriving < len(works) and works[arriving].at == now:
            key = (works[arriving].truth.work_ns, arriving) if shortest else arriving
            heapq.heappush(queue, (key, arriving))
            arriving += 1
        while queue:
            work = works[queue[0][1]]
            taken = room(free, work.spec.min_nodes, work.spec.chips_per_node)
            if taken is None:
                break
            _, number = heapq.heappop(queue)
            for node, chips in taken:
                free[node] -= chips
            starts[number] = now
            heapq.heappush(ends, (now + work.truth.work_ns, number, taken))
    return starts


def room(free: Sequence[int], nodes: int, chips: int) -> list[tuple[int, int]] | None:
    """The tightest nodes with room for so many chips each; None if there are not as many."""
    fits = sorted((left, node) for node, left in enumerate(free) if left >= chips)
    return [(node, chips) for _, node in fits[:nodes]] if len(fits) >= nodes else None


def pool(parts: Sequence[Ran]) -> tuple[float, float, float]:
    """Mean wait, mean completion time and 99 % wait over virtual clusters."""
    waits = np.concatenate([part.waits for part in parts])
    completions = np.concatenate([part.completions for part in parts])
    return float(waits.mean()), float(completions.mean()), float(np.quantile(waits, 0.99))


def replays(console: Console) -> dict[str, tuple[float, float, float]]:
    """(b): two orders, two ways; and what the brain does by default, with the words of users."""
    slice_ = traces.read(DATA / "helios_venus_2vc_sept.csv", estimates=traces.KNOWN)
    said = traces.read(DATA / "helios_venus_2vc_sept.csv")
    policy = msgspec.convert(next(documents.documents((ROOT / STRICT).read_text(), "fifo")), Policy)
    found: dict[str, list[Ran]] = {}
    for cluster, nodes in NODES.items():
        trace = slice_.only(cluster)
        works = list(trace.arrivals(like(nodes * CHIPS), Stream(1, "replay")))
        ways = {
            "fifo, brain": through_core(trace, nodes, policy),
            "fifo, twin": through_twin(trace, nodes, policy),
            "fifo, peer": judged(works, strict(works, nodes, shortest=False), nodes),
            "shortest, brain": through_core(trace, nodes, policy, Own(order=ShortestFirst())),
            "shortest, twin": through_twin(trace, nodes, policy, Own(order=ShortestFirst())),
            "shortest, peer": judged(works, strict(works, nodes, shortest=True), nodes),
            "default, run times known": through_core(trace, nodes, Policy()),
            "default, users' estimates": through_core(said.only(cluster), nodes, Policy()),
        }
        for name, ran in ways.items():
            found.setdefault(name, []).append(ran)
    used = [f"used, {cluster}" for cluster in NODES]
    table = Table("Helios Venus", "mean wait, s", "99 % wait, s", "mean completion, s", *used)
    pooled_ = {name: pool(parts) for name, parts in found.items()}
    for name, (wait, completion, tail) in pooled_.items():
        used = [f"{part.utilisation:.1%}" for part in found[name]]
        table.add_row(name, f"{wait:,.0f}", f"{tail:,.0f}", f"{completion:,.0f}", *used)
    console.print(table)
    return pooled_


def main() -> None:
    """Print the tables and the last line."""
    console = Console(width=130)
    if not DATA.is_dir():
        sys.exit(f"needs the traces: no folder {DATA}; set MYRIAD_DATA to the folder that has traces/")
    found, alone = aggregates(console)
    misses, once = ([abs(line.ratio - 1) for line in some] for some in (found, alone))
    within, within_once = (sum(miss <= BAR for miss in some) for some in (misses, once))
    print(f"figures within {BAR:.0%}: {within} of {len(found)}, worst {found[int(np.argmax(misses))]}")
    print(f"in one window of the published length: {within_once}, worst {alone[int(np.argmax(once))]}")
    openb = traces.openb_site(DATA / "alibaba_gpu_2023_nodes.csv")
    pods = traces.read(DATA / "alibaba_gpu_2023_pods.csv")
    kinds = f"{openb.node_count} nodes, {openb.chip_count} GPUs, {len(openb.pods)} pods"
    print(f"OpenB: {kinds}; {traces.counts(pods)}")
    ways = replays(console)
    wait, completion = (ways["fifo, brain"][at] / ways["shortest, brain"][at] for at in (0, 1))
    peer = ways["fifo, peer"][1] / ways["shortest, peer"][1]
    print(f"shortest first: waits {wait:.2f} times shorter, completions {completion:.2f} (peer {peer:.2f})")
    report.finish(
        "traces",
        100 * max(misses),
        "% off, worst published figure",
        "the bar",
        100 * BAR,
        better="lower",
        figures=len(found),
        within_bar=within,
        within_bar_one_window=within_once,
        mean_off=round(100 * float(np.mean(misses)), 2),
        jct_fifo_s=round(ways["fifo, brain"][1]),
        jct_shortest_s=round(ways["shortest, brain"][1]),
        jct_ratio=round(completion, 3),
        wait_ratio=round(wait, 3),
        peer_jct_ratio=round(peer, 3),
        published_jct_ratio_philly=2.51,
    )


if __name__ == "__main__":
    main()
