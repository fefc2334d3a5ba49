"""Faults of a running job by its own software: the second hazard, apart from that of the machines.

Why two, and why this form. RSC-1's nodes fail 6.5 times in 1,000 node-days, and from that alone Meta projects
a mean time to failure of 1.8 h at 16,384 chips. But its jobs of 8 chips were seen to fail every 47.7 days and
those of 1,024 every 7.9 h: 21.0 and 23.7 for each 1,000 node-days (Kokolis et al., HPCA 2025). So small and
medium jobs have a second hazard of 14.5 and 17.2, nearly in proportion to their size. Carried on to 2,048
nodes it would be 35 or more faults a day, where Llama 3 saw 1.17 by software (63 of 419 in 54 days, table 5),
and ByteRobust 0.36 and 1.5 on 9,600 chips (table 4). Jobs of different sizes are different: what runs on few
chips is mostly trials of new code, and every rank may meet its faults; what runs on thousands was rehearsed
on hundreds, and fails about once a day whatever its size. Hence a term in proportion to size (with a small
power that meets both of Meta's figures), a constant one, and a Gaussian of size that fades from the first to
the second around 4,096 chips.
"""

import math

from myriad.kernel import units
from myriad.kernel.rng import Stream
from myriad.twin.faults.config import Faults, Software
from myriad.twin.faults.hazards import Fault, draw_cause, drawn

DAY_S = 86_400.0
#: Sizes in the published figures are those of 8-chip nodes.
_EIGHT = 8.0


def per_day(software: Software, chips: int) -> float:
    """Software faults a day of a job that has run long."""
    trial = math.exp(-((chips / software.trials_to) ** 2))
    linear = _EIGHT * software.rate / 1000 * math.pow(chips / _EIGHT, software.growth)
    return trial * linear + (1.0 - trial) * software.production


def after_s(software: Software, chips: int, age_s: float, stream: Stream, weight: float = 1.0) -> float:
    """Time until the next software fault of a gang that runs on, from `age_s` of running; inf: never.

    `weight` multiplies the hazard (a tenant whose code is worse). The hazard falls with the time a job has
    run: the draw inverts its integral.
    """
    rate = per_day(software, chips) * weight / DAY_S
    if rate <= 0:
        return math.inf
    wanted = stream.exponential(1.0) / rate
    excess, settles = software.young - 1.0, units.seconds(units.span_ns(software.settles))
    early = excess * settles * math.exp(-age_s / settles)
    if early <= 0:
        return wanted
    # t + early (1 - e^(-t / settles)) = wanted, growing in t: bisection between its bounds
    low, high = max(wanted - early, 0.0), wanted
    for _ in range(60):
        middle = (low + high) / 2
        if middle - early * math.expm1(-middle / settles) < wanted:
            low = middle
        else:
            high = middle
    return high


def software_fault(
    faults: Faults, stream: Stream, chips: int, *, age_s: float = 0.0, weight: float = 1.0
) -> tuple[float, Fault | None]:
    """Seconds of running until a gang's next own fault, and what it is; (inf, None): it has none.

    Ask again whenever the gang starts anew: the process has no memory but `age_s`, the time the job has run.
    """
    after = after_s(faults.software, chips, age_s, stream, weight)
    name = draw_cause(faults, "software", stream) if after < math.inf else ""
    return (after, drawn(name, faults, stream, -1)) if name else (math.inf, None)
