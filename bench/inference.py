"""Error of the serving model on published inference times.

Llama-2-70B and BLOOM-176B on A100 and H100, TP 2 to 8. Ours: performance.serving with the parameters of
catalog/stacks/vllm-2023.yaml, fitted once over these rows (`python -m tools.calibrate_serving --check`
leaves parts out). Peer, in the same run: a roofline at the data sheet's peaks with nothing fitted. Rows
whose keys and values do not fit at once are named and left out: they time swapping.
"""

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import report
from myriad.catalog.shelf import Catalog
from myriad.performance.serving import shapes
from myriad.studies import inference_runs
from myriad.studies.inference_runs import Runs


def roofline(catalog: Catalog, runs: Runs) -> np.ndarray:
    """Seconds of prefill and of a decode step by peak FLOP/s and peak bandwidth alone, shape (2, n)."""
    found = np.zeros((2, len(runs.tp)))
    for n in range(len(runs.tp)):
        model, chip = catalog.model(str(runs.model[n])), catalog.chip(str(runs.chip[n]))
        shape = shapes.shape_of(model)
        flops, memory = chip.peak("bf16").value * runs.tp[n], chip.memory_bytes_per_s.value * runs.tp[n]
        tokens, context = runs.batch[n] * runs.prompt[n], runs.prompt[n] + runs.tokens[n] / 2
        reading = 2 * model.parameters
        causal = shape.layers * shape.heads * shape.prefill_width * tokens * runs.prompt[n]
        kv = runs.batch[n] * context * shape.kv_bytes * shape.layers
        found[0, n] = max((reading * tokens + causal) / flops, reading / memory)
        found[1, n] = max(reading * runs.batch[n] / flops, (reading + kv) / memory)
    return found


def main() -> None:
    """Print the table and the last line."""
    catalog, every = Catalog.shipped(), inference_runs.read()
    machines = inference_runs.machines(catalog, every)
    fits = inference_runs.fits(catalog, every, machines)
    for n in np.flatnonzero(~fits):
        size = f"TP {every.tp[n]:.0f}, {every.batch[n]:.0f} x {every.prompt[n]:.0f} tokens"
        row = f"{every.model[n]} {every.chip[n]} {size}"
        print(f"left out, keys and values do not fit: {row}{', power cap' * bool(every.capped[n])}")
    runs = every.where(fits)
    measured = np.array([runs.prefill_s, runs.decode_s])
    ours = np.abs(np.array(inference_runs.predict(catalog, runs, machines)) / measured - 1)
    signed = np.array(inference_runs.predict(catalog, runs, machines)) / measured - 1
    peer = np.abs(roofline(catalog, runs) / measured - 1)
    table = Table(
        "model",
        "chip",
        "TP",
        "runs",
        "prefill",
        "bias",
        "decode",
        "bias",
        "roofline",
        title="mean absolute error, %",
    )
    where = sorted(set(zip(runs.model, runs.chip, runs.capped, runs.tp, strict=True)))
    for model, chip, capped, tp in where:
        rows = (runs.model == model) & (runs.chip == chip) & (runs.capped == capped) & (runs.tp == tp)
        table.add_row(
            model, chip + " capped" * bool(capped), f"{tp:.0f}", *_cells(ours, signed, peer, rows, runs)
        )
    for name, rows in (
        ("Llama-2-70B", runs.model == "llama2-70b"),
        ("BLOOM-176B", runs.model == "bloom-176b"),
        ("prompts 4k+", runs.prompt >= 4096),
        ("batch 16+", runs.batch >= 16),
        ("all", runs.tp > 0),
    ):
        table.add_row(name, "", "", *_cells(ours, signed, peer, rows, runs))
    Console(width=120).print(table)
    total, rival = (np.average(error, axis=1, weights=runs.repeats) * 100 for error in (ours, peer))
    report.finish(
        "inference model: mean absolute error of prefill and decode times",
        float(total.mean()),
        "%",
        "roofline at the data sheet's peaks",
        float(rival.mean()),
        better="lower",
        prefill=round(float(total[0]), 2),
        decode=round(float(total[1]), 2),
        peer_prefill=round(float(rival[0]), 2),
        peer_decode=round(float(rival[1]), 2),
        runs=int(runs.repeats.sum()),
        left_out=int(every.repeats[~fits].sum()),
    )


def _cells(ours: np.ndarray, signed: np.ndarray, peer: np.ndarray, rows: np.ndarray, runs: Runs) -> list[str]:
    """Runs, errors and biases by phase, each repeat counted; the roofline's errors."""
    mean = [
        100 * np.average(errors[:, rows], axis=1, weights=runs.repeats[rows])
        for errors in (ours, signed, peer)
    ]
    phases = [text for n in (0, 1) for text in (f"{mean[0][n]:.1f}", f"{mean[1][n]:+.1f}")]
    return [f"{runs.repeats[rows].sum():.0f}", *phases, f"{mean[2][0]:.0f} / {mean[2][1]:.0f}"]


if __name__ == "__main__":
    main()
