"""Jobs out of columns: what the brain is told, and the truth. Alike jobs share one spec."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from myriad.catalog import chips as catalogue
from myriad.catalog.chips import Chip
from myriad.fleet.site import Site
from myriad.kernel import units
from myriad.kernel.errors import UserError
from myriad.kernel.ids import JobId
from myriad.kernel.rng import Stream
from myriad.kernel.units import HOUR, MILLISECOND, MINUTE, SECOND, Instant, Span
from myriad.performance import spans
from myriad.protocol.values import Profile
from myriad.twin.workload.columns import OUTCOMES, RANKS, Jobs, Shapes
from myriad.twin.workload.crowds import crowd
from myriad.twin.workload.draws import BLOCK, Chance, Clock, Floats
from myriad.twin.workload.shapes import Estimates, JobClass, Share, Training
from myriad.twin.workload.work import Truth, Work
from myriad.workload.jobs import NodeRange, TrainingJob

#: What a job without steps counts in.
PIECE: Span = MINUTE
#: Nobody says a run time of more than this: estimated, the ceiling that batch systems set (a month).
_MOST_SAID_S = 30 * 24 * 3600.0


class Gang(NamedTuple):
    """Nodes and chips of each for a size in chips."""

    nodes: int
    chips_per_node: int

    @property
    def chips(self) -> int:
        """What it holds."""
        return self.nodes * self.chips_per_node


class Configuration(NamedTuple):
    """What all runs of one training configuration share."""

    step_ns: Span
    flops: float
    tokens: float
    parameters: int
    checkpoint_bytes: float
    peak_share: float
    stretch: tuple[float, float, float]


def gang_of(site: Site, chip: str, size: float) -> Gang:
    """The gang that holds so many chips: parts of a chip and of a node are rounded up.

    Raises UserError if the site has no such chip type or not so many.
    """
    kinds = site.kinds()
    kind = chip or site.chip
    if kind not in kinds:
        remedy = "It has " + ", ".join(kinds)
        raise UserError(f"is a chip type that {site.name} has not", field="chip", value=kind, remedy=remedy)
    nodes, per_node = kinds[kind]
    chips = math.ceil(size)
    gang = Gang(1, chips) if chips <= per_node else Gang(math.ceil(chips / per_node), per_node)
    if gang.nodes > nodes:
        raise UserError(
            f"is more than the {nodes} nodes of {per_node} {kind} of {site.name}",
            field="chips",
            value=chips,
            remedy="Set `largest` to cut such jobs down, or take a larger site",
        )
    return gang


class Ask(NamedTuple):
    """What of a workload decides how its jobs look."""

    classes: Sequence[JobClass]
    shares: Sequence[Share]
    estimates: Estimates
    #: Larger gangs are cut down to so many chips; 0: none.
    largest: int


class Maker:
    """Turns columns into jobs, for one site."""

    def __init__(self, ask: Ask, site: Site, stream: Stream, prefix: str) -> None:
        self._classes, self._estimates = ask.classes, ask.estimates
        self.crowd = crowd(ask.shares, ask.classes, site)
        self.shapes = Shapes(ask.classes, self.crowd.weights)
        self.chance = Chance(stream.split("jobs"))
        self._prefix = prefix
        self._made = 0
        self._gangs = [_sized(kind, site, ask.largest) for kind in ask.classes]
        variants = stream.split("configurations")
        self._configurations = [
            self._configured(kind, gangs, site, variants)
            for kind, gangs in zip(ask.classes, self._gangs, strict=True)
        ]
        self._specs: dict[int, TrainingJob] = {}
        self._check_limits(ask.classes)

    def _check_limits(self, classes: Sequence[JobClass]) -> None:
        """Nobody submits a gang that it, or what it is part of, may never hold."""
        by_name = {tenant.name: tenant for tenant in self.crowd.tenants}
        for kind, gangs, weights in zip(classes, self._gangs, self.crowd.weights, strict=True):
            most = max(gang.chips for gang, weight in zip(gangs, kind.sizes.values(), strict=True) if weight)
            for user, weight in zip(self.crowd.users, weights, strict=True):
                above = user
                while above and weight and kind.share:
                    if most > by_name[above].quota.limit:
                        raise UserError(
                            f"may never hold the {most} chips of a {kind.name} that {user} submits",
                            field=f"workload.tenants.{above}",
                            value=by_name[above].quota.limit,
                            remedy=f"Let it borrow more, or give it `classes: {{{kind.name}: 0}}`",
                        )
                    above = by_name[above].parent

    def _configured(
        self, kind: JobClass, gangs: list[Gang], site: Site, stream: Stream
    ) -> list[list[Configuration]]:
        if kind.training is None:
            return []
        chance = Chance(stream.split(kind.name))
        chip = catalogue.named(kind.chip or site.chip)
        share = kind.training.mfu or chip.training_share.value
        peak = chip.training_flops.value
        return [
            _configurations(
                kind.training, size, gang, peak, share, chance, kind.training.stretch or _stretch(chip, gang)
            )
            for size, gang in zip(kind.sizes, gangs, strict=True)
        ]

    def make(self, jobs: Jobs, start: Instant) -> Iterator[Work]:
        """The jobs of a block, in its order."""
        said, silent = (
            said_s(self._estimates, jobs.meant_s, jobs.error),
            jobs.silent < self._estimates.unknown,
        )
        sizes = max(len(gangs) for gangs in self._gangs)
        key = (((jobs.kind * len(self.crowd.users) + jobs.user) * sizes + jobs.size) * 3 + jobs.rank) * 4
        key += jobs.elastic * 2 + (jobs.outcome == 1)
        at = start + np.rint(jobs.at_s * 1000.0).astype(np.int64) * MILLISECOND
        steps_error = np.exp(self._estimates.error * jobs.error)
        specs = self._specs
        rows = zip(
            at.tolist(),
            key.tolist(),
            jobs.kind.tolist(),
            jobs.size.tolist(),
            jobs.outcome.tolist(),
            (jobs.work_s.astype(np.int64) * SECOND).tolist(),
            np.where(silent, 0, said.astype(np.int64) * SECOND).tolist(),
            (jobs.meant_s * steps_error * 1e9).tolist(),
            jobs.variant.tolist(),
            strict=True,
        )
        for row, (instant, number, kind, size, outcome, work_ns, said_ns, meant_ns, variant) in enumerate(
            rows
        ):
            spec = specs.get(number)
            if spec is None:
                spec = specs[number] = self._spec(jobs, row)
            self._made += 1
            job = JobId(f"{self._prefix}{self._made}")
            known = self._configurations[kind]
            if known:
                choice = known[size]
                of = choice[int(variant * len(choice))]
                profile, truth = self._training(kind, of, work_ns, meant_ns, outcome)
            else:
                profile = Profile(expected_ns=said_ns)
                truth = Truth(*pieces(work_ns), OUTCOMES[outcome])
            yield Work(instant, job, spec, profile, truth)

    def _training(
        self, kind: int, of: Configuration, work_ns: Span, meant_ns: float, outcome: int
    ) -> tuple[Profile, Truth]:
        training = self._classes[kind].training
        assert training is not None
        steps = max(1, round(work_ns / of.step_ns))
        profile = Profile(
            steps=max(1, round(meant_ns / of.step_ns)),
            tokens_per_step=int(of.tokens),
            flops_per_step=of.flops,
            peak_share=of.peak_share,
            parameters=of.parameters,
            memory_copies=True,
            stretch=of.stretch,
        )
        truth = Truth(
            steps * of.step_ns,
            of.step_ns,
            OUTCOMES[outcome],
            of.checkpoint_bytes,
            of.stretch,
            training.exposed,
            of.tokens,
            of.flops,
        )
        return profile, truth

    def _spec(self, jobs: Jobs, row: int) -> TrainingJob:
        kind = self._classes[int(jobs.kind[row])]
        gang = self._gangs[int(jobs.kind[row])][int(jobs.size[row])]
        nodes: int | NodeRange = gang.nodes
        least = max(1, math.ceil(gang.nodes * kind.elastic_least))
        if jobs.elastic[row] and least < gang.nodes:
            nodes = NodeRange(min=least, max=gang.nodes)
        return TrainingJob(
            name=kind.name,
            tenant=self.crowd.users[int(jobs.user[row])],
            nodes=nodes,
            chips_per_node=gang.chips_per_node,
            chip=kind.chip,
            priority=RANKS[int(jobs.rank[row])],
            # training speaks to the brain: it reports, and saves when it is told to
            recipe="pretrain" if kind.training else "",
            command=() if kind.training else ("run",),
            # what fails by itself fails again
            retries=0 if OUTCOMES[int(jobs.outcome[row])] == "failed" else kind.retries,
        )


def _sized(kind: JobClass, site: Site, largest: int) -> list[Gang]:
    """The gangs of a class's sizes. Raises UserError naming the class that does not fit."""
    found = []
    for size, weight in kind.sizes.items():
        try:
            found.append(gang_of(site, kind.chip, min(size, largest or math.inf)))
        except UserError as error:
            if weight and kind.share:
                field = f"workload.classes.{kind.name}.{'chip' if error.field == 'chip' else 'sizes'}"
                raise UserError(error.problem, field=field, value=error.value, remedy=error.remedy) from None
            found.append(Gang(1, 1))
    return found


