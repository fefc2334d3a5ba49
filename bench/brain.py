"""What a job costs the brain in a simulation: CPU time of its submission, start and end, with nobody else.

Months of a site at 85 % of its chips: jobs mostly of a part of one node, some of whole nodes, three levels of
quota, the policies as they come. The body is a heap of instants that answers at once, outside of the figure.
Beside it the limit: folding the very facts that the brain decided.
"""

import argparse
import gc
import hashlib
import heapq
import math
import resource
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from bench import report
from bench.saturated import PRIORITIES, add_tenants, site
from myriad.control.apply import apply
from myriad.control.core import Core
from myriad.control.state import State
from myriad.fleet.site import Site
from myriad.kernel.ids import JobId, TenantId
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, HOUR, SECOND, Instant
from myriad.protocol import facts, inputs, orders, wire
from myriad.protocol.facts import Fact
from myriad.protocol.values import Profile
from myriad.workload.jobs import TrainingJob

#: Nodes and chips of a node, and how many of a hundred jobs ask for them.
SHAPES: Final = {
    (1, 1): 36,
    (1, 2): 20,
    (1, 4): 18,
    (1, 8): 18,
    (1, 16): 3,
    (2, 16): 2,
    (4, 16): 1,
    (8, 16): 1,
    (64, 16): 1,
}
#: Submissions of a simulation of 90 days of 10,000 chips, as the issue of the twin has it.
EVERY_NS: Final = 90 * DAY // 200_000 * 10_000  # times the chips of the site
USED: Final = 0.85
#: Demand swings by this share, so that at times some wait.
SWING, SWING_NS = 0.25, 3 * DAY


class Life:
    """Jobs that come and go on one site."""

    def __init__(self, core: Core, users: list[TenantId], chips: int, seed: int = 11) -> None:
        self.core = core
        self.now: Instant = 0
        self.spent: Counter[str] = Counter()
        self.given: Counter[str] = Counter()
        self.facts: list[Fact] | None = None
        self.most_waiting = self.waited = 0
        self._digest = hashlib.blake2b(digest_size=16)
        self._users, self._stream = users, Stream(seed, "life")
        most = chips // 400  # of a site that small, a team's quota is smaller than 64 nodes
        self._shapes = [
            (min(nodes, most), each) for (nodes, each), share in SHAPES.items() for _ in range(share)
        ]
        mean_chips = sum(nodes * each for nodes, each in self._shapes) / len(self._shapes)
        self._every_ns = EVERY_NS // chips
        self._run_ns = USED * chips * self._every_ns / mean_chips
        self._specs: dict[tuple[TenantId, tuple[int, int], int], TrainingJob] = {}
        self._ahead: list[tuple[Instant, int, inputs.Input]] = []
        self._runs: dict[JobId, int] = {}
        self._sequence = self._number = 0
        self._wakes: dict[str, Instant] = {}
        self.digesting = False

    def run(self, jobs: int) -> None:
        """Until so many more were submitted."""
        until = self._number + jobs
        coming = self._arrivals()
        at, given = next(coming)
        while True:
            while self._ahead and self._ahead[0][0] <= at:
                self.now, _, due = heapq.heappop(self._ahead)
                if not isinstance(due, inputs.Woke) or self._wakes.pop(due.about, 0) == self.now:
                    self._give(due)
            if self._number > until:
                return
            self.now = at
            self._give(given)
            self.waited += len(self.core.state.waiting)
            self.most_waiting = max(self.most_waiting, len(self.core.state.waiting))
            at, given = next(coming)

    def _arrivals(self) -> Iterator[tuple[Instant, inputs.SubmitJob]]:
        stream, at = self._stream, self.now
        while True:
            swing = 1 + SWING * math.sin(2 * math.pi * at / SWING_NS)
            at += int(stream.exponential(self._every_ns / swing))
            user, shape = stream.choice(self._users), stream.choice(self._shapes)
            number = stream.integer(0, len(PRIORITIES) - 1)
            job = JobId(f"job-{self._number}")
            self._number += 1
            run_ns = int(stream.exponential(self._run_ns)) // SECOND * SECOND + SECOND
            self._runs[job] = run_ns
            expected = int(run_ns * stream.uniform(0.8, 1.3))
            spec = self._spec(user, shape, number)
            yield at, inputs.SubmitJob(at=at, job=job, spec=spec, profile=Profile(expected_ns=expected))

    def _spec(self, user: TenantId, shape: tuple[int, int], number: int) -> TrainingJob:
        known = self._specs.get((user, shape, number))
        if known is None:
            known = self._specs[user, shape, number] = TrainingJob(
                name="job",
                tenant=user,
                nodes=shape[0],
                chips_per_node=shape[1],
                priority=PRIORITIES[number],
                command=("train",),
            )
        return known

    def _give(self, given: inputs.Input) -> None:
        kind = type(given).__name__
        began = time.thread_time_ns()
        step = self.core.step(given)
        self.spent[kind] += time.thread_time_ns() - began
        self.given[kind] += 1
        if self.digesting:
            self._digest.update(wire.encode(kind, step.facts))
        if self.facts is not None:
            self.facts += step.facts
        for order in step.orders:
            match order:
                case orders.StartGang():
                    up = self.now + 3 * SECOND
                    self._later(up, inputs.GangStarted(at=up, attempt=order.attempt))
                    end = up + self._runs[order.job]
                    self._later(end, inputs.GangExited(at=end, attempt=order.attempt))
                case orders.StopGang():
                    self._later(self.now, inputs.GangGone(at=self.now, attempt=order.attempt))
                case orders.WakeAt():
                    due = max(order.wake_at, self.now)
                    self._wakes[order.about] = due
                    self._later(due, inputs.Woke(at=due, about=order.about))
                case _:
                    pass

    def _later(self, at: Instant, given: inputs.Input) -> None:
        self._sequence += 1
        heapq.heappush(self._ahead, (at, self._sequence, given))

    @property
    def digest(self) -> str:
        """Of all facts so far."""
        return self._digest.hexdigest()


