"""Fit the serving parameters once, over all rows of the published inference runs.

Print them and how they generalise.

    python -m tools.calibrate_serving [--check]

Damped Gauss-Newton on the logarithms of the parameters, on absolute log errors (weights renewed each
round), pulled gently towards the start so that what the rows do not show stays physical. `--check` leaves
out one model or one TP at a time, fits the rest and prints the error on what was left out. Values go into
catalog/stacks/vllm-2023.yaml.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from myriad.catalog.shelf import Catalog
from myriad.studies import inference_runs
from myriad.studies.inference_runs import Runs

#: Chips of the rows, and the architecture whose name their parameters get.
CHIPS = {"A100-SXM4-80GB": "ampere", "H100-SXM5-80GB": "hopper"}
A100, H100 = CHIPS
#: Parameters of each chip, and of the stack, with physical starting points.
OF_CHIP = {
    "gemm_share": (0.75, 0.6),
    "gemm_half_flop": (3e9, 20e9),
    "memory_share": (0.85, 0.85),
    "attention_share": (0.4, 0.4),
    "scale_up_share": (0.7, 0.7),
    "large_message_share": (0.15, 0.3),
}
OF_STACK = {
    "scale_up_latency_s": 10e-6,
    "prefill_launch_s": 0.45e-3,
    "decode_launch_s": 0.2e-3,
    "step_s": 10e-3,
    "prefill_step_s": 1e-3,
    "sequence_s": 0.25e-3,
    "passes": 12.0,
    "kv_reread_share": 0.1,
    "host_factor": 1.5,  # of the A100 machine; the H100 machine has 1
}
NAMES = [f"{family}.{name}" for name in OF_CHIP for family in CHIPS.values()] + list(OF_STACK)
START = np.array([value for pair in OF_CHIP.values() for value in pair] + list(OF_STACK.values()))
PULL, FLOOR = 0.3, 0.03


class Fit:
    """The rows, and the errors a vector of parameters makes on them."""

    def __init__(self, runs: Runs) -> None:
        self.catalog = Catalog.shipped()
        base = inference_runs.machines(self.catalog, runs)
        self.base = {name: replace(one, host_factor=1.0) for name, one in base.items()}
        self.runs = runs.where(inference_runs.fits(self.catalog, runs, self.base))

    def errors(self, values: np.ndarray, runs: Runs) -> np.ndarray:
        """log(predicted / measured), prefill and decode, shape (2, n)."""
        given = dict(zip(NAMES, values, strict=True))
        stack = {name: given[name] for name in OF_STACK if name != "host_factor"}
        machines = {}
        for chip, family in CHIPS.items():
            own = {name: given[f"{family}.{name}"] for name in OF_CHIP}
            host = given["host_factor"] if chip == A100 else 1.0
            machines[chip] = replace(self.base[chip], **own, **stack, host_factor=host)
        prefill_s, decode_s = inference_runs.predict(self.catalog, runs, machines)
        return np.log(np.array([prefill_s / runs.prefill_s, decode_s / runs.decode_s]))

    def solve(self, runs: Runs, rounds: int = 40) -> np.ndarray:
        """Parameters that fit these rows."""
        start = np.log(START)
        weight = np.tile(np.sqrt(runs.repeats / 5), 2)
        pull = PULL * 2 * len(runs.tp) / 100

        def cost(at: np.ndarray) -> tuple[float, np.ndarray]:
            error = self.errors(np.exp(at), runs).ravel()
            size = np.where(np.abs(error) < FLOOR, error**2 / (2 * FLOOR) + FLOOR / 2, np.abs(error))
            return float((size * weight).sum() + pull / 2 * ((at - start) ** 2).sum()), error

        at = start
        for _ in range(rounds):
            now, error = cost(at)
            slopes = jacobian(lambda near: self.errors(np.exp(near), runs).ravel(), at)
            scaled = weight / np.maximum(np.abs(error), FLOOR)
            square = slopes.T @ (slopes * scaled[:, None]) + pull * np.eye(len(at))
            down = slopes.T @ (scaled * error) + pull * (at - start)
            for damping in (1e-3, 1e-1, 1.0, 10.0, 100.0):
                step = np.linalg.solve(square + damping * np.diag(np.diag(square)), -down)
                there = at + np.clip(step, -0.5, 0.5)
                if cost(there)[0] < now - 1e-6:
                    at = there
                    break
            else:
                break
        return np.exp(at)


def jacobian(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Forward differences, shape (values, parameters)."""
    here = function(at)
    return np.stack([(function(at + step * unit) - here) / step for unit in np.eye(len(at))], axis=1)


def percent(error: np.ndarray, runs: Runs) -> str:
    """Mean absolute error of prefill and decode, every repeat counted."""
    sizes = 100 * np.average(np.abs(np.exp(error) - 1), axis=1, weights=runs.repeats)
    return f"prefill {sizes[0]:5.2f} %  decode {sizes[1]:5.2f} %  ({len(runs.tp)} medians)"


def main() -> None:
    """Fit, print, and with --check leave parts out."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true")
    chosen = arguments.parse_args()
    fit = Fit(inference_runs.read())
    values = fit.solve(fit.runs)
    for name, value in zip(NAMES, values, strict=True):
        print(f"{name:40s} {value:.4g}")
    print("all rows            ", percent(fit.errors(values, fit.runs), fit.runs))
    if chosen.check:
        runs = fit.runs
        parts = {
            "without BLOOM": runs.model == "bloom-176b",
            "without BLOOM, A100": (runs.model == "bloom-176b") & (runs.chip == A100),
            "without BLOOM, H100": (runs.model == "bloom-176b") & (runs.chip == H100),
            "without Llama TP 2": (runs.model == "llama2-70b") & (runs.tp == 2),
            "without Llama TP 4": (runs.model == "llama2-70b") & (runs.tp == 4),
            "without Llama TP 8": (runs.model == "llama2-70b") & (runs.tp == 8),
            "without prompts 4k+": runs.prompt >= 4096,
            "without batch 16+": runs.batch >= 16,
        }
        found = [values]
        for name, out in parts.items():
            left = runs.where(out)
            found.append(fit.solve(runs.where(~out)))
            print(f"{name:20s}", percent(fit.errors(found[-1], left), left))
        for name, low, high in zip(NAMES, np.min(found, axis=0), np.max(found, axis=0), strict=True):
            print(f"{name:40s} {low:.3g} to {high:.3g}")


if __name__ == "__main__":
    main()
