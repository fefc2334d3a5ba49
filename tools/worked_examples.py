"""The worked examples of docs/performance.md, as Markdown: predicted beside published.

    python -m tools.worked_examples            print them
    python -m tools.worked_examples --write    put them between the markers of docs/performance.md

A test holds that the document says what this prints.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from myriad.catalog.shelf import Catalog
from myriad.performance import plan
from myriad.performance.layouts import Layouts, Recompute
from myriad.performance.machine import Machine
from myriad.performance.training import predict
from myriad.performance.work import Work

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = (
    "<!-- worked examples: python -m tools.worked_examples --write -->",
    "<!-- end of worked examples -->",
)


class Example(NamedTuple):
    """One published run."""

    model: str
    what: str
    chips: int
    layout: dict[str, float]
    sequence: int
    batch: int
    published_s: float


def _korthikanti() -> list[Example]:
    """Table 5 of Korthikanti et al. (2022): seconds a step with full recomputation, and selective with SP."""
    found = []
    for model, chips, pp, vpp, batch, micro, full_s, selective_s in (
        ("gpt-22b", 8, 1, 1, 4, 4, 1.42, 1.10),
        ("gpt-175b", 64, 8, 3, 64, 1, 18.13, 13.75),
        ("gpt-530b", 280, 35, 3, 280, 1, 49.05, 37.83),
        ("gpt-1000b", 512, 64, 1, 512, 1, 94.42, 71.49),
    ):
        layout = {"tp": 8, "pp": pp, "vpp": vpp, "micro_batch": micro, "zero": 0, "flash": 0}
        full = layout | {"recompute": Recompute.FULL}
        found.append(Example(model, "full", chips, full, 2048, batch, full_s))
        selective = layout | {"recompute": Recompute.SELECTIVE, "sequence_parallel": 1}
        found.append(Example(model, "selective, SP", chips, selective, 2048, batch, selective_s))
    return found


def _llama() -> list[Example]:
    """Table 4 of the Llama 3 paper (2024), as seconds of a step: 6 x 405e9 x tokens / (chips x FLOP/s a
    chip).
    """
    layout = {"tp": 8, "pp": 16, "vpp": 8, "micro_batch": 1, "zero": 1, "sequence_parallel": 1}
    found = []
    for what, chips, cp, sequence, batch, flops in (
        ("8,192 tokens", 8192, 1, 8192, 2048, 430e12),
        ("8,192 tokens", 16384, 1, 8192, 2048, 400e12),
        ("131,072 tokens", 16384, 16, 131072, 128, 380e12),
    ):
        published = _model_flops(sequence, batch) / (chips * flops)
        found.append(Example("llama3-405b", what, chips, layout | {"cp": cp}, sequence, batch, published))
    return found


def _model_flops(sequence: int, batch: int) -> float:
    """Model FLOPs of a step of Llama 3 405B, attention counted causally."""
    model = Catalog.shipped().model("llama3-405b")
    return float(Work.of(model, sequence=sequence, global_batch=batch).model_flops)


def rows(examples: Iterable[Example], chip: str, fabric: str, stack: str) -> list[tuple[str, ...]]:
    """Cells of one table."""
    catalog, found = Catalog.shipped(), []
    machine = Machine.of(catalog.chip(chip), catalog.fabric(fabric), catalog.stack(stack))
    for one in examples:
        layout = dict(one.layout)
        layout["dp"] = one.chips / (layout["tp"] * layout["pp"] * layout.get("cp", 1))
        layouts = Layouts.of(layout)
        work = Work.of(catalog.model(one.model), sequence=one.sequence, global_batch=one.batch)
        said = predict(work, machine, layouts)
        seconds = float(said.step_s[0])
        found.append(
            (
                one.model,
                one.what,
                f"{one.chips:,}",
                f"{one.published_s:.2f} s",
                f"{seconds:.2f} s",
                f"{100 * (seconds / one.published_s - 1):+.1f} %",
                f"{100 * float(said.mfu(machine, layouts)[0]):.1f} %",
                f"{float(said.peak_bytes[0]) / 2**30:.0f} GiB",
            )
        )
    return found


def table(head: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def site() -> str:
    """A mixture of experts of a trillion weights on the reference site, small and grown."""
    cells = []
    for chips in (10_000, 100_000):
        found = plan(model="myriad-1t-a34b", chip="zhenwu-810e", chips=chips, tokens=15e12)
        best = found.options[0]
        run = best.run
        assert run is not None
        cells.append(
            (
                f"{chips:,}",
                f"{found.question.global_batch:,}",
                str(best.layout),
                f"{best.step_s.low:.1f} to {best.step_s.high:.1f} s",
                f"{100 * best.mfu.low:.0f} to {100 * best.mfu.high:.0f} %",
                f"{run.days.low:.0f} to {run.days.high:.0f}",
            )
        )
    head = ("chips", "sequences a step", "layout", "step", "MFU", "days for 15T tokens")
    return table(head, cells)


def text() -> str:
    """All of it."""
    head = ("model", "run", "chips", "published", "predicted", "error", "MFU predicted", "peak memory")
    return "\n\n".join(
        (
            "### GPT of 22B to 1T on A100, full and selective recomputation",
            table(head, rows(_korthikanti(), "a100-sxm-80gb", "hdr-8x200g", "megatron-2022")),
            "### Llama 3 405B on H100",
            table(head, rows(_llama(), "h100-sxm", "rail-400g", "reference")),
            "### A mixture of experts of 1T on Zhenwu 810E",
            site(),
        )
    )


def main() -> None:
    """Print, or write into the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    if not parser.parse_args().write:
        print(text())
        return
    whole = DOCUMENT.read_text()
    before, after = whole[: whole.index(BEGIN)], whole[whole.index(END) :]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text()}\n\n{after}")


if __name__ == "__main__":
    main()
