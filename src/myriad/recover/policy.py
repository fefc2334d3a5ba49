"""Knobs of recovery. Spans are nanoseconds; files give them as text (`10s`)."""

import msgspec

from myriad.kernel import units
from myriad.kernel.units import Span


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How patient, how persistent. Each default says where it comes from: published, derived or estimated."""

    # ---- is it lost? ---------------------------------------------------------------------------------

    #: One signal alone must last this long before the node counts as lost. Estimated: below the 30 s after
    #: which Kueue calls a silent node failed.
    silence: str = "10s"
    #: A node that was suspect must be well for this long before it is trusted with new work. Estimated.
    settle: str = "3s"
    #: A node that goes up and down must be well for longer: `settle` doubled for each flap that is not
    #: forgotten, up to the ceiling. The rule is published for routes (RFC 2439, route flap damping), where
    #: 15 and 60 minutes are what routers come with; for nodes they are estimated.
    flap_half_life: str = "15m"
    flap_ceiling: str = "1h"
    #: So many losses of one node within the window make it a lemon, kept out until an operator says so.
    #: Estimated; Meta (Kokolis et al., HPCA 2025) looks at 28 days of seven signals.
    lemon_losses: int = 3
    lemon_window: str = "24h"

    # ---- is it one event? ----------------------------------------------------------------------------

    #: Losses in one rack, power group, pod or site within the span are one incident when they are at least
    #: this many and this share of its nodes. Estimated; derived check: at 6.5 losses per 1,000 node-days
    #: chance alone takes 2 of 4 nodes of a rack within the span once in 2.5 years of 6,250 nodes.
    incident_span: str = "2m"
    incident_nodes: int = 2
    incident_share: float = 0.5

    # ---- deadlines -----------------------------------------------------------------------------------

    #: By when every process of a gang must exist. Estimated, as all deadlines here.
    start_timeout: str = "2m"
    #: By when a gang that is being stopped must be gone; its nodes are fenced after that.
    stop_timeout: str = "20s"
    #: Between SIGTERM and SIGKILL when a gang is stopped in peace.
    stop_grace: str = "3s"
    #: How long a gang that must leave may take to checkpoint.
    leave_grace: str = "60s"
    #: By when a repair or burn-in must have answered before it is ordered again. Estimated: a boot and a full
    #: check take a quarter of an hour (Aegis, NSDI 2025: the check under ten minutes).
    repair_timeout: str = "30m"
    #: How long a replica may stay silent before it is restarted.
    stall_timeout: str = "30s"

    # ---- what next? ----------------------------------------------------------------------------------

    #: Pause after the second fault in a row of the job itself (the first is retried at once, in place);
    #: doubled each time up to the ceiling. Estimated.
    backoff: str = "1s"
    backoff_ceiling: str = "5m"
    #: A node where gangs of so many different jobs failed first within the lemon window is to blame, not
    #: the jobs. Estimated.
    blame_jobs: int = 3
    #: After so many failures in a row within so many steps of one checkpoint, the one before it is used.
    #: Estimated; of 19 large jobs ByteRobust (2025) saw 9 % of their incidents end by rolling back.
    roll_back_after: int = 2
    roll_back_steps: int = 10

    # ---- how often does it fail? ---------------------------------------------------------------------

    #: Prior for the losses of one node by hardware, as events in node-days: 6.5 per 1,000 node-days of
    #: 8-chip nodes. Published: Meta's RSC-1 (Kokolis et al., HPCA 2025). Nodes of 16 chips may well fail
    #: twice as often; 600 of them outweigh the prior within a day.
    prior_losses: float = 1.0
    prior_node_days: float = 150.0
    #: Prior for the faults of one job by its software, as events in days of running: one in two days.
    #: Derived: 47 of 175 incidents of a 9,600-chip job in 90 days were not evictions (ByteRobust, 2025,
    #: table 4).
    prior_job_faults: float = 1.0
    prior_job_days: float = 2.0
    #: Prior for a repair: so many seen, each this long. Published: 2 h of automatic repair, and 2.2 h to
    #: recover a node of NCSA Delta (AIReSim, 2026; SC 2025). Repairs by hand take days: they show when seen.
    prior_repairs: float = 1.0
    prior_repair: str = "2h"

    # ---- checkpoints and spares ----------------------------------------------------------------------

    #: Checkpoint cost assumed before one was seen. Estimated.
    checkpoint_cost: str = "2s"
    #: The same for copies in peer memory, of recipes that make them when told to; 0s: they are not told to.
    #: Published: 0.2 to 1.8 s (ByteRobust, 2025, table 8); the least, as a first copy corrects it. Measured
    #: here: 31 ms for 71 MB of state on four ranks of one machine (`python -m bench.tiers`).
    memory_cost: str = "200ms"
    #: Prior for the share of failures that copies in peer memory survive, worth so many failures.
    #: Published: 99 % of faults hit one machine (Minder, NSDI 2025); less here, for whole racks. Derived.
    prior_memory_share: float = 0.9
    prior_memory_failures: float = 10.0
    #: Spares of a pod are as many as are enough with this probability, where a site says `auto`.
    #: Published: ByteRobust (2025) sizes its warm standbys for P99 of a binomial.
    spares_probability: float = 0.99

    # ---- is it slow? ---------------------------------------------------------------------------------

    #: A node is slow when its own time for a step is above the gang's median by this ratio and by so many
    #: robust standard deviations (1.4826 x MAD), for the whole span. Ratio published: 10 % slower is what
    #: calls a job straggling (Lin et al., OSDI 2025); deviations estimated; span estimated, above the 10
    #: minutes that a slow node stays slow on average (GREYHOUND, ATC 2025).
    slow_ratio: float = 1.1
    slow_deviations: float = 6.0
    slow_span: str = "15m"
    #: What a move costs a gang in standstill: requeue of 2,048 chips, 454 s (ByteRobust, 2025, table 7).
    move_cost: str = "8m"
    #: What is left of a job that does not say. Estimated.
    slow_left: str = "24h"

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, str):
                units.check_span(name, value)
            elif value <= 0:
                raise ValueError(f"{name} must be more than 0")
        for name in ("prior_memory_share", "spares_probability"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} must be less than 1")
        if self.incident_share > 1:
            raise ValueError("incident_share must be at most 1")
        if self.slow_ratio <= 1:
            raise ValueError("slow_ratio must be more than 1")

    def ns(self, name: str) -> Span:
        """A span field in nanoseconds: `policy.ns("silence")`."""
        return units.span_ns(getattr(self, name))
