"""The useful time of one attempt, step by step: which of it was kept, straggling, checkpointing or lost.

All in nanoseconds of one chip, since every chip of a gang does the same at the same time; the ledger
multiplies by the chips. While an attempt runs all its time counts as productive; every correction comes
back as a `Shift` to book. Nothing here knows of accounts, nodes or jobs.
"""

from collections.abc import Generator, Iterable, Iterator
from itertools import takewhile
from typing import NamedTuple

from myriad.kernel.units import Instant, Span
from myriad.ledger.buckets import Slot
from myriad.ledger.medians import Recent

#: A report counts as straggling when its steps took longer than 3/2 of the running median: estimated,
#: above the jitter of healthy steps (a few percent) and below a chip at half speed.
STRAGGLING_NUMERATOR, STRAGGLING_DENOMINATOR = 3, 2
#: The median of this many reports, and how many there must be before it says anything: the first steps
#: of an attempt are slow (warm-up) and must not be the measure.
_WINDOW, _LEAST = 64, 8
#: Stretches without a checkpoint beyond which neighbours are joined.
_MOST = 2048

#: Everything is kept.
ALL_STEPS = 1 << 62


class Shift(NamedTuple):
    """So many ns of each chip, spent under these terms of price, go from one slot to another."""

    terms: int
    source: Slot
    target: Slot
    span: Span


class Stretch:
    """Time in which the steps after `first` up to `last` were done."""

    __slots__ = ("first", "last", "productive", "straggling", "terms")

    def __init__(self, first: int, last: int, productive: Span, straggling: Span, terms: int) -> None:
        self.first, self.last, self.terms = first, last, terms
        self.productive, self.straggling = productive, straggling

    def part(self, span: Span, kept_step: int) -> Span:
        """How much of `span` belongs to steps up to `kept_step`; the steps share it evenly."""
        steps = min(max(kept_step - self.first, 0), self.last - self.first)
        return span * steps // (self.last - self.first)


class Timeline:
    """Begins when training goes on after `step`."""

    def __init__(self, step: int, at: Instant) -> None:
        self.step = step
        self.kept = ALL_STEPS
        self._marked_at = at
        #: Checkpoint time inside what has not been reported yet.
        self._stalled: Span = 0
        #: Up to the last checkpoint, joined; and since then.
        self._sealed: list[Stretch] = []
        self._recent: list[Stretch] = []
        self._pace = Recent(_WINDOW)

    @property
    def fresh(self) -> bool:
        """Whether no step has been reported yet."""
        return not self._recent and not self._sealed

    def reported(self, step: int, at: Instant, terms: int) -> Iterator[Shift]:
        """Steps up to `step` are done. A step already known is an echo and changes nothing."""
        steps = step - self.step
        if steps <= 0:
            return
        stretch = self._close(step, at, terms)
        median = self._pace.median() * steps
        if len(self._pace) >= _LEAST and _is_straggling(stretch.productive, median):
            stretch.straggling = stretch.productive - median
            stretch.productive = median
            yield Shift(terms, Slot.PRODUCTIVE, Slot.STRAGGLING, stretch.straggling)
        self._pace.add((stretch.productive + stretch.straggling) // steps)
        self.step = step

    def cut(self, at: Instant, terms: int) -> None:
        """What was not reported yet belongs to the step in progress; new terms, or the end, begin here."""
        if at > self._marked_at:
            self._close(self.step + 1, at, terms)

    def _close(self, last: int, at: Instant, terms: int) -> Stretch:
        stretch = Stretch(self.step, last, at - self._marked_at - self._stalled, 0, terms)
        self._marked_at, self._stalled = at, 0
        self._recent.append(stretch)
        if len(self._recent) > _MOST:
            self._recent = list(_joined_in_pairs(self._recent))
        return stretch

    def checkpointed(
        self, step: int, stall: Span, at: Instant, terms: int, stored: bool = True
    ) -> Iterator[Shift]:
        """A checkpoint of `step` stood in the way for `stall`: of the steps right after it, as far as
        their time goes, else of the report that `step` itself came with (some save before they report).
        Work that only memory keeps (not `stored`) may still be lost, so its steps stay apart.
        """
        later = list(takewhile(lambda stretch: stretch.last > step, reversed(self._recent)))[::-1]
        own = self._recent[-len(later) - 1 : len(self._recent) - len(later)]
        for stretch in later:
            stall -= yield from _stall(stretch, stall)
        stalled = min(stall, at - self._marked_at - self._stalled)
        self._stalled += stalled
        yield Shift(terms, Slot.PRODUCTIVE, Slot.CHECKPOINT, stalled)
        for stretch in own:
            yield from _stall(stretch, stall - stalled)
        if stored:
            self._seal(step)

    def _seal(self, step: int) -> None:
        done = [stretch for stretch in self._recent if stretch.last <= step]
        self._recent = self._recent[len(done) :]
        for stretch in done:
            if done[0] is not stretch and self._sealed[-1].terms == stretch.terms:
                _join(self._sealed[-1], stretch)
            else:
                self._sealed.append(stretch)

    def keep(self, kept: int, lost: Slot) -> Iterator[Shift]:
        """Steps after `kept` are lost, those up to it are not, whatever was said before."""
        before, self.kept = self.kept, kept
        for stretch in self._backwards():
            if stretch.last <= min(before, kept):
                return
            for slot, span in (
                (Slot.PRODUCTIVE, stretch.productive),
                (Slot.STRAGGLING, stretch.straggling),
            ):
                gone = stretch.part(span, before) - stretch.part(span, kept)
                if gone > 0:
                    yield Shift(stretch.terms, slot, lost, gone)
                elif gone < 0:
                    yield Shift(stretch.terms, lost, slot, -gone)

    def _backwards(self) -> Iterator[Stretch]:
        yield from reversed(self._recent)
        yield from reversed(self._sealed)


def _stall(stretch: Stretch, stall: Span) -> Generator[Shift, None, Span]:
    """Take up to `stall` out of a stretch, what was called straggling first; returns how much."""
    from_straggling = min(stall, stretch.straggling)
    from_productive = min(stall - from_straggling, stretch.productive)
    stretch.straggling -= from_straggling
    stretch.productive -= from_productive
    yield Shift(stretch.terms, Slot.STRAGGLING, Slot.CHECKPOINT, from_straggling)
    yield Shift(stretch.terms, Slot.PRODUCTIVE, Slot.CHECKPOINT, from_productive)
    return from_straggling + from_productive


def _is_straggling(span: Span, median: Span) -> bool:
    return span * STRAGGLING_DENOMINATOR > median * STRAGGLING_NUMERATOR


def _join(into: Stretch, other: Stretch) -> None:
    into.last = max(into.last, other.last)
    into.productive += other.productive
    into.straggling += other.straggling


def _joined_in_pairs(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    held: Stretch | None = None
    for stretch in stretches:
        if held and held.terms == stretch.terms:
            _join(held, stretch)
            yield held
            held = None
        else:
            if held:
                yield held
            held = stretch
    if held:
        yield held
