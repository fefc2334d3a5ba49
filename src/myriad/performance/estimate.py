"""The first estimate of a training run: FLOPs over speed, corrected by runs that were observed.

Used by control for forecasts and by schedule for backfill; the share of peak comes from `shares` where the
shape of the work is known. Sources: time = model FLOPs / (chips x
FLOP/s x MFU) is the definition of MFU (Chowdhery et al., PaLM, 2022, appendix B).
"""

from typing import Final, NamedTuple

from myriad.kernel.units import SECOND, Span

#: Start of a gang until its first step: processes, rendezvous, model, data. Status: measured on the
#: local engine with the small demo model (3 to 8 s); a forecast says so.
START_NS: Final[Span] = 6 * SECOND
#: Half-width of the interval around an observed step time, and around one from FLOPs. Estimated.
OBSERVED_SPREAD: Final = 0.25
MODEL_SPREAD: Final = 0.60


class Estimate(NamedTuple):
    """Predicted time of a whole run, start of the gang included. All zero when nothing is known."""

    step_ns: Span
    run_ns: Span
    run_low_ns: Span  # 10 %
    run_high_ns: Span  # 90 %
    basis: str  # for people: where the number comes from


UNKNOWN: Final = Estimate(0, 0, 0, 0, "unknown: the job says neither steps nor expected time")


def training_run(
    *,
    steps: int,
    flops_per_step: float,
    chips: int,
    flops: float,
    efficiency: float,
    observed_step_ns: Span = 0,
    expected_ns: Span = 0,
) -> Estimate:
    """Predict `steps` steps of `flops_per_step` model FLOPs on `chips` chips of `flops` FLOP/s each.

    An observed step time of the same work wins over FLOPs, and FLOPs over the user's word `expected_ns`.
    Zero means unknown.
    """
    if steps and observed_step_ns:
        basis = "step time observed on an earlier run of the same work"
        return _spread(observed_step_ns, steps * observed_step_ns, OBSERVED_SPREAD, basis)
    if steps and flops_per_step and flops and efficiency:
        step_ns = int(flops_per_step / (chips * flops * efficiency) * SECOND)
        speed = f"{100 * efficiency:.2g} % of {flops:.3g} FLOP/s a chip"
        basis = f"{flops_per_step:.3g} FLOP a step at {speed} (estimated)"
        return _spread(step_ns, steps * step_ns, MODEL_SPREAD, basis)
    return as_told(expected_ns)


def as_told(expected_ns: Span) -> Estimate:
    """Of work of which only the user's word is known; 0: not even that."""
    return _spread(0, expected_ns, MODEL_SPREAD, "the time the user expects") if expected_ns else UNKNOWN


def _spread(step_ns: Span, work_ns: Span, spread: float, basis: str) -> Estimate:
    low, high = int(work_ns * (1 - spread)), int(work_ns * (1 + spread))
    return Estimate(step_ns, START_NS + work_ns, low, 2 * START_NS + high, basis)
