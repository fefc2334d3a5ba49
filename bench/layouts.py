"""Layouts per second of the training model on one core, and the wall time of a whole plan as a command.

What is timed: every legal layout of Llama 3 405B on 16,384 H100 through `predict`, none left out by bounds.
Beside it, in the same run, the same formulas called once for each layout, as a loop in Python would. Calculon
(Isaev et al., SC 2023), the usual analytic model, was measured on a comparable machine at 2.78 to 4.2 ms a
configuration, 240 to 360 a second; its model is another one, so that figure is for scale only.
"""

import os
import subprocess
import sys
import time

# before NumPy is imported: one thread
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

from bench import report
from myriad.catalog.shelf import Catalog
from myriad.performance import search, space
from myriad.performance.layouts import Layouts
from myriad.performance.legality import Setting
from myriad.performance.machine import Machine
from myriad.performance.training import predict
from myriad.performance.work import Work

ROUNDS, SINGLE = 7, 400
COMMAND = "plan --model llama3-405b --chip h100-sxm --chips 16384 --tokens 15.6T"
CALCULON = (240, 360)


def question() -> tuple[Setting, Work, Machine]:
    """Llama 3 405B on 16,384 H100."""
    catalog = Catalog.shipped()
    model, chip = catalog.model("llama3-405b"), catalog.chip("h100-sxm")
    setting = Setting(
        model=model,
        sequence=8192,
        global_batch=2048,
        chips=16384,
        chips_per_node=8,
        domain=8,
        zero_bubble=True,
    )
    machine = Machine.of(chip, catalog.fabric(chip.fabric), catalog.stack(chip.stack))
    return setting, Work.of(model, sequence=8192, global_batch=2048), machine


def rate(work: Work, machine: Machine, layouts: Layouts) -> float:
    """Layouts per second, all of them in one go."""
    started = time.perf_counter()
    search.evaluate(work, machine, layouts)
    return len(layouts) / (time.perf_counter() - started)


def single_rate(work: Work, machine: Machine, layouts: Layouts) -> float:
    """Layouts per second, one a call."""
    step = max(len(layouts) // SINGLE, 1)
    chosen = [layouts.take(slice(n, n + 1)) for n in range(0, len(layouts), step)]
    started = time.perf_counter()
    for one in chosen:
        predict(work, machine, one)
    return len(chosen) / (time.perf_counter() - started)


def command_s() -> float:
    """Wall time of the command, from the start of the interpreter to its end."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "myriad.cli", *COMMAND.split()], stdout=subprocess.DEVNULL, check=True
    )
    return time.perf_counter() - started


def main() -> None:
    """Measure, and print the line."""
    setting, work, machine = question()
    built = space.build(setting, space.axes(setting), timed=False)
    layouts = built.layouts
    rate(work, machine, layouts)
    together = [rate(work, machine, layouts) for _ in range(ROUNDS)]
    alone = [single_rate(work, machine, layouts) for _ in range(3)]
    started = time.perf_counter()
    search.run(setting, work, machine)
    searched_s = time.perf_counter() - started
    walls = [command_s() for _ in range(ROUNDS)]
    print(f"layouts/s together {report.spread(together)}, one a call {report.spread(alone)}")
    print(f"a search of {built.considered:,} layouts, {len(layouts):,} legal: {searched_s:.3f} s")
    print(f"myriad {COMMAND}: {report.spread(walls)} s")
    value = report.spread(together)["median"]
    report.finish(
        "layouts",
        value,
        "layouts/s",
        "the same formulas, one layout a call",
        report.spread(alone)["median"],
        layouts=len(layouts),
        considered=built.considered,
        search_s=round(searched_s, 4),
        command="myriad " + COMMAND,
        command_s=report.spread(walls),
        calculon_layouts_per_s=f"{CALCULON[0]} to {CALCULON[1]}, another model on a comparable machine",
        ratio_to_calculon=round(value / CALCULON[1]),
    )


if __name__ == "__main__":
    main()
