"""Published figures of reliability against ours: closed form, Monte Carlo of one gang, the twin, the ratio.

Figures marked `calibrated` met a constant of ours before, `shaped` a choice of ours; the last line counts
all, and the predicted ones apart. Peer: the first-order closed form in common use (Kokolis et al., HPCA
2025), by its mean error against the same Monte Carlo over sizes and intervals, where ours is Daly's exact
form.
"""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench import report
from myriad.kernel.rng import Stream
from myriad.studies import reliability, reliability_models
from myriad.studies.reliability import Row
from myriad.studies.reliability_twin import Twin


def main() -> None:
    """Print the tables and the last line."""
    parts = reliability.Parts()
    twin = Twin(parts)
    rows = reliability.judge(reliability.shipped(), reliability_models.MODELS, parts, twin=twin)
    show(rows)
    runs = twin.outcomes.values()
    Console(width=140).print(f"{len(runs)} simulations in {sum(one.wall_s for one in runs):.0f} s")
    if "lemons-after" in twin.outcomes:
        Console(width=140).print(f"nodes kept out in 60 days: {twin.outcomes['lemons-after'].kept_out}")
    forms = reliability_models.agreement(Stream(1))
    table = Table(
        "chips", "interval s", "restart s", "first order", "exact", "Monte Carlo", title="closed forms"
    )
    for one in forms:
        cells = (one.interval_s, one.restart_s, one.first_order, one.exact, one.monte_carlo)
        table.add_row(f"{one.chips:,}", *(f"{cell:.4g}" for cell in cells))
    Console(width=140).print(table)
    exact = sum(abs(one.exact - one.monte_carlo) for one in forms) / len(forms)
    usual = sum(abs(max(one.first_order, 0.0) - one.monte_carlo) for one in forms) / len(forms)
    predicted = [row for row in rows if row.figure.basis == "predicted"]
    report.finish(
        "reliability",
        exact,
        "mean error of effective time, closed form against Monte Carlo",
        "first-order closed form (HPCA 2025), no less than 0",
        usual,
        better="lower",
        figures=len(rows),
        met=sum(row.verdict == "met" for row in rows),
        predicted=len(predicted),
        simulated=sum(row.twin is not None for row in rows),
        predicted_met=sum(row.verdict == "met" for row in predicted),
        missed=[row.figure.id for row in rows if row.verdict == "missed"],
    )


def show(rows: Sequence[Row]) -> None:
    """The figure, what is published, ours, and the ratio."""
    names = ("figure", "published", "closed", "Monte Carlo", "twin", "ratio", "tolerance", "verdict", "basis")
    table = Table(*names)
    for row in rows:
        figure, ours = row.figure, row.ours
        table.add_row(
            figure.what,
            f"{figure.published:g} {figure.unit}".strip(),
            "" if ours.closed is None else f"{ours.closed:.4g}",
            "" if ours.monte_carlo is None else f"{ours.monte_carlo:.4g}",
            "" if row.twin is None else f"{row.twin:.4g}",
            "" if row.ratio is None else f"{row.ratio:.3f}",
            figure.tolerance,
            row.verdict,
            figure.basis,
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
