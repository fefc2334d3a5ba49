"""The shapes of a workload as people write them: classes of jobs, how long they last, how they end.

Numbers have no defaults that pretend to be facts: where one is given, its source is beside it. The shipped
files of `scenarios/parts/` have the sources of theirs.
"""

import msgspec

from myriad.kernel import units
from myriad.workload.jobs import Priority, check_name

#: Sizes and shares are relative weights: what matters is their ratio.
Weights = dict[float, float]


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of what is read from files."""

    def _spans(self, *names: str) -> None:
        for name in names:
            units.check_span(name, getattr(self, name))
            if units.span_ns(getattr(self, name)) <= 0:
                raise ValueError(f"{name} {getattr(self, name)!r} must be more than 0s")

    def _not_negative(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} {getattr(self, name)!r} must be 0 or more")


class Lasts(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A lognormal run time, cut off at both ends: what falls outside takes the value of the end."""

    median: str
    #: Standard deviation of the logarithm: 1.0 puts two thirds within a factor of 2.7.
    sigma: float
    #: Share among the parts of a mixture.
    weight: float = 1.0
    least: str = "1s"
    #: Two weeks: the longest job of Seren (1,209,604 s, AcmeTrace cluster summary; published).
    most: str = "14d"

    def __post_init__(self) -> None:
        self._spans("median", "least", "most")
        self._not_negative("sigma", "weight")
        if units.span_ns(self.least) > units.span_ns(self.most):
            raise ValueError(f"least {self.least!r} must not be more than most {self.most!r}")


