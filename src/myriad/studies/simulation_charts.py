"""The plots of simulations and sweeps: areas, lines and bars over days, with intervals. SVG text."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from myriad.studies import charts

_WIDTH: Final = 9.6
#: Points of a line beyond which it is thinned to the smallest and largest of each stretch.
_MOST_POINTS: Final = 1200
_PALETTE: Final = ("#2f6fb7", "#1b7f5c", "#e0823d", "#8a6fc0", "#c0392b", "#3a8c99", "#a8527b", "#b0722a")


class Line(NamedTuple):
    """One column of a time series, as it is drawn."""

    label: str
    values: np.ndarray
    colour: str = ""


def areas(at: np.ndarray, lines: Sequence[Line], unit: str, salt: str) -> str:
    """Columns on top of each other over time, such as nodes by state."""
    with rc_context(charts.STYLE):
        figure, axes = _over_time(at, unit)
        kept = _evenly(len(at))
        stack = [line.values[kept] for line in lines]
        labels, colours = [line.label for line in lines], _colours(lines)
        axes.stackplot(at[kept], stack, labels=labels, colors=colours, linewidth=0)
        _legend(axes, lines)
        return charts.svg(figure, salt)


def curves(at: np.ndarray, lines: Sequence[Line], unit: str, salt: str, *, from_zero: bool = True) -> str:
    """Columns as lines over time."""
    with rc_context(charts.STYLE):
        figure, axes = _over_time(at, unit)
        for line, colour in zip(lines, _colours(lines), strict=True):
            kept = _ends(line.values)
            axes.plot(at[kept], line.values[kept], label=line.label, color=colour, linewidth=1.1)
        if from_zero:
            axes.set_ylim(bottom=min(0.0, *(float(line.values.min()) for line in lines)))
        _legend(axes, lines)
        return charts.svg(figure, salt)


def _over_time(at: np.ndarray, unit: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, 2.9))
    axes = figure.add_subplot()
    axes.set_xlim(float(at[0]), max(float(at[-1]), 1e-9))
    axes.set_xlabel("days")
    axes.set_ylabel(unit)
    _plain(axes)
    return figure, axes


def _colours(lines: Sequence[Line]) -> list[str]:
    return [line.colour or _PALETTE[k % len(_PALETTE)] for k, line in enumerate(lines)]


def _legend(axes: Axes, lines: Sequence[Line]) -> None:
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _evenly(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).astype(int))


def _ends(values: np.ndarray) -> np.ndarray:
    """Rows to keep so that no peak is lost: of each stretch its smallest and its largest."""
    stretches = np.array_split(np.arange(len(values)), max(1, min(len(values), _MOST_POINTS // 2)))
    kept = [part[[int(np.argmin(values[part])), int(np.argmax(values[part]))]] for part in stretches]
    return np.unique(np.concatenate([*kept, [0, len(values) - 1]]))


def bars(counts: Mapping[str, float], unit: str, salt: str, most: int = 16) -> str:
    """Amounts by name, the largest first; beyond `most` the rest is one bar."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) > most:
        rest = ordered[most - 1 :]
        ordered = [*ordered[: most - 1], (f"{len(rest)} others", sum(amount for _, amount in rest))]
    total = sum(counts.values()) or 1
    with rc_context(charts.STYLE):
        figure = Figure(figsize=(_WIDTH, 0.8 + 0.27 * len(ordered)))
        axes = figure.add_subplot()
        for row, (_, amount) in enumerate(ordered):
            axes.barh(row, amount, color=_PALETTE[0], height=0.62)
            axes.text(
                amount,
                row,
                f"  {amount:,.5g} · {100 * amount / total:.1f} %",
                va="center",
                color=charts.MUTED,
                fontsize=8.5,
            )
        axes.set_yticks(range(len(ordered)), [name.replace("_", " ") for name, _ in ordered])
        axes.set_ylim(len(ordered) - 0.5, -0.5)
        axes.set_xlim(0, 1.2 * max([amount for _, amount in ordered], default=1) or 1)
        axes.set_xlabel(unit)
        _plain(axes, "x")
        return charts.svg(figure, salt)


def spreads(rows: Mapping[str, Mapping[str, float]], unit: str, salt: str) -> str:
    """Quantiles by class on a logarithmic axis: a dot for each, the middle one filled."""
    with rc_context(charts.STYLE):
        figure = Figure(figsize=(_WIDTH, 0.9 + 0.34 * len(rows)))
        axes = figure.add_subplot()
        smallest = min((v for row in rows.values() for v in row.values() if v > 0), default=1.0)
        for row, quantiles in enumerate(rows.values()):
            points = [max(value, smallest) for value in quantiles.values()]
            axes.plot(points, [row] * len(points), color="#d6e6f4", linewidth=5, solid_capstyle="round")
            for k, point in enumerate(points):
                axes.plot(point, row, marker="o", markersize=5, color=_PALETTE[k % len(_PALETTE)])
        for k, name in enumerate(next(iter(rows.values()), {})):
            axes.plot([], [], marker="o", linestyle="", color=_PALETTE[k % len(_PALETTE)], label=name)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(unit)
        axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        _plain(axes, "x")
        return charts.svg(figure, salt)


def whiskers(rows: Mapping[str, tuple[float, float]], unit: str, salt: str) -> str:
    """A mean and half its interval by name, in the order given."""
    with rc_context(charts.STYLE):
        figure = Figure(figsize=(_WIDTH, 0.9 + 0.34 * len(rows)))
        axes = figure.add_subplot()
        for row, (mean, half) in enumerate(rows.values()):
            axes.errorbar(mean, row, xerr=half, fmt="o", color=_PALETTE[0], capsize=3, markersize=5)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(unit)
        _plain(axes, "x")
        return charts.svg(figure, salt)


def _plain(axes: Axes, axis: Literal["both", "x"] = "both") -> None:
    axes.grid(axis=axis, color=charts.GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
