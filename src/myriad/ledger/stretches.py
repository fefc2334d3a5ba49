"""The useful time of one attempt, step by step: which of it was kept, straggling, checkpointing or lost.

All in nanoseconds of one chip, since every chip of a gang does the same at the same time; the ledger
multiplies by the chips. While an attempt runs all its time counts as productive; every correction comes
back as a `Shift` to book. Nothing here knows of accounts, nodes or jobs.
"""

from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

from myriad.kernel.units import Instant, Span
from myriad.ledger import buckets
from myriad.ledger.buckets import KEPT, Slot
from myriad.ledger.medians import Recent

#: A report without parts counts as straggling when its steps took longer than 3/2 of the running median:
#: estimated, above the jitter of healthy steps (a few percent) and below a chip at half speed.
STRAGGLING_NUMERATOR, STRAGGLING_DENOMINATOR = 3, 2
#: The median of this many reports, and how many there must be before it says anything. The first report of
#: an attempt is slow (warm-up): it is neither judged nor a measure.
_WINDOW, _LEAST = 64, 8
#: Places of the kinds of time in a stretch: those of their slots in KEPT.
STRAGGLING, EXPOSED, THROTTLED = 1, 2, 3
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


class Parts(NamedTuple):
    """What of the time since the last report its steps did not need, of one chip, as reported."""

    straggled: Span = 0
    exposed: Span = 0
    throttled: Span = 0


NO_PARTS = Parts()


class Stretch:
    """Time in which the steps after `first` up to `last` were done, by slot in the order of KEPT."""

    __slots__ = ("first", "last", "spans", "terms")

    def __init__(self, first: int, last: int, span: Span, terms: int) -> None:
        self.first, self.last, self.terms = first, last, terms
        self.spans = [span, 0, 0, 0]

    def part(self, span: Span, kept_step: int) -> Span:
        """How much of `span` belongs to steps up to `kept_step`; the steps share it evenly."""
        steps = min(max(kept_step - self.first, 0), self.last - self.first)
        return span * steps // (self.last - self.first)

    def take(self, kind: int, span: Span) -> Shift:
        """Up to `span` of its productive time was something else."""
        taken = min(max(span, 0), self.spans[0])
        self.spans[0] -= taken
        self.spans[kind] += taken
        return Shift(self.terms, buckets.PRODUCTIVE, KEPT[kind], taken)


class Timeline:
    """Begins when training goes on after `step`. `paces`: the job's last step times, by number of nodes."""

    __slots__ = (
        *("_gap", "_marked_at", "_nodes", "_paces", "_recent", "_sealed", "_stalled", "_tells"),
        *("kept", "step"),
    )

    def __init__(self, step: int, at: Instant, paces: dict[int, Recent], nodes: int) -> None:
        self.step = step
        self.kept = ALL_STEPS
        self._marked_at = at
        #: Checkpoint time inside what has not been reported yet.
        self._stalled: Span = 0
        #: Up to the last checkpoint, joined; and since then.
        self._sealed: list[Stretch] = []
        self._recent: list[Stretch] = []
        self._paces, self._nodes = paces, nodes
        #: Whether reports bring their parts; and whether nobody may have listened since the last one.
        self._tells = self._gap = False

    @property
    def fresh(self) -> bool:
        """Whether no step has been reported yet."""
        return not self._recent and not self._sealed

    @property
    def settled_at(self) -> Instant:
        """Nothing before this instant is open any more: reported, or taken for a checkpoint."""
        return self._marked_at + self._stalled

    def unheard(self) -> None:
        """A control plane opened: how long the report after this one took says nothing of the steps."""
        self._gap = True

    def reported(
        self, step: int, at: Instant, terms: int, step_ns: Span = 0, parts: Parts = NO_PARTS
    ) -> Iterator[Shift]:
        """Steps up to `step` are done. A step already known is an echo and changes nothing."""
        steps = step - self.step
        if steps <= 0:
            return
        unclear, self._gap = self._gap and not step_ns, False
        cold = self.fresh
        stretch = self._close(step, at, terms)
        self.step = step
        if parts is not NO_PARTS:
            self._tells = True
        if self._tells:
            yield stretch.take(THROTTLED, parts.throttled)
            yield stretch.take(STRAGGLING, parts.straggled)
            yield stretch.take(EXPOSED, parts.exposed)
            return
        if unclear or cold:
            return
        pace = step_ns or stretch.spans[0] // steps
        known = self._paces.get(self._nodes)
        if known is None:
            known = self._paces[self._nodes] = Recent(_WINDOW)
        median = known.median() if len(known) >= _LEAST else 0
        known.add(pace)
        if median and pace * STRAGGLING_DENOMINATOR > median * STRAGGLING_NUMERATOR:
            excess = (pace - median) * steps if step_ns else stretch.spans[0] - median * steps
            yield stretch.take(STRAGGLING, excess)

    def cut(self, at: Instant, terms: int) -> None:
        """What was not reported yet belongs to the step in progress; new terms, or the end, begin here."""
        if at > self._marked_at:
            self._close(self.step + 1, at, terms)

    def _close(self, last: int, at: Instant, terms: int) -> Stretch:
        stretch = Stretch(self.step, last, at - self._marked_at - self._stalled, terms)
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
        after = len(self._recent)
        while after and self._recent[after - 1].last > step:
            after -= 1
        later, own = self._recent[after:], self._recent[max(after - 1, 0) : after]
        for stretch in later:
            stall -= yield from _stall(stretch, stall)
        stalled = min(stall, at - self._marked_at - self._stalled)
        self._stalled += stalled
        yield Shift(terms, buckets.PRODUCTIVE, buckets.CHECKPOINT, stalled)
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
            for slot, span in zip(KEPT, stretch.spans, strict=True):
                if not span:
                    continue
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
    taken = 0
    for kind in (STRAGGLING, 0, EXPOSED, THROTTLED):
        part = min(stall - taken, stretch.spans[kind])
        if part:
            stretch.spans[kind] -= part
            taken += part
            yield Shift(stretch.terms, KEPT[kind], buckets.CHECKPOINT, part)
    return taken


def _join(into: Stretch, other: Stretch) -> None:
    into.last = max(into.last, other.last)
    into.spans = [have + more for have, more in zip(into.spans, other.spans, strict=True)]


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
