"""What a handler gets beside its input: the state, the policies, and what time it is."""

from typing import NamedTuple

from myriad.control.board import Board
from myriad.control.policy import Policy
from myriad.control.state import State
from myriad.kernel.units import Instant
from myriad.schedule.board import Rules


class Moment(NamedTuple):
    """One step's surroundings."""

    state: State
    policy: Policy
    now: Instant
    board: Board
    rules: Rules

    def after(self, span: str) -> Instant:
        """The instant when a span of the recovery policy has passed: `m.after("stop_timeout")`."""
        return self.now + self.policy.recover.ns(span)

    def past(self, since: Instant) -> Instant:
        """An instant that someone else's clock names, if it is past; else 0: no news."""
        return since if 0 < since < self.now else 0
