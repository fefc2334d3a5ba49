"""An entry as a flat list of its numbers, and a number in people's units: for tables, JSON and reports.

Reads every kind of entry alike, so that whatever the catalogue holds can be shown with its source.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from myriad.catalog import figures
from myriad.catalog.chips import Chip
from myriad.catalog.figures import PLAIN, Dimension, Figure, Status
from myriad.catalog.models import Model
from myriad.catalog.shelf import Entry


class Row(NamedTuple):
    """One number of an entry."""

    #: Path of the field, as the file has it: `parameters.gemm_share`, `levels.0.latency_s`.
    field: str
    figure: Figure
    measures: Dimension


def rows(entry: Entry) -> list[Row]:
    """Every number of an entry; of a chip its architecture's too, of a model first its counts."""
    if isinstance(entry, Chip):
        return [
            *(row for row in _figures(entry, "", PLAIN) if not row.field.startswith("own_")),
            *_figures(entry.parameters, "parameters", PLAIN),
        ]
    if isinstance(entry, Model):
        return [
            *_counted(entry),
            *_dimensions(entry, "", entry.status, entry.source),
            *_figures(entry, "", PLAIN),
        ]
    return list(_figures(entry, "", PLAIN))


def _counted(model: Model) -> Iterator[Row]:
    for name in ("parameters", "active_parameters"):
        number = getattr(model, name)
        yield Row(name, Figure(value=number, status="derived", source="counted from the dimensions"), PLAIN)


def _dimensions(value: msgspec.Struct, path: str, status: Status, source: str) -> Iterator[Row]:
    """The plain counts of a model, for which its own status and source speak."""
    for name in value.__struct_fields__:
        held = getattr(value, name)
        if isinstance(held, int) and not isinstance(held, bool):
            yield Row(path + name, Figure(value=held, status=status, source=source), PLAIN)
        elif isinstance(held, msgspec.Struct) and not isinstance(held, Figure):
            yield from _dimensions(held, f"{path}{name}.", status, source)


def _figures(value: object, path: str, measures: Dimension) -> Iterator[Row]:
    """Figures found in structs, mappings and lists, measuring what the names on the way say."""
    if isinstance(value, Figure):
        yield Row(path, value, measures)
        return
    named: Iterator[tuple[str, object]] = iter(())
    if isinstance(value, msgspec.Struct):
        named = ((name, getattr(value, name)) for name in value.__struct_fields__)
    elif isinstance(value, dict):
        named = iter(value.items())
    elif isinstance(value, tuple):
        named = ((str(number), item) for number, item in enumerate(value))
    for name, item in named:
        inner = f"{path}.{name}" if path else name
        yield from _figures(item, inner, figures.dimension(name, measures))


def show(value: float, measures: Dimension) -> str:
    """An SI number as people write it, four digits: `989 TFLOP/s`, `80 GiB`, `50 GB/s`, `2 us`, `15,360`."""
    if not measures.shown:
        return _digits(value)
    unit = measures.shown[0]
    for larger in measures.shown[1:]:
        if value >= measures.scales[larger]:
            unit = larger
    return f"{_digits(value / measures.scales[unit])} {unit}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 10_000 else f"{value:.4g}"
