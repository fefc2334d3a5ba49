"""Prometheus' text form: families of samples, and how they are written. `routes.metrics` says what."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from myriad.kernel.histogram import Histogram

Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One line."""

    suffix: str  # of the family's name: histograms have several
    labels: Labels
    value: float


class Family(NamedTuple):
    """One metric with all its samples."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    samples: tuple[Sample, ...]


def gauge(name: str, help_: str, value: float | None) -> Family:
    """One value; None: not known yet, so no sample."""
    return Family(name, "gauge", help_, () if value is None else (Sample("", (), float(value)),))


def counter(name: str, help_: str, value: float) -> Family:
    """A value that only grows."""
    assert name.endswith("_total"), name
    return Family(name, "counter", help_, (Sample("", (), float(value)),))


def gauges(name: str, help_: str, label: str, values: Mapping[str, float]) -> Family:
    """Values by one label."""
    return Family(name, "gauge", help_, _labelled(label, values))


def counters(name: str, help_: str, label: str, values: Mapping[str, float]) -> Family:
    """Values that only grow, by one label."""
    assert name.endswith("_total"), name
    return Family(name, "counter", help_, _labelled(label, values))


def of(
    kind: Literal["gauge", "counter"], name: str, help_: str, values: Iterable[tuple[Labels, float]]
) -> Family:
    """Values by several labels."""
    return Family(name, kind, help_, tuple(Sample("", labels, float(value)) for labels, value in values))


def histogram(name: str, help_: str, found: Histogram | Iterable[tuple[Labels, Histogram]]) -> Family:
    """A distribution, or several by labels."""
    each = [((), found)] if isinstance(found, Histogram) else found
    samples = tuple(sample for labels, one in each for sample in _distribution(labels, one))
    return Family(name, "histogram", help_, samples)


def text(families: Iterable[Family]) -> str:
    """All of it."""
    return "".join(_text(family) for family in families)


def _labelled(label: str, values: Mapping[str, float]) -> tuple[Sample, ...]:
    return tuple(Sample("", ((label, key),), float(value)) for key, value in values.items())


def _distribution(labels: Labels, found: Histogram) -> Iterator[Sample]:
    below = 0
    for bound, count in zip((*found.bounds, float("inf")), found.counts, strict=True):
        below += count
        shown = "+Inf" if bound == float("inf") else f"{bound:g}"
        yield Sample("_bucket", (*labels, ("le", shown)), below)
    yield Sample("_sum", labels, found.total)
    yield Sample("_count", labels, below)


def _text(family: Family) -> str:
    lines = [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
    for suffix, labels, value in family.samples:
        shown = ",".join(f'{label}="{_escaped(word)}"' for label, word in labels)
        lines.append(
            f"{family.name}{suffix}{{{shown}}} {value:.15g}"
            if shown
            else f"{family.name}{suffix} {value:.15g}"
        )
    return "\n".join(lines) + "\n"


def _escaped(word: str) -> str:
    return word.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
