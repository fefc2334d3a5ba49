"""Faults of a running job by its own software: the second hazard, apart from that of the machines.

Why two, and why this form. RSC-1's nodes fail 6.5 times in 1,000 node-days, and from that alone Meta projects
a mean time to failure of 1.8 h at 16,384 chips. But its jobs of 8 chips were seen to fail every 47.7 days and
those of 1,024 every 7.9 h: 21.0 and 23.7 for each 1,000 node-days (Kokolis et al., HPCA 2025). So small and
medium jobs have a second hazard of 14.5 and 17.2, nearly in proportion to their size. Carried on to 2,048
nodes it would be 35 or more faults a day, where Llama 3 saw 1.17 by software (63 of 419 in 54 days, table 5),
and ByteRobust 0.36 and 1.5 on 1,200 nodes (table 4). Jobs of different sizes are different: what runs on few
chips is mostly trials of new code, in which every rank may meet a fault; what runs on thousands was rehearsed
on hundreds. Hence two terms: trials, in proportion to size with a small power that meets both of Meta's
figures; and production, in proportion up to the largest run that is published, thirty times lower, and no
more beyond. A Gaussian of size fades from the first to the second around 4,096 chips, unless it is known what
a job is: RSC-1's long runs on 2,048 and 4,096 chips had over 90 % of effective time with hourly checkpoints,
which trials could not have.
"""

import math

from myriad.kernel import units
from myriad.kernel.rng import Stream
from myriad.twin.faults.config import Faults, Software
from myriad.twin.faults.hazards import Fault, draw_cause, drawn

DAY_S = 86_400.0
#: Sizes in the published figures are those of 8-chip nodes.
_EIGHT = 8.0


def per_day(software: Software, chips: int, trial: float | None = None) -> float:
    """Software faults a day of a job that has run long.

    `trial`: 1 for a trial of new code, 0 for a production run; None: as many as are usual at its size.
    """
    if trial is None:
        trial = math.exp(-((chips / software.trials_to) ** 2))
    production = software.production * min(chips / software.production_at, 1.0)
    linear = _EIGHT * software.rate / 1000 * math.pow(chips / _EIGHT, software.growth)
    return trial * linear + (1.0 - trial) * production


def after_s(software: Software, rate: float, age_s: float, stream: Stream) -> float:
    """Seconds of running to the next of `rate` software faults a day, from `age_s` of running; inf: never.

    The hazard falls with the time a job has
    run: the draw inverts its integral.
    """
    if rate <= 0:
        return math.inf
    wanted = stream.exponential(DAY_S / rate)
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
    faults: Faults,
    stream: Stream,
    chips: int,
    *,
    age_s: float = 0.0,
    weight: float = 1.0,
    trial: float | None = None,
) -> tuple[float, Fault | None]:
    """Seconds of running until a gang's next own fault, and what it is; (inf, None): it has none.

    Ask again whenever the gang starts anew: the process has no memory but `age_s`, the time the job has run.
    `weight` multiplies the hazard (a tenant whose code is worse); `trial`: as in `per_day`.
    """
    rate = per_day(faults.software, chips, trial) * weight
    after = after_s(faults.software, rate, age_s, stream)
    name = draw_cause(faults, "software", stream) if after < math.inf else ""
    return (after, drawn(name, faults, stream, -1)) if name else (math.inf, None)
