"""The queue: priority first, then those that were interrupted, then first come, first served."""

from collections.abc import Iterable

from myriad.schedule.asks import Ask


def queue(asks: Iterable[Ask]) -> list[Ask]:
    """Asks in the order they are considered. Total: ties end at the owner's id."""
    return sorted(asks, key=lambda ask: (-ask.rank, not ask.resumes, ask.queued_at, ask.owner))
