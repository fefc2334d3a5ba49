"""The numbers routing decides by. One place, so that a site can change them and a twin can sweep them."""

import msgspec

from myriad.kernel import units
from myriad.kernel.units import Span


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the gateway and the autoscaler behave. Spans are text with a unit (`10s`); `ns` reads them."""

    # ---- balance

    #: A replica may hold at most this many times the average load before its prefixes move on. Nearer
    #: to 1 is more even, larger keeps more prefixes where their KV cache is.
    balance_factor: float = 1.25
    #: Characters of the prompt's opening that name its prefix. The opening of a conversation stays
    #: the same from turn to turn, so its turns meet the same KV cache.
    affinity_chars: int = 512
    #: Requests given to a replica, as a multiple of what it serves at once. Above 1 it always has the
    #: next one at hand; the rest wait here, where any replica can take them.
    overcommit: float = 2.0

    # ---- admit

    #: A tenant that was quiet may use at once what its rate allows in this time.
    burst: str = "1m"
    #: A request over the rate waits this long at most; beyond it, it is refused with a Retry-After.
    rate_wait: str = "1s"
    #: How long a request waits for a replica in all. A client may ask for less.
    queue_deadline: str = "30s"
    #: Requests that wait for one service; more are refused at once, to keep memory and hopes bounded.
    queue_max: int = 1000
    #: What Retry-After says when no replica came in time.
    retry_after: str = "5s"

    # ---- failures

    #: Attempts at one request that reached a replica and failed. Bounded, because the request itself
    #: may be what kills them.
    attempts_max: int = 3
    #: Server errors in a row before a replica that still answers is taken out of rotation.
    errors_max: int = 3
    #: A failed replica gets no request for this long; then one, and all when that one succeeds.
    cool_down: str = "5s"
    #: The cool-down doubles with each failed trial, up to this.
    cool_down_ceiling: str = "1m"

    # ---- scale

    #: Load must have needed fewer replicas for this long before one is given back.
    scale_down_after: str = "60s"
    #: A service that may go to zero gives its last replica back after this long without a request.
    idle_to_zero: str = "5m"

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, str):
                units.check_span(name, value)
            elif value < 1:
                raise ValueError(f"{name} must be 1 or more")

    def ns(self, name: str) -> Span:
        """A span field in nanoseconds: `policy.ns("cool_down")`."""
        return units.span_ns(getattr(self, name))
