"""How well layouts are ranked: predicted against measured order in the published sweeps.

A sweep is one model on one machine; FlashAttention or not is part of a layout, so Hagemann's kernels count as
layouts too. Peer, in the same run: the order by a constant efficiency and the bubble. Published: Calculon's
chosen layout is within 4.5 % of the best measured one at every model size of vTrain.
"""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import accuracy, report
from myriad.catalog.shelf import Catalog
from myriad.studies import published, validation
from myriad.studies.validation import Ranking

BAR_TAU, BAR_LOSS, BAR_SWEEPS = 0.8, 0.03, 0.9


def main() -> None:
    """Print the table and the last line."""
    catalog = Catalog.shipped()
    runs, _ = published.read(published.shipped(), "shipped runs", catalog)
    judged = validation.judge([run for run in runs if run.recommended and run.measured_s], catalog)
    ours = validation.rankings(judged)
    theirs = {row.group: row for row in validation.rankings(accuracy.peers(judged, catalog))}
    table = Table(
        "sweep", "layouts", "tau", "loss of the chosen", "peer's tau", "peer's loss", title="ranking"
    )
    for row in ours:
        peer = theirs[row.group]
        table.add_row(
            row.group,
            str(row.runs),
            f"{row.tau:.2f}",
            f"{100 * row.loss:.1f} %",
            f"{peer.tau:.2f}",
            f"{100 * peer.loss:.1f} %",
        )
    Console(width=130).print(table)
    tau, good, near = summary(ours)
    peer_tau, _, peer_near = summary([theirs[row.group] for row in ours])
    told("sweeps with tau of 0.8 or better", good, 1.0)
    told("sweeps whose chosen layout is within 3 % of the best", near, BAR_SWEEPS)
    alone = summary(validation.rankings(judged, by_stack=True))
    within = f"{100 * alone[2]:.0f} % of choices within 3 %"
    print(f"with one attention kernel at a time: tau {alone[0]:.2f}, {within}")
    report.finish(
        "ranking",
        tau,
        "mean Kendall tau over sweeps",
        "order by constant efficiency and bubble",
        peer_tau,
        sweeps=len(ours),
        tau_of_08_share=round(good, 3),
        within_3_percent_share=round(near, 3),
        peer_within_3_percent_share=round(peer_near, 3),
        tau_with_one_kernel=round(alone[0], 3),
    )


def told(what: str, share: float, bar: float) -> None:
    """One line: a share beside its bar."""
    print(f"{what}: {100 * share:.0f} %  bar {100 * bar:.0f} %  {'met' if share >= bar else 'MISSED'}")


def summary(found: Sequence[Ranking]) -> tuple[float, float, float]:
    """Mean tau, share of sweeps with a good tau, share whose chosen layout is nearly the best."""
    tau = np.array([row.tau for row in found])
    loss = np.array([row.loss for row in found])
    return float(tau.mean()), float((tau >= BAR_TAU).mean()), float((loss <= BAR_LOSS).mean())


if __name__ == "__main__":
    main()
