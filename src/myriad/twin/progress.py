"""How far a gang is, in closed form: steps of equal length, interrupted by saves at multiples of a number.

Nothing is counted step by step, so a gang that trains for a month costs what one of an hour does.
"""

from typing import NamedTuple

from myriad.kernel.units import Instant, Span


class Pace(NamedTuple):
    """How a gang goes on: time of a step, and the saves after every so many steps (0: none)."""

    step_ns: Span
    save_every: int = 0
    save_ns: Span = 0  # training stands still so long for each
    copy_every: int = 0
    copy_ns: Span = 0

    def stalls(self, after: int, step: int) -> Span:
        """Standstill for saves and copies after the steps in (after, step]."""
        total = 0
        if self.save_every:
            total += (step // self.save_every - after // self.save_every) * self.save_ns
        if self.copy_every:
            total += (step // self.copy_every - after // self.copy_every) * self.copy_ns
        return total

    @property
    def mean_ns(self) -> float:
        """Time of a step with its share of the saves."""
        total = float(self.step_ns)
        if self.save_every:
            total += self.save_ns / self.save_every
        if self.copy_every:
            total += self.copy_ns / self.copy_every
        return total


class Progress:
    """A gang that is ready for the step after `step` at the instant `at`, and keeps its pace from then on."""

    __slots__ = ("at", "pace", "step")

    def __init__(self, step: int, at: Instant, pace: Pace) -> None:
        self.step, self.at, self.pace = step, at, pace

    def done_at(self, step: int) -> Instant:
        """When a later step is done; the saves after it come then."""
        return self.at + (step - self.step) * self.pace.step_ns + self.pace.stalls(self.step, step - 1)

    def ready_at(self, step: int) -> Instant:
        """When the gang goes on after a step and its saves."""
        if step <= self.step:
            return self.at
        return self.at + (step - self.step) * self.pace.step_ns + self.pace.stalls(self.step, step)

    def steps_at(self, now: Instant) -> int:
        """The last step that is done."""
        step = self.step + max(0, int((now - self.at) / self.pace.mean_ns))
        while self.done_at(step + 1) <= now:
            step += 1
        while step > self.step and self.done_at(step) > now:
            step -= 1
        return step

    def saved_at(self, now: Instant, every: int, durable_ns: Span) -> int:
        """The last step whose save is complete, `durable_ns` after the step; 0: none of this stretch."""
        if not every:
            return 0
        step = self.steps_at(now) // every * every
        while step > self.step and self.done_at(step) + durable_ns > now:
            step -= every
        return step if step > self.step else 0

    def turned(self, now: Instant, pace: Pace) -> "Progress":
        """The same gang with another pace from now on: a step in progress is done in the same proportion."""
        step = self.steps_at(now)
        ready_at = self.ready_at(step)
        if ready_at >= now:
            return Progress(step, ready_at, pace)
        return Progress(step, now - (now - ready_at) * pace.step_ns // self.pace.step_ns, pace)
