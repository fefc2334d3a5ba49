"""Chips as data: entries of `chips.yaml`, each number with its status and source."""

from functools import cache
from importlib import resources
from typing import Literal

import msgspec

from myriad.kernel import documents
from myriad.kernel.errors import UserError, near

Status = Literal["published", "measured", "derived", "estimated"]


class Figure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number of the catalogue."""

    value: float
    status: Status
    source: str


class Chip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of accelerator. SI units."""

    title: str
    chips_per_node: Figure
    memory_bytes: Figure
    #: Dense FLOP/s at the training precision.
    flops: Figure
    #: Share of `flops` that a training step reaches, until a run has been observed.
    efficiency: Figure
    power_w: Figure


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    chips: dict[str, Chip]


def parse(text: str, source: str) -> dict[str, Chip]:
    """The chips of one catalogue file. Raises UserError naming the field."""
    found: dict[str, Chip] = {}
    for tree in documents.documents(text, source):
        found.update(documents.convert(tree, _File, source).chips)
    return found


@cache
def shipped() -> dict[str, Chip]:
    """The chips that come with Myriad, by name."""
    return parse(resources.files("myriad.catalog").joinpath("chips.yaml").read_text(), "chips.yaml")


def named(name: str) -> Chip:
    """A shipped chip by name. Raises UserError with near misses."""
    if name not in shipped():
        raise UserError("is not in the catalogue", field="chip", value=name, remedy=near(name, shipped()))
    return shipped()[name]
