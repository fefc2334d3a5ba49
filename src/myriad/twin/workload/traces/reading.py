"""Opens a trace: recognises its format by its header, reads its rows, and counts what it leaves out."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from myriad.kernel.errors import UserError, near
from myriad.twin.workload.shapes import Estimates
from myriad.twin.workload.traces import philly
from myriad.twin.workload.traces.formats import FORMATS, PAI_HEADER, Format
from myriad.twin.workload.traces.rows import Cells, Flaw, Row, explained, table
from myriad.twin.workload.traces.trace import Trace

#: Everything that `kind` may be.
KINDS = ("auto", *FORMATS, "philly")
#: Of the rows that could not be read, so many are kept to show.
SHOWN = 20


def read(
    path: Path,
    kind: str = "auto",
    *,
    skip_bad_rows: bool = False,
    estimates: Estimates | None = None,
    quotas: dict[str, int] | None = None,
    checkpoint_bytes_per_chip: float = 0.0,
) -> Trace:
    """A trace of one of the published formats, recognised by its header unless `kind` names it.

    A row that cannot be read raises UserError naming file, line, column and value; with `skip_bad_rows` it
    is left out and counted in `Trace.bad_rows`. Jobs that ask for no accelerator, never ran, or still ran
    at the end are left out and counted in `Trace.left_out`. `quotas` are chips of virtual clusters or users
    by name.
    """
    if kind not in KINDS:
        raise UserError("is not a trace format", field="kind", value=kind, remedy=near(kind, KINDS))
    rows: list[Row] = []
    bad: list[UserError] = []
    left_out, count = Counter[str](), 0
    for line, found in _philly(path) if _is_json(path, kind) else _table(path, kind):
        if isinstance(found, Flaw):
            error = explained(path, line, found)
            if not skip_bad_rows:
                raise error
            count += 1
            if len(bad) < SHOWN:
                bad.append(error)
        elif isinstance(found, str):
            left_out[found] += 1
        else:
            rows.append(found)
    if count:
        left_out["cannot be read"] = count
    return Trace(
        path.name,
        rows,
        estimates=estimates,
        quotas=quotas,
        checkpoint_bytes_per_chip=checkpoint_bytes_per_chip,
        left_out=left_out,
        bad_rows=bad,
    )


def _is_json(path: Path, kind: str) -> bool:
    if kind != "auto":
        return kind == "philly"
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.read(4096).lstrip()[:1] in ("[", "{")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(reason, field="trace", value=str(path), remedy="Check the path") from None


def _tried(reader: Callable[[], Row | str]) -> Row | str | Flaw:
    try:
        return reader()
    except Flaw as flaw:
        return flaw


def _philly(path: Path) -> Iterator[tuple[int, Row | str | Flaw]]:
    for line, entry in philly.entries(path):
        yield line, _tried(lambda line=line, entry=entry: philly.read(line, entry))  # type: ignore[misc]


def _table(path: Path, kind: str) -> Iterator[tuple[int, Row | str | Flaw]]:
    lines = table(path)
    first = next(lines, None)
    if first is None:
        raise UserError("is empty", field="trace", value=str(path))
    header = [name.strip() for name in first[1]]
    if kind == "pai" and "job_name" not in header:
        lines, header = chain([first], lines), list(PAI_HEADER)
    form = _recognised(path, kind, header)
    names = {name: at for at, name in enumerate(header)}
    for line, values in lines:
        cells = Cells(names, values, line)
        yield line, _tried(lambda cells=cells: form.read(cells))  # type: ignore[misc]


def _recognised(path: Path, kind: str, header: list[str]) -> Format:
    if kind != "auto":
        form = FORMATS[kind]
        lacking = [name for name in form.needs if name not in header]
        if lacking:
            raise UserError(
                f"has no column {', '.join(lacking)}, which {form.about} has",
                field=f"{path.name}, line 1",
                value=",".join(header)[:120],
                remedy="Name another kind, or leave it out",
            )
        return form
    for form in FORMATS.values():
        if all(name in header for name in form.needs):
            return form
    known = "; ".join(f"{name}: {', '.join(form.needs)}" for name, form in FORMATS.items())
    raise UserError(
        "is not the header of a known format",
        field=f"{path.name}, line 1",
        value=",".join(header)[:120],
        remedy=f"Known are {known}; and Philly's JSON. PAI's task table without header needs kind pai",
    )


def counts(trace: Trace) -> dict[str, Any]:
    """What came of the rows, for people: jobs, and those left out by reason."""
    return {"jobs": len(trace.rows)} | dict(sorted(trace.left_out.items()))