def opened(of: Site) -> tuple[Core, float, list[Fact]]:
    """A core with every node in service, the CPU time for each node in seconds, and the facts."""
    core, cpu = Core(), time.process_time()
    happened = [*core.step(inputs.OpenSite(at=0, site=of)).facts]
    for place in of.places():
        joined = inputs.NodeJoined(at=0, node=place.node, instance="i", chips=place.chips)
        happened += core.step(joined).facts
        happened += core.step(inputs.NodeQualified(at=0, node=place.node, instance="i", ok=True)).facts
    return core, (time.process_time() - cpu) / len(core.state.nodes), happened


def measure(chips: int, jobs: int, *, freeze: bool) -> dict[str, float]:
    """CPU microseconds of a job, in parts."""
    core, opening_s, _ = opened(site(chips))
    life = Life(core, add_tenants(core, chips), chips)
    life.run(max(2_000, chips // 5))  # until gangs of all ages run
    if freeze:
        gc.collect()
        gc.freeze()
        gc.disable()
    life.spent.clear()
    life.given.clear()
    life.waited = life.most_waiting = 0
    began, used = resource.getrusage(resource.RUSAGE_SELF), 0.0
    for _ in range(8):
        life.run(jobs // 8)
        used += 1 - core.state.columns.free_chips / chips
    cpu = resource.getrusage(resource.RUSAGE_SELF)
    gc.enable()
    gc.unfreeze()
    us = {kind: spent / 1000 / jobs for kind, spent in life.spent.items()}
    return {
        "opening_us_node": opening_s * 1e6,
        "us_job": sum(us.values()),
        "with_body_us_job": (cpu.ru_utime + cpu.ru_stime - began.ru_utime - began.ru_stime) * 1e6 / jobs,
        "submit_us": us["SubmitJob"],
        "start_us": us["GangStarted"],
        "end_us": us["GangExited"],
        "woke_us": us.get("Woke", 0.0),
        "preempted": life.given["GangGone"] / jobs,
        "used": used / 8,
        "waiting": life.waited / jobs,
        "most_waiting": life.most_waiting,
        "days": life.now / DAY,
        "memory_mib": cpu.ru_maxrss / 1024,
    }


def folding_us(chips: int, jobs: int) -> tuple[float, str]:
    """CPU microseconds a job to apply the facts alone; and a digest of every fact and of the last state."""
    core, _, happened = opened(site(chips))
    life = Life(core, add_tenants(core, chips), chips)
    happened += [facts.TenantSet(at=0, tenant=tenant) for tenant in core.state.tenants.values()]
    life.digesting, life.facts = True, []
    life.run(2 * jobs)
    folded = State()
    for fact in (*happened, *life.facts[: len(life.facts) // 2]):
        apply(folded, fact)
    rest = life.facts[len(life.facts) // 2 :]
    cpu = time.process_time()
    for fact in rest:
        apply(folded, fact)
    spent = time.process_time() - cpu
    assert folded.digest() == core.state.digest()
    return spent * 1e6 / jobs, f"{life.digest}-{core.state.digest()}"


def main() -> None:
    """Print the table and the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--gc", action="store_true", help="leave the collector of garbage on")
    parser.add_argument("--chips", type=int, action="append")
    given = parser.parse_args()
    found = {}
    for chips in given.chips or (10_000, 100_000):
        found[chips] = row = measure(chips, given.jobs, freeze=not given.gc)
        print(f"{chips:>8} " + " ".join(f"{name}={value:.3g}" for name, value in row.items()), flush=True)
    limit, digest = folding_us(10_000, 4_000)
    print(f"digest {digest}")
    last = found[max(found)]
    report.finish(
        "brain",
        last["us_job"],
        "CPU us a job, submission to end",
        "applying its facts without deciding (the limit)",
        limit,
        better="lower",
        hours=round(last["days"] * DAY / HOUR, 1),
        **{name: round(value, 3) for name, value in last.items()},
    )


if __name__ == "__main__":
    main()
