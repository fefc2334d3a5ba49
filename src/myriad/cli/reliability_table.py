"""The tables of `myriad validate reliability`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from myriad.cli import show
from myriad.kernel.errors import UserError, near
from myriad.kernel.rng import Stream
from myriad.studies import reliability, reliability_models
from myriad.studies.reliability import Row
from myriad.studies.reliability_models import Agreement
from myriad.studies.reliability_twin import Twin


class Asked(NamedTuple):
    """What is to be computed."""

    quick: bool
    twin: bool
    seed: int
    only: str
    parts: Path | None


def tell(asked: Asked, *, plot: Path | None, as_json: bool) -> None:
    """Compute and print both tables. Raises UserError where no figure has the word."""
    figures = [figure for figure in reliability.shipped() if asked.only in figure.id]
    if not figures:
        known = [figure.id for figure in reliability.shipped()]
        raise UserError(
            "is in no figure's id", field="only", value=asked.only, remedy=near(asked.only, known)
        )
    seed, quick, read = asked.seed, asked.quick, reliability.Parts(asked.parts)
    line = _Line()
    twin = Twin(read, seed, quick, line.tell) if asked.twin else None
    rows = reliability.judge(figures, reliability_models.MODELS, read, seed=seed, quick=quick, twin=twin)
    line.end()
    forms = reliability_models.agreement(Stream(seed, "agreement"), quick=quick)
    if plot:
        from myriad.studies import reliability_page

        show.write(plot, reliability_page.render(rows, forms))
    if as_json:
        show.dump(
            {"seed": seed, "rows": [row.tree() for row in rows], "forms": [one._asdict() for one in forms]}
        )
        return
    _figures(rows)
    _forms(forms)
    if plot:
        click.echo(f"\nwritten to {plot}")


class _Line:
    """How far the twin is: a line on a terminal that is written over, else one for each simulation."""

    def __init__(self) -> None:
        self._live, self._name, self._percent = sys.stderr.isatty(), "", -1

    def tell(self, name: str, share: float) -> None:
        """`share` of a simulation is done."""
        percent = int(100 * share)
        if name == self._name and (not self._live or percent == self._percent):
            return
        self._name, self._percent = name, percent
        text = f"\r\x1b[Ksimulating {name}: {percent} %" if self._live else f"simulating {name}\n"
        click.echo(text, err=True, nl=False)

    def end(self) -> None:
        """Nothing more is simulated."""
        if self._live and self._name:
            click.echo("\r\x1b[K", err=True, nl=False)


def _figures(rows: Sequence[Row]) -> None:
    columns = (
        ">PUBLISHED",
        ">CLOSED",
        ">MONTE CARLO",
        ">TWIN",
        ">RATIO",
        "WITHIN",
        "VERDICT",
        "BASIS",
        "FORM",
        "FIGURE",
    )
    show.table(columns, map(_cells, rows), empty="no figures")
    met = sum(row.verdict == "met" for row in rows)
    predicted = [row for row in rows if row.figure.basis == "predicted"]
    alone = sum(row.verdict == "met" for row in predicted)
    click.echo(f"\n{met} of {len(rows)} within tolerance; of those predicted {alone} of {len(predicted)}\n")


def _cells(row: Row) -> tuple[str, ...]:
    figure, ours = row.figure, row.ours
    unit = f" {figure.unit}" if figure.unit else ""
    half = "" if ours.high is None or ours.low is None else f" ± {_number((ours.high - ours.low) / 2)}"
    form = {None: "", True: "holds", False: f"off {ours.error or 0:.2f}"}[row.holds]
    return (
        f"{figure.published:g}{unit}",
        _number(ours.closed),
        _number(ours.monte_carlo) + half,
        _number(row.twin) or "-",
        f"{row.ratio:.3f}" if row.ratio is not None else "-",
        figure.tolerance,
        row.verdict,
        figure.basis,
        form,
        figure.what,
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.4f}"


def _forms(forms: Sequence[Agreement]) -> None:
    click.echo(
        click.style(
            "Where the first-order form holds: effective time at RSC-1's 6.5 for 1,000 node-days\n", bold=True
        )
    )
    columns = (
        ">CHIPS",
        ">CHECKPOINT",
        ">RESTART",
        ">LOSSES",
        ">FIRST ORDER",
        ">EXACT",
        ">MONTE CARLO",
        "FIRST ORDER IS",
    )
    show.table(columns, map(_form, forms), empty="")


def _form(one: Agreement) -> tuple[str, ...]:
    holds = one.error <= reliability.HOLDS
    return (
        f"{one.chips:,}",
        f"{one.interval_s / 60:.0f}m",
        f"{one.restart_s / 60:.0f}m",
        f"{one.losses:.3f}",
        f"{one.first_order:.3f}",
        f"{one.exact:.3f}",
        f"{one.monte_carlo:.3f}",
        "good" if holds else f"not valid: off by up to {min(one.error, 1):.2f}",
    )