class Ending(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One way in which jobs end by themselves: how many do, and after how long. A mixture of run times."""

    share: float
    lasts: tuple[Lasts, ...]

    def __post_init__(self) -> None:
        self._not_negative("share")
        if not self.lasts or not sum(part.weight for part in self.lasts) > 0:
            raise ValueError("lasts needs one part or more with a weight")


class Training(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What makes a class one of training jobs: they count steps, and save what they have.

    Jobs of one class and size come in `variants` configurations that recur, as they do in practice: 65 % of
    PAI's tasks ran at least five times (Weng et al., NSDI 2022; published, from memory). Eight is estimated.
    """

    #: Median time of a step, and its spread between configurations.
    step: str
    step_sigma: float = 0.5
    #: Parameters by gang size: a gang takes the entry of the largest size not above its own.
    parameters: dict[float, str]
    #: Share of peak that a step reaches (MFU): the chip's `training_share` where it is not said.
    mfu: float = 0.0
    #: Spread of the true MFU about what the performance model predicts: 5 % to 10 % (bench.accuracy;
    #: measured).
    mfu_sigma: float = 0.07
    #: Weights in 2 bytes, master weights and two moments of Adam in 4 each (ZeRO, 2020; published).
    checkpoint_bytes_per_parameter: float = 14.0
    #: Share of a step in communication that nothing hides. Estimated.
    exposed: float = 0.1
    #: Step time over several racks, pods, cores, relative to one rack; none: as the performance model has it
    #: for a gang of that many chips on that fabric (`performance.spans`).
    stretch: tuple[float, float, float] | None = None
    variants: int = 8

    def __post_init__(self) -> None:
        self._spans("step")
        self._not_negative("step_sigma", "mfu", "mfu_sigma", "checkpoint_bytes_per_parameter", "exposed")
        if not self.parameters:
            raise ValueError("parameters needs one entry or more, such as {1: 7B}")
        for text in self.parameters.values():
            units.count(text)
        if not 1 <= self.variants <= 64:
            raise ValueError("variants must be between 1 and 64")
        if self.exposed >= 1 or self.mfu > 1:
            raise ValueError("exposed must be below 1, mfu at most 1")
        if self.stretch is not None and min(self.stretch) < 1:
            raise ValueError("stretch must be 1 or more at each level")


class JobClass(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Jobs of one kind: how many, how large, how long, how they end."""

    name: str
    #: Where its numbers come from, and how sure they are.
    about: str = ""
    #: Share of the jobs, relative to the other classes.
    share: float
    #: Gang size in chips -> weight. Beyond a node, a gang takes whole nodes. Parts of a chip are rounded up.
    sizes: Weights
    succeeded: Ending
    failed: Ending | None = None
    cancelled: Ending | None = None
    #: Jobs submitted together, on average (geometric): sweeps of evaluations come in bursts.
    batch: float = 1.0
    #: Priority -> weight; empty: all `normal`.
    priorities: dict[Priority, float] = {}
    #: Share of the gangs of two nodes and more that can shrink, to this part of their nodes.
    elastic: float = 0.0
    elastic_least: float = 0.5
    #: Catalogue name of the chip type they must have; empty: the site's own.
    chip: str = ""
    #: Restarts after faults of the job itself, of jobs that would succeed without. Who fails by itself has
    #: none.
    retries: int = 3
    training: Training | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        self._not_negative("share", "elastic", "retries")
        if not self.sizes or min(self.sizes) <= 0 or min(self.sizes.values()) < 0:
            raise ValueError("sizes needs one size or more, above 0 chips, with weights of 0 or more")
        if not sum(self.sizes.values()) > 0:
            raise ValueError("sizes needs a weight above 0")
        if self.priorities and (min(self.priorities.values()) < 0 or not sum(self.priorities.values()) > 0):
            raise ValueError("priorities needs weights of 0 or more, one above 0")
        if not 1 <= self.batch <= 1000:
            raise ValueError("batch must be between 1 and 1000")
        if self.elastic > 1 or not 0 < self.elastic_least <= 1:
            raise ValueError("elastic must be at most 1, elastic_least above 0 and at most 1")
        if not sum(ending.share for ending in self.endings) > 0:
            raise ValueError("succeeded, failed or cancelled needs a share above 0")

    @property
    def endings(self) -> tuple[Ending, Ending, Ending]:
        """Succeeded, failed, cancelled; who has none of a kind has a share of 0 of it."""
        none = Ending(share=0.0, lasts=self.succeeded.lasts)
        return (self.succeeded, self.failed or none, self.cancelled or none)


class Rhythm(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """When jobs are submitted: weights of the hours of a day and of the days of a week, Monday first.

    Defaults: the rise through the working day, the dips at noon and at dinner and the low at night that
    Helios shows (Hu et al., SC 2021, figure 2; shape published, values read off and estimated); weekends
    estimated.
    """

    hours: tuple[float, ...] = (
        *(0.80, 0.62, 0.50, 0.44, 0.40, 0.40, 0.45, 0.55, 0.75, 1.10, 1.35, 1.38),
        *(1.05, 1.15, 1.40, 1.45, 1.45, 1.40, 1.15, 1.10, 1.25, 1.28, 1.22, 1.02),
    )
    days: tuple[float, ...] = (1.08, 1.12, 1.12, 1.10, 1.06, 0.78, 0.74)

    def __post_init__(self) -> None:
        for name, count in (("hours", 24), ("days", 7)):
            values = getattr(self, name)
            if len(values) != count or min(values) < 0 or not sum(values) > 0:
                raise ValueError(f"{name} needs {count} weights of 0 or more")


class Share(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A tenant of the workload; its quota is a share of the chips, so that it fits a site of any size."""

    name: str
    parent: str = ""
    #: Of the jobs, relative to the other tenants. Who only has parts of its own submits nothing: 0.
    jobs: float = 0.0
    #: Factor on that for classes it submits more or less of than others: `{pretrain: 0}`.
    classes: dict[str, float] = {}
    #: Shares of the site's chips: its own, and what it may borrow beyond.
    quota: float = 0.0
    borrow: float = 1.0
    weight: float = 1.0
    #: So many users as parts, `<name>-u1` and on; they share its quota evenly and submit its jobs.
    users: int = 0
    #: Zipf exponent of how active these are. At 1.3 the first 5 of 100 submit 63 % of the jobs; in
    #: PAI the top 5 % submit 77 % (Weng et al., NSDI 2022; published).
    skew: float = 1.3

    def __post_init__(self) -> None:
        check_name(self.name)
        self._not_negative("jobs", "quota", "borrow", "users", "skew")
        if self.classes and min(self.classes.values()) < 0:
            raise ValueError("classes needs factors of 0 or more")
        if self.quota > 1:
            raise ValueError("quota is a share of the site: at most 1")
        if self.users > 999:
            raise ValueError("users must be at most 999")


class KeepWaiting(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A closed loop: whenever fewer jobs wait than this, more are submitted."""

    jobs: int

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError("jobs must be 1 or more")


class Estimates(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What users say of run times before they know: the brain sees that, and never the truth."""

    #: Standard deviation of the logarithm of what is said over what is so: run times of commands, and steps
    #: of training. Estimated: two thirds are within 1.8 either way of the usual. 0: all are wrong alike.
    error: float = 0.6
    #: Median of what is said over what is so, for commands. Users of batch systems overestimate: half of
    #: the jobs use less than half of what was asked (Mu'alem and Feitelson, IEEE TPDS 2001; published
    #: shape, from memory).
    bias: float = 2.0
    #: Up to 5 minutes, quarters, hours, days: few values make up most estimates (Tsafrir, Etsion and
    #: Feitelson, JSSPP 2005; published shape, from memory).
    rounded: bool = True
    #: Share of commands of which nothing is said. Estimated.
    unknown: float = 0.2

    def __post_init__(self) -> None:
        self._not_negative("error", "bias", "unknown")
        if not self.bias > 0 or self.unknown > 1:
            raise ValueError("bias must be above 0, unknown at most 1")
