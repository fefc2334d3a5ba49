"""The share of a chip's peak that one training step reaches, for forecasts made when a job is submitted.

A burn-in measures the peak of the very nodes; what the model of `training` adds is how much of it a step of
this shape gets.
"""

from myriad.catalog.chips import Chip
from myriad.catalog.models import Model
from myriad.catalog.shelf import Catalog
from myriad.performance import defaults
from myriad.performance.layouts import Layouts
from myriad.performance.machine import Machine
from myriad.performance.training import predict
from myriad.performance.work import Work


def of_step(
    model: Model,
    chip: Chip,
    layout: dict[str, float],
    *,
    sequence: int,
    global_batch: int,
    flops_per_step: float,
) -> float:
    """`flops_per_step` over step time, chips and peak FLOP/s, on the chip's usual fabric and software.

    `layout` has columns of `Layouts`, one value each; `flops_per_step` are counted by whoever forecasts with
    the share, in their own convention.
    """
    usual = defaults.entries(Catalog.shipped(), model, chip, None, None, [])
    machine = Machine.of(chip, usual.fabric, usual.stack)
    layouts = Layouts.of(layout)
    found = predict(Work.of(model, sequence=sequence, global_batch=global_batch), machine, layouts)
    return flops_per_step / float(found.step_s[0] * layouts.chips[0] * machine.flops)
