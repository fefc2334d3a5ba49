"""A strict reader of Prometheus' text format 0.0.4: what it lets pass, Prometheus understands."""

import re
from typing import NamedTuple

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,(?=.)|$)')
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "counter": ("",)}


class Malformed(Exception):
    """Which line, and why."""


class Sample(NamedTuple):
    """What one value is of."""

    name: str
    labels: tuple[tuple[str, str], ...]


class Family:
    """One metric."""

    def __init__(self, name: str, help_: str) -> None:
        self.name, self.help, self.kind = name, help_, ""
        self.samples: dict[Sample, float] = {}


def parsed(text: str) -> dict[str, Family]:
    """Families by name. Raises Malformed."""
    if not text.endswith("\n"):
        raise Malformed("the last line does not end")
    found: dict[str, Family] = {}
    family: Family | None = None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, _, told = line[7:].partition(" ")
            if name in found or not re.fullmatch(_NAME, name) or not told:
                raise Malformed(line)
            family = found[name] = Family(name, told)
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            if family is None or name != family.name or family.kind or kind not in _SUFFIXES:
                raise Malformed(line)
            family.kind = kind
        else:
            _sample(line, family)
    return found


def _sample(line: str, family: Family | None) -> None:
    if not (match := _SAMPLE.fullmatch(line)) or family is None or not family.kind:
        raise Malformed(line)
    name, inside, value = match.groups()
    if name not in [family.name + suffix for suffix in _SUFFIXES[family.kind]]:
        raise Malformed(line)
    labels, at = [], 0
    while inside and at < len(inside):
        if not (label := _LABEL.match(inside, at)):
            raise Malformed(line)
        labels.append((label.group(1), label.group(2)))
        at = label.end()
    sample = Sample(name, tuple(labels))
    if sample in family.samples or len({one for one, _ in labels}) != len(labels):
        raise Malformed(line)
    try:
        family.samples[sample] = float(value)
    except ValueError:
        raise Malformed(line) from None
