"""How much slower a gang steps when it spans several racks, pods or cores, relative to one rack.

The racks of a pod share the fabric's first level of switches, the pods of a core meet at the second, cores at
the third; a fabric that ends earlier has the last one for all beyond. The gang is taken to lie in two equal
parts, the ranks of each side by side, as placement orders them: the exchange crosses to the other part, and
does so over the links that the part's own chips have there. Unequal parts are worse off than this.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from typing import Final, NamedTuple

from myriad.catalog.chips import Chip
from myriad.catalog.fabrics import Fabric
from myriad.catalog.figures import Figure
from myriad.catalog.models import Model
from myriad.catalog.shelf import Catalog
from myriad.performance import collectives, defaults
from myriad.performance.columns import column
from myriad.performance.layouts import Layouts
from myriad.performance.machine import Machine
from myriad.performance.training import predict
from myriad.performance.work import Work

#: Share of a step that work of which nothing is known waits for exchange, inside one rack.
EXPOSED: Final = Figure(
    value=0.1,
    low=0.0,
    high=0.3,
    status="estimated",
    source="three times what `predict` exposes of Llama 3 8B under FSDP on H100 (0.03 to 0.04)",
)
#: A level of links that is never left.
_NEVER: Final = 1e12


class Stretch(NamedTuple):
    """Step time relative to one rack; none is below the one before it, nor below 1."""

    racks: float  # several in one pod
    pods: float  # several in one core
    cores: float


ALIKE: Final = Stretch(1.0, 1.0, 1.0)


def of_step(
    model: Model,
    chip: Chip,
    layout: dict[str, float],
    *,
    sequence: int,
    global_batch: int,
    fabric: Fabric | str | None = None,
) -> Stretch:
    """Of a training step under one layout, on the chip's usual software, and fabric where none is given.

    `layout` has columns of `Layouts`, one value each.
    """
    usual = defaults.entries(Catalog.shipped(), model, chip, fabric, None, [])
    machine = Machine.of(chip, usual.fabric, usual.stack)
    layouts = Layouts.of(layout)
    work = Work.of(model, sequence=sequence, global_batch=global_batch)
    spread = _spread(machine, chip, usual.fabric, float(layouts.chips[0]))
    return _relative([float(predict(work, one, layouts).step_s[0]) for one in spread])


def of_unknown(chip: Chip, chips: int) -> Stretch:
    """Of work of which nothing is known but its chips: the ring of all of them, for `EXPOSED` of its time."""
    catalog = Catalog.shipped()
    fabric = catalog.fabric(chip.fabric) if chip.fabric else defaults.own_network(chip)
    machine = Machine.of(chip, fabric, catalog.stack(chip.stack))
    rings = [
        float(collectives.ring(one, column(chips), column(1)).seconds_per_byte)
        for one in _spread(machine, chip, fabric, chips)
    ]
    if not rings[0]:
        return ALIKE
    return _relative([1 - EXPOSED.value + EXPOSED.value * one / rings[0] for one in rings])


def _relative(step_s: list[float]) -> Stretch:
    """Over the first; what lies further out is never taken to be faster."""
    return Stretch(*list(accumulate((one / step_s[0] for one in step_s), max))[1:])


def _spread(machine: Machine, chip: Chip, fabric: Fabric, chips: float) -> Iterator[Machine]:
    """The machine as a gang of so many chips has it in one rack, in several racks, pods and cores."""
    inside, first, *_ = machine.levels
    part = max(1.0, math.ceil(chips / 2))
    lone = first._replace(chips=column(_NEVER))
    cut = inside._replace(chips=column(min(float(inside.chips), part)))
    yield replace(machine, levels=(inside, lone, lone))
    yield replace(machine, levels=(cut, lone, lone))
    for number in (1, 2):
        beyond = fabric.levels[min(number, len(fabric.levels) - 1)]
        outer = Machine.level(chip, beyond)._replace(chips=column(_NEVER))
        yield replace(machine, levels=(cut, first._replace(chips=column(part)), outer))
