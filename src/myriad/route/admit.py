"""Whether a tenant's request may come in now: two token buckets, requests and tokens per minute.

Tokens are known only after the fact, so they are charged late and may leave the bucket in debt; the
next request then waits for the debt to be paid. A bucket is kept as the instant at which it will be full
again (the generic cell rate algorithm, ITU-T I.371): one integer, exact, nothing to refill by timer.
"""

from typing import Literal

import msgspec

from myriad.kernel.ids import TenantId
from myriad.kernel.units import MINUTE, Instant, Span
from myriad.route.policy import Policy
from myriad.workload.tenants import Rate


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with a request. `queue` has reserved its turn; `refuse` has taken nothing."""

    verdict: Literal["admit", "queue", "refuse"]
    #: Nanoseconds until the request may go (queue) or is worth another try (refuse).
    wait_ns: Span = 0
    #: The limit that decided, when it was not `admit`.
    limit: Literal["", "requests", "tokens"] = ""


class _Bucket:
    """Refills at `per_minute`, holds what flows in during `burst_ns`, may owe."""

    def __init__(self) -> None:
        self.full_at: Instant = 0

    def wait_ns(self, now: Instant, per_minute: int, burst_ns: Span) -> Span:
        """How long until one unit is there."""
        cost = _cost_ns(1, per_minute)
        return max(0, max(self.full_at, now) + cost - max(burst_ns, cost) - now)

    def take(self, now: Instant, per_minute: int, amount: int) -> None:
        self.full_at = max(self.full_at, now) + _cost_ns(amount, per_minute)


def _cost_ns(amount: int, per_minute: int) -> Span:
    """The time in which `amount` flows in, rounded up so that no rounding lets more through."""
    return -(-amount * MINUTE // per_minute)


class Limiter:
    """The buckets of all tenants of one gateway."""

    def __init__(self, policy: Policy) -> None:
        self._burst_ns, self._rate_wait_ns = policy.ns("burst"), policy.ns("rate_wait")
        self._requests: dict[TenantId, _Bucket] = {}
        self._tokens: dict[TenantId, _Bucket] = {}

    def decide(self, now: Instant, tenant: TenantId, rate: Rate, patience_ns: Span) -> Decision:
        """Admit, queue for at most `patience_ns` (and the policy's limit), or refuse."""
        requests = self._requests.setdefault(tenant, _Bucket())
        tokens = self._tokens.setdefault(tenant, _Bucket())
        for_request = requests.wait_ns(now, rate.requests_per_minute, self._burst_ns)
        for_tokens = tokens.wait_ns(now, rate.tokens_per_minute, self._burst_ns)
        wait_ns = max(for_request, for_tokens)
        limit: Literal["requests", "tokens"] = "requests" if for_request >= for_tokens else "tokens"
        if wait_ns > min(patience_ns, self._rate_wait_ns):
            return Decision(verdict="refuse", wait_ns=wait_ns, limit=limit)
        requests.take(now, rate.requests_per_minute, 1)
        if wait_ns == 0:
            return Decision(verdict="admit")
        return Decision(verdict="queue", wait_ns=wait_ns, limit=limit)

    def charge(self, now: Instant, tenant: TenantId, rate: Rate, tokens: int) -> None:
        """Take the tokens that were used."""
        self._tokens.setdefault(tenant, _Bucket()).take(now, rate.tokens_per_minute, tokens)
