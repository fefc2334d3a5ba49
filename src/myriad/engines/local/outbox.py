"""What an agent has to tell until the control plane has it on record, and what a new one must hear again.

Events are numbered. Acknowledged ones are forgotten, except those that say what still runs: replayed in
order on every connection, they are the census by which a restarted control plane adopts gangs.
"""

from collections.abc import Iterator

from myriad.engines.local import wire
from myriad.protocol import inputs

_STATE = (inputs.MemberStarted, inputs.TrainingResumed, inputs.CheckpointReported)


class Outbox:
    """Numbered events of one incarnation."""

    def __init__(self) -> None:
        self._events: list[wire.Event] = []
        self._acknowledged = 0
        self._last = 0

    @property
    def unread(self) -> int:
        """How many were told and are not on record."""
        return self._last - self._acknowledged

    def put(self, what: inputs.Input) -> wire.Event:
        """Number and keep one."""
        self._last += 1
        event = wire.Event(seq=self._last, what=what)  # type: ignore[arg-type]
        self._events.append(event)
        return event

    def acknowledge(self, seq: int, running: frozenset[str]) -> None:
        """Everything up to `seq` is on record: keep of it only what says that `running` attempts run."""
        self._acknowledged = max(self._acknowledged, min(seq, self._last))
        latest: dict[tuple[str, type, str], int] = {}
        for event in self._events:
            if isinstance(event.what, _STATE):
                latest[_subject(event.what)] = event.seq
        self._events = [
            event
            for event in self._events
            if event.seq > self._acknowledged
            or (
                isinstance(event.what, _STATE)
                and event.what.attempt in running
                and latest[_subject(event.what)] == event.seq
            )
        ]

    def replay(self) -> Iterator[wire.Event]:
        """The census and all that is not on record, in order."""
        yield from self._events


def _subject(
    what: inputs.MemberStarted | inputs.TrainingResumed | inputs.CheckpointReported,
) -> tuple[str, type, str]:
    """What a later event about the same replaces; a checkpoint in memory does not replace one on storage."""
    tier = what.tier if isinstance(what, inputs.CheckpointReported) else ""
    return what.attempt, type(what), tier
