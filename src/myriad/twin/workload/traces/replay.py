"""The `workload` section of a scenario that runs a trace again, instead of drawing jobs."""

from pathlib import Path

import msgspec

from myriad.twin.workload.shapes import Estimates, Shape
from myriad.twin.workload.traces.reading import read
from myriad.twin.workload.traces.trace import Trace


class Replay(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A published trace as it comes, and what it does not say."""

    #: File of the trace, as seen from the scenario.
    trace: str
    #: Its format; `auto`: by its header.
    kind: str = "auto"
    #: Leave rows out that cannot be read, and count them, instead of refusing the trace.
    skip_bad_rows: bool = False
    #: What users said of run times: no trace has it.
    estimates: Estimates = Estimates()
    #: Chips of virtual clusters or users by their name in the trace; who is not named may borrow everything.
    quotas: dict[str, int] = msgspec.field(default_factory=dict)
    #: Size of a checkpoint for each chip; 0: nothing saves, interrupted jobs begin anew.
    checkpoint_bytes_per_chip: float = 0.0

    def __post_init__(self) -> None:
        self._not_negative("checkpoint_bytes_per_chip")
        if not self.trace:
            raise ValueError("trace must name a file")
        if self.quotas and min(self.quotas.values()) < 0:
            raise ValueError("quotas needs chips of 0 or more")

    def open(self, folder: Path) -> Trace:
        """The trace, its file looked for in `folder`. Raises UserError naming file and line."""
        return read(
            folder / self.trace,
            self.kind,
            skip_bad_rows=self.skip_bad_rows,
            estimates=self.estimates,
            quotas=self.quotas,
            checkpoint_bytes_per_chip=self.checkpoint_bytes_per_chip,
        )
