"""The tenants file: who may use the site, how much of it, and at what rate."""

import msgspec

from myriad.kernel import units
from myriad.kernel.ids import TenantId
from myriad.workload.jobs import check_amount, check_name


class Quota(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chips a tenant may hold at once: its own, and what it may borrow when others leave some idle."""

    chips: int
    borrow: int = 0

    def __post_init__(self) -> None:
        if self.chips < 0 or self.borrow < 0:
            raise ValueError("chips and borrow must be 0 or more")

    @property
    def limit(self) -> int:
        """The most the tenant can ever hold."""
        return self.chips + self.borrow


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money that may be spent in each period; work waits for the next one when it is used up."""

    #: In the price book's currency.
    amount: str
    #: Periods are counted from the epoch.
    every: str = "30d"

    def __post_init__(self) -> None:
        check_amount(self.amount)
        units.check_span("every", self.every)
        if units.span_ns(self.every) < units.DAY or units.span_ns(self.every) % units.DAY:
            raise ValueError("every must be whole days, such as 30d")


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Gateway limits of a tenant."""

    requests_per_minute: int = 6000
    tokens_per_minute: int = 10_000_000

    def __post_init__(self) -> None:
        if self.requests_per_minute < 1 or self.tokens_per_minute < 1:
            raise ValueError("limits must be 1 or more")


class Tenant(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
    tag="tenant",
):
    """A customer of the site."""

    name: TenantId
    quota: Quota
    rate: Rate = Rate()
    #: The tenant this one is part of: what it holds counts against the quota of both.
    parent: TenantId = TenantId("")
    #: Its share beside its siblings when chips are short.
    weight: float = 1.0
    budget: Budget | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.parent:
            check_name(self.parent)
            if self.parent == self.name:
                raise ValueError(f"parent {self.parent!r} must be another tenant")
        if not 0 < self.weight < 1e6:
            raise ValueError("weight must be more than 0")
