"""The tenants file: who may use the site, how much of it, and at what rate."""

import msgspec

from myriad.kernel.ids import TenantId
from myriad.workload.jobs import check_name


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

    def __post_init__(self) -> None:
        check_name(self.name)
