"""Times that are not all alike: a mean, a spread, and a ceiling. Seconds throughout."""

import math
from typing import NamedTuple

from myriad.kernel.rng import Stream

#: Standard deviation over mean where a source gives a mean only. Estimated.
SPREAD = 0.5


class Law(NamedTuple):
    """A lognormal time: it is never negative, and its long tail is what operators report of repairs.

    The ceiling cuts the tail off (published maxima), which takes a little from the mean.
    """

    mean_s: float
    #: Standard deviation over mean; 0: always the mean.
    spread: float = SPREAD
    most_s: float = math.inf

    def draw(self, stream: Stream) -> float:
        """One time in seconds."""
        if self.mean_s <= 0 or self.spread <= 0:
            return min(self.mean_s, self.most_s)
        variance = math.log1p(self.spread**2)
        location = math.log(self.mean_s) - variance / 2
        return min(math.exp(location + math.sqrt(variance) * normal(stream)), self.most_s)

    def times(self, factor: float) -> "Law":
        """The law of a time that is `factor` times as long."""
        return Law(self.mean_s * factor, self.spread, self.most_s * factor)


def normal(stream: Stream) -> float:
    """A standard normal draw (Box and Muller); always two uniforms, so that streams stay in step."""
    radius = math.sqrt(-2.0 * math.log(1.0 - stream.uniform()))
    return radius * math.cos(2.0 * math.pi * stream.uniform())
