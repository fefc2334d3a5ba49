"""Knobs of recovery. Spans are nanoseconds; files give them as text (`10s`)."""

import msgspec

from myriad.kernel import units
from myriad.kernel.units import Span


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How patient, how persistent. Every default is estimated unless a source is named."""

    #: One signal alone must last this long before the node counts as lost.
    silence: str = "10s"
    #: A node that was suspect must be well for this long before it is trusted with new work.
    settle: str = "3s"
    #: By when every process of a gang must exist.
    start_timeout: str = "2m"
    #: By when a gang that is being stopped must be gone; its nodes are fenced after that.
    stop_timeout: str = "20s"
    #: Between SIGTERM and SIGKILL when a gang is stopped in peace.
    stop_grace: str = "3s"
    #: How long a gang that must leave may take to checkpoint.
    leave_grace: str = "60s"
    #: By when a repair or burn-in must have answered before it is ordered again.
    repair_timeout: str = "2m"
    #: How long a replica may stay silent before it is restarted.
    stall_timeout: str = "30s"
    #: Pause after the second fault in a row of the job itself (the first is retried at once, in place);
    #: doubled each time up to the ceiling.
    backoff: str = "1s"
    backoff_ceiling: str = "5m"
    #: So many losses of one node within the window make it a lemon, kept out until an operator says so.
    lemon_losses: int = 3
    lemon_window: str = "24h"
    #: Prior for the rate of interruptions, as observed events in observed time: one in 50 node-days.
    #: Estimated from Meta's RSC-1 (Kokolis et al., HPCA 2025): 6.5 per 1,000 node-days of hardware, and
    #: about 15 more that small and medium jobs were seen to suffer.
    prior_losses: float = 1.0
    prior_node_days: float = 50.0
    #: Checkpoint cost assumed before one was seen.
    checkpoint_cost: str = "2s"

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, str):
                units.span_ns(value)
            elif value <= 0:
                raise ValueError(f"{name} must be more than 0")

    def ns(self, name: str) -> Span:
        """A span field in nanoseconds: `policy.ns("silence")`."""
        return units.span_ns(getattr(self, name))
