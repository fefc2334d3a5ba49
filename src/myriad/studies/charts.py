"""The plots of a report, as SVG text to stand inside a page. Same input, same text."""

import io
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from myriad.kernel.ids import JobId, NodeId
from myriad.kernel.units import HOUR, MINUTE, SECOND, Instant, Span
from myriad.ledger.buckets import BUCKET_OF, USEFUL
from myriad.ledger.predictions import Score
from myriad.studies.story import SPARE, Attempt, Point, StateSpan, Story

INK, MUTED, GRID = "#1f2933", "#6b7785", "#e4e8ed"
COLOURS = {
    "productive": "#1b7f5c",
    "serving_busy": "#2f6fb7",
    "checkpoint": "#8a6fc0",
    "straggling": "#c98a1b",
    "lost": "#c0392b",
    "detect": "#a84c2c",
    "restart": "#e0823d",
    "exposed": "#d9b24c",
    "throttled": "#b08968",
    "serving_headroom": "#8fb5dd",
    "down": "#8f2d2d",
    "burn_in": "#b9a55a",
    "drained": "#8793a1",
    "occupied": "#b5a3c9",
    "spare": "#7fb2d9",
    "idle_no_demand": "#cfd6de",
    "idle_fragmentation": "#bcc5cf",
    "idle_quota": "#a9b4c0",
    "idle_held_back": "#96a3b1",
}
STATE_COLOURS = {
    "JOINING": "#f3ecd0",
    "BURN_IN": "#ecdfae",
    "READY": "#f4f6f8",
    SPARE: "#d6e6f4",
    "SUSPECT": "#f7c9a0",
    "DRAINING": "#d5dae0",
    "DRAINED": "#c3cad2",
    "OCCUPIED": "#e2d8ee",
    "REPAIRING": "#e9a9a2",
    "RETIRED": "#ffffff",
}
_GANG_COLOURS = ("#1b7f5c", "#2f6fb7", "#8a6fc0", "#b0722a", "#3a8c99", "#a8527b")
#: Rows of the time line, and points of a curve, beyond which a sample is shown.
MOST_ROWS, _MOST_POINTS = 40, 1500
STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Segoe UI", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 9.5,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.6,
}


def waterfall(buckets: Mapping[str, Span], capacity: Span) -> str:
    """From capacity down to goodput: what each bucket took, largest first, then what was left."""
    useful = [BUCKET_OF[slot] for slot in USEFUL]
    taken = sorted(
        ((amount, name) for name, amount in buckets.items() if amount and name not in useful), reverse=True
    )
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.9 + 0.34 * (len(taken) + 2)))
        axes = figure.add_subplot()
        axes.barh(0, 100, color="#3d4b5c", height=0.62)
        _share(axes, 0, 100, 100)
        level, labels = 100.0, ["capacity"]
        for row, (amount, name) in enumerate(taken, 1):
            share = 100 * amount / capacity
            axes.barh(row, share, left=level - share, color=COLOURS[name], height=0.62)
            axes.plot([level, level], [row - 1, row], color=GRID, linewidth=1, zorder=0)
            level -= share
            _share(axes, row, level + share, share)
            labels.append(name.replace("_", " ").replace("idle ", "idle: "))
        left = 0.0
        for name in useful:
            share = 100 * buckets.get(name, 0) / capacity
            axes.barh(len(labels), share, left=left, color=COLOURS[name], height=0.62)
            if share > 8:
                axes.text(
                    left + share / 2,
                    len(labels),
                    name.replace("_", " "),
                    ha="center",
                    va="center",
                    color="white",
                    fontsize=8.5,
                )
            left += share
        _share(axes, len(labels), left, left)
        axes.set_yticks(range(len(labels) + 1), [*labels, "goodput"])
        _tidy(axes, (0, 109))
        axes.set_xlabel("% of capacity × time")
        return svg(figure, "waterfall")


def _share(axes: Axes, row: int, right: float, share: float) -> None:
    text = f"{share:.1f} %" if share >= 0.05 else "<0.05 %"
    axes.text(right + 0.8, row, text, va="center", color=MUTED, fontsize=8.5)


