"""Request traces of inference services: Azure's CSV and Mooncake's JSON lines, as columns.

Between a file and `load`: what arrived when, how long prompts and answers were, and how much of the prompts a
prefix cache would already hold.
"""

import csv
import datetime
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from myriad.kernel import documents
from myriad.kernel.errors import UserError

#: Columns of Azure's public traces (2023 and 2024).
AZURE: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
#: Keys of Mooncake's, of which the last may be missing.
MOONCAKE: Final = ("timestamp", "input_length", "output_length", "hash_ids")
#: Requests of a trace that is worth a curve.
_LEAST: Final = 2


class RequestTrace(NamedTuple):
    """Requests in the order they came."""

    source: str
    at_s: NDArray[np.float64]  # since the first
    prompt: NDArray[np.float64]  # tokens
    answer: NDArray[np.float64]
    cached: float  # share of prompt blocks that an endless prefix cache would hold
    skipped: int  # bad rows

    @property
    def span_s(self) -> float:
        """From the first request to the last."""
        return float(self.at_s[-1])

    @property
    def rate(self) -> float:
        """Requests/s on average."""
        return (len(self.at_s) - 1) / self.span_s

    def interarrival_cv(self) -> float:
        """Coefficient of variation of the times between requests: 1 for Poisson."""
        gaps = np.diff(self.at_s)
        return float(gaps.std() / gaps.mean())

    def profile(self, every_s: float) -> tuple[float, ...]:
        """Rate in each whole slot of this length over the mean of them all; a rest at the end is left out."""
        slots = int(self.span_s / every_s)
        if slots < 1:
            remedy = f"Use slots of {self.span_s:g} s at most"
            raise UserError(
                "is shorter than one slot", field=self.source, value=f"{self.span_s:g} s", remedy=remedy
            )
        counts, _ = np.histogram(self.at_s, bins=slots, range=(0.0, slots * every_s))
        return tuple(float(one) for one in counts / counts.mean())


def read(path: Path, *, skip_bad_rows: bool = False) -> RequestTrace:
    """The trace of a file. Raises UserError naming the line of a bad row, unless those are skipped."""
    return parse(documents.read(path), path.name, skip_bad_rows=skip_bad_rows)


def parse(text: str, source: str, *, skip_bad_rows: bool = False) -> RequestTrace:
    """Likewise of a text; its first line says which format it is."""
    rows = _mooncake if text.lstrip()[:1] == "{" else _azure
    kept: list[_Row] = []
    skipped = 0
    last = -math.inf
    for line, make in rows(text, source):
        try:
            row = make()
            if row.at_s < last:
                raise ValueError("is earlier than the row before it")
        except (ValueError, TypeError, KeyError, IndexError) as error:
            if not skip_bad_rows:
                raise _bad(source, line, error) from None
            skipped += 1
            continue
        last = row.at_s
        kept.append(row)
    if len(kept) < _LEAST or kept[-1].at_s <= kept[0].at_s:
        remedy = "Give a trace of two requests or more that do not all come at once"
        raise UserError("holds too few requests", field=source, value=len(kept), remedy=remedy)
    first = kept[0].at_s
    return RequestTrace(
        source,
        np.array([row.at_s - first for row in kept]),
        np.array([row.prompt for row in kept], dtype=float),
        np.array([row.answer for row in kept], dtype=float),
        _cached(kept),
        skipped,
    )


class _Row(NamedTuple):
    at_s: float
    prompt: int
    answer: int
    blocks: tuple[int, ...] = ()


_Rows = Iterator[tuple[int, Callable[[], _Row]]]


def _bad(source: str, line: int, error: Exception) -> UserError:
    said = f"has no {error}" if isinstance(error, KeyError) else str(error)
    remedy = "Mend the row, or skip such rows with --skip-bad-rows"
    return UserError(said, field=f"{source}, line {line}", remedy=remedy)


def _azure(text: str, source: str) -> _Rows:
    reader = csv.reader(io.StringIO(text))
    header = next(reader, [])
    missing = [name for name in AZURE if name not in header]
    if missing:
        remedy = f"Give {', '.join(AZURE)}, or JSON lines with {', '.join(MOONCAKE[:3])}"
        raise UserError(
            "is no request trace: it lacks a column",
            field=f"{source}, line 1",
            value=missing[0],
            remedy=remedy,
        )
    places = [header.index(name) for name in AZURE]
    for row in reader:
        if row:
            yield reader.line_num, lambda row=row: _azure_row(row, places)  # type: ignore[misc]


def _azure_row(row: list[str], places: list[int]) -> _Row:
    if len(row) <= max(places):
        raise ValueError(f"has {len(row)} columns, needs {max(places) + 1}")
    when, prompt, answer = (row[place] for place in places)
    try:
        at = datetime.datetime.fromisoformat(when)
    except ValueError:
        raise ValueError(f"TIMESTAMP {when!r} is not a time") from None
    zone = at.tzinfo or datetime.UTC
    return _Row(at.replace(tzinfo=zone).timestamp(), _tokens(prompt, AZURE[1]), _tokens(answer, AZURE[2]))


def _mooncake(text: str, source: str) -> _Rows:
    del source
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, lambda line=line: _mooncake_row(line)  # type: ignore[misc]


def _mooncake_row(line: str) -> _Row:
    try:
        tree = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg}") from None
    if not isinstance(tree, dict):
        raise ValueError("is not a JSON object")
    when = tree[MOONCAKE[0]]
    if isinstance(when, bool) or not isinstance(when, int | float) or not math.isfinite(when):
        raise ValueError(f"timestamp {when!r} is not a number of milliseconds")
    blocks = tree.get(MOONCAKE[3]) or ()
    if not all(isinstance(block, int) for block in blocks):
        raise ValueError("hash_ids must be whole numbers")
    return _Row(
        when / 1000.0, _tokens(tree[MOONCAKE[1]], MOONCAKE[1]), _tokens(tree[MOONCAKE[2]], MOONCAKE[2]),
        tuple(blocks),
    )  # fmt: skip


def _tokens(value: object, name: str) -> int:
    try:
        number = int(value) if isinstance(value, str | int) else -1
    except ValueError:
        number = -1
    if number < 0:
        raise ValueError(f"{name} {value!r} is not a count of tokens")
    return number


def _cached(rows: list[_Row]) -> float:
    """Share of blocks that an earlier request already had."""
    seen: dict[int, None] = {}
    blocks = hits = 0
    for row in rows:
        for block in row.blocks:
            blocks += 1
            hits += block in seen
            seen[block] = None
    return hits / blocks if blocks else 0.0
