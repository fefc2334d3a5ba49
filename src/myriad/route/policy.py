"""The numbers routing decides by. One place, so that a site can change them and a twin can sweep them."""

import msgspec

from myriad.kernel.units import MINUTE, SECOND, Span


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the gateway and the autoscaler behave; spans are nanoseconds."""

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
    burst_ns: Span = MINUTE
    #: A request over the rate waits this long at most; beyond it, it is refused with a Retry-After.
    rate_wait_ns: Span = SECOND
    #: How long a request waits for a replica in all. A client may ask for less.
    queue_deadline_ns: Span = 30 * SECOND
    #: Requests that wait for one service; more are refused at once, to keep memory and hopes bounded.
    queue_max: int = 1000
    #: What Retry-After says when no replica came in time.
    retry_after_ns: Span = 5 * SECOND

    # ---- failures

    #: Attempts at one request that reached a replica and failed. Bounded, because the request itself
    #: may be what kills them.
    attempts_max: int = 3
    #: HTTP 500 in a row before a replica that still answers is taken out of rotation.
    errors_max: int = 3
    #: A failed replica gets no request for this long; then one, and all when that one succeeds.
    cool_down_ns: Span = 5 * SECOND
    #: The cool-down doubles with each failed trial, up to this.
    cool_down_max_ns: Span = MINUTE

    # ---- scale

    #: Load must have needed fewer replicas for this long before one is given back.
    scale_down_after_ns: Span = MINUTE
    #: A service that may go to zero gives its last replica back after this long without a request.
    idle_to_zero_ns: Span = 5 * MINUTE