def _tidy(axes: Axes, limits: tuple[float, float]) -> None:
    axes.invert_yaxis()
    axes.set_xlim(*limits)
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


class _When(NamedTuple):
    """The time axis of a plot."""

    start: Instant
    now: Instant
    scale: int
    unit: str

    def of(self, at: Instant | None) -> float:
        """An instant on the axis; None is now."""
        return ((self.now if at is None else at) - self.start) / self.scale


def _when(start: Instant, now: Instant) -> _When:
    span = now - start
    if span < 10 * MINUTE:
        return _When(start, now, SECOND, "seconds")
    if span < 10 * HOUR:
        return _When(start, now, MINUTE, "minutes")
    return _When(start, now, HOUR, "hours")


def timeline(story: Story) -> str:
    """One row a node: its states behind, the gangs it worked for in front, losses marked."""
    rows = {node: row for row, node in enumerate(shown_nodes(story))}
    when = _when(story.opened_at or 0, story.now)
    owners = list(dict.fromkeys(attempt.owner for attempt in story.attempts.values()))
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 1.1 + 0.36 * len(rows)))
        axes = figure.add_subplot()
        for node, row in rows.items():
            for span in story.nodes[node]:
                _span(axes, row, span, when, height=0.86, color=STATE_COLOURS[span.state])
        for attempt in story.attempts.values():
            colour = _GANG_COLOURS[owners.index(attempt.owner) % len(_GANG_COLOURS)]
            for node in attempt.nodes:
                if node in rows:
                    _gang(axes, rows[node], attempt, colour, when)
        for at, node in story.losses:
            if node in rows:
                axes.plot(when.of(at), rows[node], marker="X", color="#8f1d14", markersize=8)
        axes.set_yticks(range(len(rows)), list(rows))
        _tidy(axes, (0, max(when.of(None), 1e-9)))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"{when.unit} since the site opened")
        return svg(figure, "timeline")


def shown_nodes(story: Story) -> list[NodeId]:
    """Every node of a small site; of a large one those with most to tell, in site order."""
    if len(story.nodes) <= MOST_ROWS:
        return list(story.nodes)
    weight = {node: len(spans) for node, spans in story.nodes.items()}
    for attempt in story.attempts.values():
        for node in attempt.nodes:
            weight[node] += 1
    chosen = sorted(weight, key=lambda node: -weight[node])[:MOST_ROWS]
    return [node for node in story.nodes if node in set(chosen)]


def _span(axes: Axes, row: int, span: StateSpan, when: _When, **style: Any) -> None:
    left = when.of(span.start)
    axes.barh(row, when.of(span.end) - left, left=left, **style)


def _gang(axes: Axes, row: int, attempt: Attempt, colour: str, when: _When) -> None:
    held = StateSpan("held", attempt.placed_at, attempt.stopped_at)
    _span(axes, row, held, when, height=0.5, color="#fbe3cf", edgecolor=colour, linewidth=0.6)
    for span in attempt.useful:
        _span(axes, row, span, when, height=0.5, color=colour)
    left, right = when.of(held.start), when.of(held.end)
    if right - left > 0.011 * len(attempt.attempt) * when.of(None):
        axes.text(
            (left + right) / 2,
            row,
            attempt.attempt,
            color="white" if attempt.useful else colour,
            ha="center",
            va="center",
            fontsize=7.5,
            clip_on=True,
        )


