"""Predicted peak memory against published peaks, and whether the published runs are predicted to fit.

Row by row: the peaks that torchtitan and nanotron published (GiB of PyTorch's allocator; nanotron reports the
first stage, torchtitan the fullest). All measured runs did run, so each that is predicted to need more than
its chip has is an error; one that does not say what it recomputes may recompute all. That the model does not
let everything fit shows at the other end: in two sweeps over micro-batches without recompute, how many of the
largest that ran are predicted to fit no more when they are four times as large.

Peer, in the same run: the same tensors as Korthikanti et al. (2022) and ZeRO count them, the same for every
stack: 16-bit gradients, 32-bit logits, one copy of each tensor, no buffers.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import report
from myriad.catalog.shelf import Catalog
from myriad.performance.layouts import Recompute
from myriad.performance.machine import Machine
from myriad.performance.training import predict
from myriad.studies import published, validation
from myriad.studies.published import Run

#: Mean absolute error and share within 10 %, in percent; runs predicted not to fit, in percent.
BAR = {"mean": 10.0, "unfit": 2.0}
GIB = 2.0**30
#: Sources that swept micro-batches of one layout until they ran out of memory.
SWEPT = ("Hagemann", "llm-foundry")
_PLAIN = {
    "gradient_bytes": 2.0,
    "logit_bytes": 4.0,
    "outer_kept": 5.0,
    "inner_kept": 1.0,
    "selective_kept_share": 1.0,
    "fragmentation_share": 0.0,
    "buffer_bytes": 0.0,
    "head_counted": 0.0,
}


def plain(machine: Machine) -> Machine:
    """The machines with the memory of no stack in particular."""
    return replace(machine, **{name: np.full(machine.flops.shape, value) for name, value in _PLAIN.items()})


def errors(peaks: np.ndarray, runs: Sequence[Run]) -> np.ndarray:
    """Relative errors of predicted peaks, shape (n,)."""
    measured = np.array([run.peak_memory_bytes for run in runs], dtype=float)
    return peaks / measured - 1


def grown(runs: Sequence[Run], catalog: Catalog, factor: float) -> float:
    """Share of the largest micro-batches of each layout that do not fit when they grow by `factor`."""
    largest: dict[tuple[object, ...], Run] = {}
    for run in runs:
        rest = {name: value for name, value in run.layout.items() if name != "micro_batch"}
        key = (run.model_name, run.sequence, run.chip, run.stack, run.precision, *rest.values())
        if key not in largest or run.layout["micro_batch"] > largest[key].layout["micro_batch"]:
            largest[key] = run
    work, machine, layouts = validation.columns(list(largest.values()), catalog)
    more = replace(layouts, micro_batch=factor * layouts.micro_batch)
    # without recompute: with it a layout is rarely bound by memory
    kept = layouts.recompute == Recompute.NONE
    return float((predict(work, machine, more).peak_bytes > machine.memory_bytes)[kept].mean())


def show(runs: Sequence[Run], ours: np.ndarray, theirs: np.ndarray) -> None:
    """The table of rows with a published peak."""
    table = Table("run", "model", "layout", "measured", "predicted", "error", "peer")
    for run, mine, other in zip(runs, errors(ours, runs), errors(theirs, runs), strict=True):
        layout = " ".join(
            f"{name} {run.layout[key]:g}"
            for name, key in (("TP", "tp"), ("PP", "pp"), ("CP", "cp"), ("DP", "dp"), ("mb", "micro_batch"))
        )
        gib = (run.peak_memory_bytes or 0.0) / GIB
        cells = (f"{gib:.1f}", f"{gib * (1 + mine):.1f}", f"{100 * mine:+.1f} %", f"{100 * other:+.1f} %")
        table.add_row(f"{run.stack} {run.id[-3:]}", run.model_name, layout, *cells)
    Console(width=140).print(table)


def unfit(runs: Sequence[Run], text: str, catalog: Catalog) -> dict[str, float]:
    """Bytes of the runs that are predicted not to fit, though they ran."""
    silent = {row["id"] for row in csv.DictReader(io.StringIO(text)) if not row["recompute"]}
    work, machine, layouts = validation.columns(runs, catalog)
    peaks = predict(work, machine, layouts).peak_bytes
    full = replace(layouts, recompute=np.full(len(layouts), float(Recompute.FULL)))
    may = np.array([run.id in silent for run in runs])
    peaks = np.where(may, np.minimum(peaks, predict(work, machine, full).peak_bytes), peaks)
    over = np.flatnonzero(peaks > machine.memory_bytes)
    return {runs[n].id: float(peaks[n]) for n in over}


def main() -> None:
    """Print the table, what is predicted not to fit, and the last line."""
    catalog = Catalog.shipped()
    text = published.shipped()
    runs, _ = published.read(text, "shipped runs", catalog)
    told = [run for run in runs if run.peak_memory_bytes]
    work, machine, layouts = validation.columns(told, catalog)
    ours = predict(work, machine, layouts).peak_bytes
    theirs = predict(work, plain(machine), layouts).peak_bytes
    show(told, ours, theirs)
    timed = [run for run in runs if run.measured_s]
    missed = unfit(timed, text, catalog)
    for name, peak in missed.items():
        print(f"predicted not to fit: {name} {peak / GIB:.0f} GiB")
    swept = {name: grown([run for run in runs if name in run.source], catalog, 4.0) for name in SWEPT}
    mean, peer = (float(np.abs(errors(peaks, told)).mean()) for peaks in (ours, theirs))
    within = float((np.abs(errors(ours, told)) <= 0.1).mean())
    share = len(missed) / len(timed)
    print(
        f"mean absolute error {100 * mean:.1f} %, bar {BAR['mean']:.0f} %; within 10 %: {100 * within:.0f} %"
    )
    print(
        f"predicted not to fit: {len(missed)} of {len(timed)}, {100 * share:.1f} %, bar {BAR['unfit']:.0f} %"
    )
    for name, part in swept.items():
        print(f"{name}: of the largest micro-batches, {100 * part:.0f} % fit no more at four times the size")
    report.finish(
        "memory",
        100 * mean,
        "% mean absolute error of peak memory",
        "Korthikanti et al. and ZeRO, the same for every stack (same rows)",
        100 * peer,
        better="lower",
        rows=len(told),
        within_10_percent=round(100 * within, 1),
        predicted_not_to_fit=len(missed),
        timed=len(timed),
    )


if __name__ == "__main__":
    main()