def said_s(estimates: Estimates, meant_s: Floats, error: Floats) -> Floats:
    """What users say of run times that they mean, in seconds, rounded up as people do."""
    guess = np.minimum(meant_s * estimates.bias * np.exp(estimates.error * error), _MOST_SAID_S)
    if estimates.rounded:
        # people say 5 minutes, a quarter, an hour, a day: up to the next that is a round number
        grain = np.select([guess < 900, guess < 3600, guess < 86400], [300, 900, 3600], 86400)
        guess = np.ceil(guess / grain) * grain
    return np.maximum(guess, 1.0)


def pieces(work_ns: Span) -> tuple[Span, Span]:
    """Work in whole pieces of a minute at most, and a piece."""
    pieces = -(-work_ns // PIECE)
    piece = work_ns // pieces
    return pieces * piece, piece


def _stretch(chip: Chip, gang: Gang) -> tuple[float, float, float]:
    """What it costs a gang to lie in several racks, pods, cores."""
    return spans.ALIKE if gang.nodes == 1 else spans.of_unknown(chip, gang.chips)


def _configurations(
    training: Training,
    size: float,
    gang: Gang,
    peak: float,
    share: float,
    chance: Chance,
    stretch: tuple[float, float, float],
) -> list[Configuration]:
    """The configurations of one gang size: what differs is the step, and how well the model knows it."""
    known = [at for at in sorted(training.parameters) if at <= size] or sorted(training.parameters)[:1]
    parameters = units.count(training.parameters[known[-1]])
    longer, better = chance.normals(training.variants)
    found = []
    for length, luck in zip(longer.tolist(), better.tolist(), strict=True):
        step_s = units.seconds(units.span_ns(training.step)) * math.exp(training.step_sigma * length)
        step_ns = max(1, min(round(step_s * 1000), HOUR // MILLISECOND)) * MILLISECOND
        mfu = min(0.95, share * math.exp(training.mfu_sigma * luck))
        flops = float(f"{units.seconds(step_ns) * gang.chips * peak * mfu:.6g}")
        tokens = max(1.0, math.floor(flops / (6.0 * parameters)))
        saved = parameters * training.checkpoint_bytes_per_parameter
        found.append(Configuration(step_ns, flops, tokens, parameters, saved, share, stretch))
    return found


class Loop:
    """The closed loop: as many jobs wait as should, as long as it is asked."""

    def __init__(self, maker: Maker, jobs: int) -> None:
        self._maker, self._jobs = maker, jobs
        self._stock: list[Work] = []

    def refill(self, now: Instant, waiting_jobs: int) -> list[Work]:
        """The jobs to submit now."""
        lacking = self._jobs - waiting_jobs
        while len(self._stock) < lacking:
            maker = self._maker
            drawn = maker.shapes.draw(maker.chance, np.zeros(min(BLOCK, max(16, lacking))))
            self._stock.extend(maker.make(drawn, 0))
        if lacking <= 0:
            return []
        given, self._stock = self._stock[:lacking], self._stock[lacking:]
        return [work._replace(at=now) for work in given]


def drawn(maker: Maker, clock: Clock, span_ns: Span) -> Iterator[Jobs]:
    """What arrives within a span, as columns, block by block. A longer span begins with the same jobs."""
    end_s = units.seconds(span_ns)
    while True:
        jobs = maker.shapes.draw(maker.chance, clock.next(maker.chance, BLOCK))
        if jobs.at_s[-1] < end_s:
            yield jobs
            continue
        inside = int(np.searchsorted(jobs.at_s, end_s))
        if inside:
            yield Jobs(*(column[:inside] for column in jobs))  # type: ignore[arg-type]
        return


def arrivals(maker: Maker, clock: Clock, span_ns: Span, start: Instant) -> Iterator[Work]:
    """Jobs of [start, start + span), block by block."""
    for block in drawn(maker, clock, span_ns):
        yield from maker.make(block, start)
