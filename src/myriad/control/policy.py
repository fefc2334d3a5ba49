"""All policies of a site in one value, as a policy file or a site file's `policy:` gives them."""

from typing import NamedTuple

import msgspec

from myriad.recover.policy import Policy as Recover
from myriad.route.policy import Policy as Route
from myriad.schedule import order, place, preempt
from myriad.schedule.plan import Rules
from myriad.schedule.policy import (
    Backfill,
    Elastic,
    Order,
    OrderPolicy,
    Placement,
    PlacementPolicy,
    Preemption,
    PreemptionPolicy,
)


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Knobs of the brain, each owned by the package it belongs to."""

    order: Order = Order()
    placement: Placement = Placement()
    backfill: Backfill = Backfill()
    preemption: Preemption = Preemption()
    elastic: Elastic = Elastic()
    recover: Recover = Recover()
    route: Route = Route()


class Own(NamedTuple):
    """Policies that do not come with Myriad, where the policy file names one. The edge loads them."""

    order: OrderPolicy | None = None
    placement: PlacementPolicy | None = None
    preemption: PreemptionPolicy | None = None


def order_of(policy: Policy, own: Own) -> OrderPolicy:
    """Who goes first."""
    return own.order or order.BUILT_IN[policy.order.policy]()


def rules_of(policy: Policy, own: Own) -> Rules:
    """Where gangs go and who must leave."""
    name = policy.preemption.policy
    preemption = own.preemption or (None if name == "none" else preempt.BUILT_IN[name]())
    return Rules(
        placement=own.placement or place.BUILT_IN[policy.placement.policy](),
        preemption=preemption,
        place=policy.placement,
        backfill=policy.backfill,
        preempt=policy.preemption,
        order=policy.order,
    )
