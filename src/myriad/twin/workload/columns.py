"""Columns of jobs drawn from a workload: everything that chance decides, before anything is made of it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from myriad.kernel import units
from myriad.protocol.values import Outcome
from myriad.twin.workload.draws import Chance, Choices, Floats, Ints
from myriad.twin.workload.shapes import JobClass, Lasts
from myriad.workload.jobs import PRIORITIES, Priority

#: In the order of `JobClass.endings`.
OUTCOMES: Final[tuple[Outcome, ...]] = ("succeeded", "failed", "cancelled")
RANKS: Final[tuple[Priority, ...]] = tuple(PRIORITIES)  # type: ignore[arg-type]


class Jobs(NamedTuple):
    """A block of jobs, one row each. Classes, sizes and so on are numbers in the order of their lists."""

    at_s: Floats  # since the start of the workload
    kind: Ints
    size: Ints  # which of its class's sizes
    user: Ints
    rank: Ints
    elastic: Ints  # 0 or 1
    outcome: Ints
    work_s: Floats  # whole seconds
    #: How long it would have run, had it not failed or been cancelled: what its user can know.
    meant_s: Floats
    #: Standard normal, for the error of what is said.
    error: Floats
    #: In [0, 1), for who says nothing and for the configuration.
    silent: Floats
    variant: Floats


class Shapes:
    """The classes of a workload as tables."""

    def __init__(self, classes: Sequence[JobClass], users: Sequence[Sequence[float]]) -> None:
        batch = np.array([kind.batch for kind in classes])
        #: Of submissions: classes that come in batches need fewer.
        self._kinds = Choices([[kind.share / kind.batch for kind in classes]])
        self._batch = batch
        self.jobs_per_submission = float(
            sum(kind.share for kind in classes) / sum(kind.share / kind.batch for kind in classes)
        )
        self.sizes = [list(kind.sizes) for kind in classes]
        self._sizes = Choices([list(kind.sizes.values()) for kind in classes])
        self._users = Choices([list(row) if sum(row) > 0 else [1.0] for row in users])
        self._ranks = Choices(
            [[(kind.priorities or {"normal": 1.0}).get(name, 0.0) for name in RANKS] for kind in classes]
        )
        self._elastic = np.array([kind.elastic for kind in classes])
        self._outcomes = Choices([[ending.share for ending in kind.endings] for kind in classes])
        mixtures = [ending.lasts for kind in classes for ending in kind.endings]
        self._parts = Choices([[part.weight for part in mixture] for mixture in mixtures])
        self._lasts = _table(mixtures)

    def draw(self, chance: Chance, at_s: Floats) -> Jobs:
        """The jobs of submissions at these seconds; those of one submission are alike and come together."""
        count = len(at_s)
        kind = self._kinds.pick(np.zeros(count, dtype=np.int64), chance.uniform(count))
        repeats = chance.geometric(self._batch[kind])
        size = self._sizes.pick(kind, chance.uniform(count))
        user = self._users.pick(kind, chance.uniform(count))
        rank = self._ranks.pick(kind, chance.uniform(count))
        elastic = (chance.uniform(count) < self._elastic[kind]).astype(np.int64)
        variant = chance.uniform(count)
        kind, size, user, rank = (np.repeat(column, repeats) for column in (kind, size, user, rank))
        rows = len(kind)
        outcome = self._outcomes.pick(kind, chance.uniform(rows))
        error, _ = chance.normals(rows)
        work, meant = chance.normals(rows)
        work_s = self._seconds(kind * 3 + outcome, chance.uniform(rows), work)
        would_s = self._seconds(kind * 3, chance.uniform(rows), meant)
        return Jobs(
            at_s=np.repeat(at_s, repeats),
            kind=kind,
            size=size,
            user=user,
            rank=rank,
            elastic=np.repeat(elastic, repeats),
            outcome=outcome,
            work_s=work_s,
            meant_s=np.where(outcome == 0, work_s, np.maximum(work_s, would_s)),
            error=error,
            silent=chance.uniform(rows),
            variant=np.repeat(variant, repeats),
        )

    def _seconds(self, mixture: Ints, uniform: Floats, normal: Floats) -> Floats:
        part = self._parts.pick(mixture, uniform)
        median, sigma, least, most = self._lasts[:, mixture, part]
        found: Floats = np.clip(median * np.exp(sigma * normal), least, most)
        return np.maximum(np.rint(found), 1.0)


def _table(mixtures: Sequence[Sequence[Lasts]]) -> Floats:
    """Median, sigma, least, most in seconds: shape (4, mixtures, parts)."""
    width = max(len(parts) for parts in mixtures)
    table = np.ones((4, len(mixtures), width))
    for row, parts in enumerate(mixtures):
        for at, part in enumerate(parts):
            spans = (units.seconds(units.span_ns(text)) for text in (part.median, part.least, part.most))
            median, least, most = spans
            table[:, row, at] = (median, part.sigma, least, most)
    return table
