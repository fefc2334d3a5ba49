"""Knobs of scheduling, and the protocols that a policy of one's own keeps.

Spans are text in files (`10m`). Every default is estimated unless a source is named.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from myriad.fleet.columns import Columns, Rows
from myriad.kernel import units
from myriad.kernel.ids import TenantId
from myriad.kernel.units import Instant, Span
from myriad.schedule.asks import Ask, Running


class Knobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base: spans are checked when read."""

    def ns(self, name: str) -> Span:
        """A span field in nanoseconds: `policy.order.ns("half_life")`."""
        return units.span_ns(getattr(self, name))

    def _check(self, *spans: str) -> None:
        for name in spans:
            try:
                units.span_ns(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None


class Order(Knobs, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who goes first. Priority class, then interrupted gangs, then what `policy` says."""

    #: `fair`: the tenant tree, least served for its weight first. `fifo`: first come, first served.
    #: Or the name of a class of your own (docs/policies.md).
    policy: str = "fair"
    #: What a tenant used long ago counts half. Slurm's default for PriorityDecayHalfLife is 7 days.
    half_life: str = "7d"
    #: Shares are computed anew so often: between, the order of tenants stands still.
    period: str = "5m"
    #: Who has waited so long goes before every priority class, whatever its tenant has used.
    starvation: str = "3d"
    #: Moves of the search for a better order, for queues of up to `search_queue` gangs; 0: none. 300 take
    #: some 50 ms at every change, so it is for sites with few jobs a minute.
    search: int = 0
    search_queue: int = 32

    def __post_init__(self) -> None:
        self._check("half_life", "period", "starvation")
        if self.search < 0 or self.search_queue < 2:
            raise ValueError("search must be 0 or more, search_queue 2 or more")


class Placement(Knobs, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a gang goes."""

    #: `packed`: fewest domains, tightest hole. `first-fit`: nodes in site order. Or a class of your own.
    policy: str = "packed"
    #: Wait for one pod when that is predicted to end the job earlier than a start on several now.
    wait_for_pod: bool = True
    #: Share of its predicted run time that a gang waits, at most, while its room is on more racks than it
    #: needs: more comes free meanwhile. 0: it does not. Measured: docs/policies.md, "Fewer racks". Delay
    #: scheduling, Zaharia et al., 2010.
    wait_for_racks: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.wait_for_racks <= 1:
            raise ValueError("wait_for_racks must be between 0 and 1")


class Backfill(Knobs, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may pass a gang that waits for room."""

    #: `easy`: the shortest that cannot delay the first that waits (Lifka 1995). `conservative`: nor any of
    #: the first `reservations`. `none`: nobody passes.
    policy: str = "easy"
    reservations: int = 32
    #: Candidates looked at in one cycle. Slurm's bf_max_job_test is 500, every 30 s; here cycles come
    #: with every event.
    depth: int = 128
    #: So many times its predicted run time a candidate must have. Twice lets errors of 20 % to 60 % pass, and
    #: does best on seeded queues (bench.quality); that doubled estimates schedule better is known since
    #: Zotkin and Keleher, 1999.
    slack: float = 2.0

    def __post_init__(self) -> None:
        if self.policy not in ("easy", "conservative", "none"):
            raise ValueError(f"policy {self.policy!r} must be easy, conservative or none")
        if self.reservations < 1 or self.depth < 1 or self.slack < 1:
            raise ValueError("reservations, depth and slack must be 1 or more")


class Preemption(Knobs, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who must leave for whom. A victim checkpoints first."""

    #: `cheapest`: least work lost for each node gained. `none`. Or a class of your own.
    policy: str = "cheapest"
    #: Take back what others borrowed, for a tenant inside its own quota.
    reclaim: bool = True
    #: A higher priority class may send a lower one away.
    priority: bool = True
    #: Nobody is sent away before it ran so long. Kueue and Slurm (PreemptExemptTime) have none; a large gang
    #: needs minutes to load.
    min_run: str = "10m"
    #: Nobody is sent away for a gang that is predicted to have room within so long anyway. YuniKorn waits
    #: 30 s before it preempts; here the wait is predicted, and restarts cost minutes.
    patience: str = "10m"
    #: Work lost by the victims, restarts included, over the chip-time that the gang would else wait: more is
    #: not lost. 1: as much as is gained.
    worth: float = 1.0

    def __post_init__(self) -> None:
        self._check("min_run", "patience")
        if self.worth < 0:
            raise ValueError("worth must be 0 or more")


class Elastic(Knobs, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When gangs that can change their size do."""

    #: Grow into holes that nobody waits for.
    grow: bool = True
    #: Not before it ran so long in its present size.
    settle: str = "10m"
    #: Only if the predicted time saved is more than so many times the restart.
    gain: float = 3.0
    #: Leaving, loading and the first step after it, until this was observed.
    restart: str = "2m"

    def __post_init__(self) -> None:
        self._check("settle", "restart")


class Standing(NamedTuple):
    """What an order of tenants may look at."""

    tenant: TenantId
    weight: float
    held: int  # chips now, its parts included
    guaranteed: int  # chips of its quota
    used_chip_ns: float  # decayed by half-life


class OrderPolicy(Protocol):
    """An order of one's own. Both answers must depend on their arguments alone; smaller goes first."""

    def tenant_key(self, standing: Standing, now: Instant, /) -> float:
        """Place of a tenant among its siblings; asked every `order.period`."""
        ...

    def ask_key(self, ask: Ask) -> tuple[int, ...]:
        """Place of an ask within its tenant, priority class and interruption decided before; asked once."""
        ...


class PlacementPolicy(Protocol):
    """A placement of one's own."""

    def choose(
        self, columns: Columns, ask: Ask, nodes: int, barred: Rows | None
    ) -> Sequence[int] | Rows | None:
        """Rows for a fresh gang of `nodes`, in rank order, or None. Never one of the rows in `barred`.

        Every row must offer `ask.chips_per_node` chips (`columns.offer`) and be of the chip type asked for.
        """
        ...


class PreemptionPolicy(Protocol):
    """A choice of victims of one's own."""

    def cost(self, victim: Running, now: Instant, /) -> float:
        """What it costs to send the gang away, in chip-nanoseconds; the cheapest for each node go first."""
        ...
