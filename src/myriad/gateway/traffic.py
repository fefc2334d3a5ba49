"""What went through the gateway since it started, by service: for metrics. Callers are not named."""

from collections import Counter
from typing import Final

from myriad.kernel.histogram import Histogram
from myriad.kernel.ids import ServiceId

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
#: Requests that name no service that exists.
_NONE: Final = ServiceId("")


class Traffic:
    """Counts and times of requests."""

    def __init__(self) -> None:
        #: By service and HTTP status.
        self.requests: Counter[tuple[ServiceId, int]] = Counter()
        #: Streams that ended with an error after their first token: their status had been 200.
        self.broken: Counter[ServiceId] = Counter()
        #: From a request's arrival until its first token was there (streams), or its end.
        self.first_token: dict[ServiceId, Histogram] = {}
        self.whole: dict[ServiceId, Histogram] = {}

    def began(self, service: ServiceId, took_s: float) -> None:
        """A stream has its first token."""
        self.first_token.setdefault(service, Histogram(_SECONDS)).observe(took_s)

    def broke(self, service: ServiceId) -> None:
        """A stream ended with an error."""
        self.broken[service] += 1

    def ended(self, service: ServiceId, status: int, took_s: float) -> None:
        """A request is over."""
        self.requests[service, status] += 1
        self.whole.setdefault(service, Histogram(_SECONDS)).observe(took_s)

    def refused(self, status: int) -> None:
        """A request ended before it was known which service it was for."""
        self.requests[_NONE, status] += 1

    def forget(self, service: ServiceId) -> None:
        """The service was removed: its series end."""
        for counts in (self.first_token, self.whole, self.broken):
            counts.pop(service, None)
        for key in [key for key in self.requests if key[0] == service]:
            del self.requests[key]
