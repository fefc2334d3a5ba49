"""The performance model against published runs: predictions for rows, and the errors by what people ask
about.

Reads runs from `published`, predicts them all in one call, and tells the errors by source, chip, kind of
model and
scale. Never fits anything: that is done once, by `tools/calibrate_training.py`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from myriad.catalog.shelf import Catalog
from myriad.performance.layouts import Layouts
from myriad.performance.machine import Machine
from myriad.performance.work import Work
from myriad.studies import published
from myriad.studies.published import Run


def ancestry(stack: str, catalog: Catalog) -> list[str]:
    """A stack and those it extends, nearest first."""
    found = [stack]
    while extended := catalog.stack(found[-1]).extends:
        found.append(extended)
    return found


def kernel(run: Run, catalog: Catalog) -> str:
    """Attention kernel of a run's stack."""
    return catalog.stack(run.stack).attention


def fabric_name(run: Run, catalog: Catalog) -> str:
    """Catalogue name of a run's fabric; empty when the row only gave a rate."""
    names = (name for name in catalog.names("fabric") if catalog.fabric(name).title == run.fabric.title)
    return next(names, "")


def columns(runs: Sequence[Run], catalog: Catalog) -> tuple[Work, Layouts, Machine]:
    """All runs as one table for `performance.training.predict`."""
    works = [Work.of(run.model, sequence=run.sequence, global_batch=run.global_batch) for run in runs]
    machines = [
        Machine.of(
            catalog.chip(run.chip),
            run.fabric,
            catalog.stack(run.stack),
            low_precision="fp4" if "fp4" in run.precision else "fp8",
        )
        for run in runs
    ]
    layouts = published.layouts_of(runs)
    flash = np.array([kernel(run, catalog) != "plain" for run in runs])
    return Work.stacked(works), replace(layouts, flash=flash), Machine.stacked(machines)
