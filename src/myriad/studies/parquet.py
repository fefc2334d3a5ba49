"""Facts and time series of a simulation as Parquet files, for notebooks and query engines.

Facts are written in row groups as they come, so that a simulation of months needs no more memory for it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from myriad.protocol.fact import Fact

#: Rows of a row group: some 20 MB of facts in memory.
ROWS: Final = 65_536
#: What a fact is about: the first of these that it has.
_SUBJECTS: Final = (
    "attempt",
    "job",
    "service",
    "node",
    "incident",
    "window",
    "subject",
    "key",
    "tenant",
    "site",
)
#: `at` in nanoseconds, `kind` the type of the fact, `subject` its id, `body` the whole fact in JSON.
SCHEMA: Final = pa.schema(
    [
        ("at", pa.int64()),
        ("kind", pa.dictionary(pa.int32(), pa.string())),
        ("subject", pa.string()),
        ("body", pa.string()),
    ]
)


class FactsFile:
    """A Parquet file of facts that grows. Use it as a context manager; call it with facts."""

    def __init__(self, path: Path, rows: int = ROWS) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._encode = msgspec.json.Encoder().encode
        self._subjects: dict[type, Callable[[Any], str]] = {}
        self._most = rows
        self._rows: list[tuple[int, str, str, bytes]] = []
        #: Facts written so far.
        self.count = 0

    def __call__(self, facts: Iterable[Fact]) -> None:
        """Keep these facts; they are on disk when the row group is full, or at the end."""
        for fact in facts:
            kind = type(fact)
            subject = self._subjects.get(kind) or self._subjects.setdefault(kind, _subject_of(kind))
            self._rows.append((fact.at, kind.__name__, subject(fact), self._encode(fact)))
        if len(self._rows) >= self._most:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        at, kinds, subjects, bodies = zip(*self._rows, strict=True)
        columns = [
            pa.array(at, pa.int64()),
            pa.array(kinds, pa.string()).dictionary_encode(),
            pa.array(subjects, pa.string()),
            pa.array(bodies, pa.string()),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
        self.count += len(self._rows)
        self._rows = []


def write_series(path: Path, series: Mapping[str, Sequence[float]]) -> None:
    """Columns of one length, as a table."""
    pq.write_table(pa.table({name: pa.array(column) for name, column in series.items()}), path)


def _subject_of(kind: type[Fact]) -> Callable[[Any], str]:
    for name in _SUBJECTS:
        if name in kind.__struct_fields__:
            return lambda fact, name=name: _text(getattr(fact, name))  # type: ignore[misc]
    return lambda _: ""


def _text(value: Any) -> str:
    """An id; of a whole job, service or tenant its name."""
    return value if isinstance(value, str) else str(getattr(value, "name", ""))