def training(story: Story, job: JobId) -> str:
    """Loss and step time over time; interruptions shaded, work that had to be redone drawn hollow."""
    points = _sampled(story.points[job])
    attempts = [attempt for attempt in story.attempts.values() if attempt.owner == job]
    when = _when(attempts[0].placed_at, points[-1].at)
    kept = _kept_steps(attempts)
    good = [point for point in points if point.step <= kept[point.attempt]]
    redone = [point for point in points if point.step > kept[point.attempt]]
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.2))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for left, right in _gaps(attempts, when):
            for axes in (upper, lower):
                axes.axvspan(left, right, color=COLOURS["restart"], alpha=0.18, linewidth=0)
        for at, _ in story.checkpoints.get(job, []):
            lower.axvline(when.of(at), color=COLOURS["checkpoint"], linewidth=0.7, alpha=0.6)
        for some, face, edge in (
            (good, COLOURS["productive"], COLOURS["productive"]),
            (redone, "white", COLOURS["lost"]),
        ):
            _dots(upper, [(when.of(point.at), point.loss) for point in some], face, edge)
            _dots(lower, [(when.of(point.at), point.step_ns / SECOND) for point in some], face, edge)
        upper.set_ylabel("loss")
        lower.set_ylabel("step time, s")
        lower.set_ylim(0, 1.25 * max([point.step_ns for point in points], default=0) / SECOND or 1)
        lower.set_xlabel(f"{when.unit} since the first placement")
        for axes in (upper, lower):
            axes.grid(color=GRID, linewidth=0.8)
            axes.tick_params(length=0)
        return svg(figure, f"training-{job}")


def _dots(axes: Axes, points: Sequence[tuple[float, float]], face: str, edge: str) -> None:
    known = [point for point in points if point[1]]
    axes.plot(
        [x for x, _ in known],
        [y for _, y in known],
        marker="o",
        markersize=3.4,
        markerfacecolor=face,
        markeredgecolor=edge,
        linestyle="",
    )


def _sampled(points: Sequence[Point]) -> Sequence[Point]:
    return points[:: max(1, -(-len(points) // _MOST_POINTS))]


def _kept_steps(attempts: Sequence[Attempt]) -> dict[str, int]:
    """Attempt -> last step of it that was kept: as the next attempt took it up, or as it is now."""
    kept: dict[str, int] = {}
    for attempt, following in zip(attempts, [*attempts[1:], None], strict=True):
        ended_well = attempt.cause in (None, "done")
        kept[attempt.attempt] = (1 << 62) if ended_well else attempt.kept_step
        if following is not None and following.useful:
            kept[attempt.attempt] = following.resumed_step
    return kept


def _gaps(attempts: Sequence[Attempt], when: _When) -> list[tuple[float, float]]:
    """From the end of useful work to its next beginning."""
    spans = [span for attempt in attempts for span in attempt.useful]
    return [(when.of(before.end), when.of(after.start)) for before, after in pairwise(spans)]


def promises(scores: Sequence[Score]) -> str:
    """Each job's promised interval and the end that came, as a share of the promised time."""
    shown = [score for score in scores if score.finished_at is not None and score.finish_promised][-12:]
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 1.0 + 0.34 * len(shown)))
        axes = figure.add_subplot()
        for row, score in enumerate(shown):
            promised, early, late, actual = (
                _fraction(score, at)
                for at in (
                    score.finish_promised,
                    score.finish_early,
                    score.finish_late,
                    score.finished_at,
                )
            )
            axes.barh(row, late - early, left=early, height=0.5, color="#d6e6f4")
            axes.plot([promised, promised], [row - 0.25, row + 0.25], color="#2f6fb7", linewidth=2)
            colour = COLOURS["productive"] if score.within else COLOURS["lost"]
            axes.plot(actual, row, marker="D", color=colour, markersize=6)
        axes.set_yticks(range(len(shown)), [score.job for score in shown])
        _tidy(axes, (0, max([150.0, *(1.08 * _fraction(score, score.finished_at) for score in shown)])))
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel("% of the promised time from submission to the end")
        return svg(figure, "promises")


def _fraction(score: Score, at: Instant | None) -> float:
    assert at is not None
    assert score.finish_promised is not None
    return 100 * (at - score.submitted_at) / max(1, score.finish_promised - score.submitted_at)


def svg(figure: Figure, salt: str) -> str:
    """A figure as SVG text; `salt` makes its ids its own, and the same each time."""
    figure.set_layout_engine("constrained")
    text = io.StringIO()
    with rc_context({"svg.hashsalt": salt}):
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    body = text.getvalue()
    body = body[body.index("<svg") :]
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'role="img"', body, count=1)
