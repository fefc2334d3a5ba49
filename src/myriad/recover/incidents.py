"""One event or many? Losses that come together in one domain are one incident of it: its switch, its power.

A loss that an incident explains says nothing about the node: it makes no lemon, and all of an incident
count once in the rate of failures. A machine that reboots takes all its nodes with it: an incident too.
"""

import math
from typing import NamedTuple

from myriad.kernel.ids import NodeId
from myriad.kernel.units import Instant, show_span
from myriad.protocol.values import DomainKind
from myriad.recover.policy import Policy


class Verdict(NamedTuple):
    """An incident that the losses show."""

    nodes: tuple[NodeId, ...]  # in the order they were lost
    since: Instant
    why: str


def judge(
    kind: DomainKind, size: int, lost: dict[NodeId, Instant], now: Instant, policy: Policy
) -> Verdict | None:
    """Whether the losses of a domain of `size` nodes are one event.

    lost: node -> when it was lost last, newest last. Costs what was lost within the span.
    """
    least = max(policy.incident_nodes, math.ceil(policy.incident_share * size))
    if len(lost) < least:
        return None
    recent: list[NodeId] = []
    since, span = now, policy.ns("incident_span")
    for node, at in reversed(lost.items()):
        if now - at > span:
            break
        recent.append(node)
        since = at
    if len(recent) < least:
        return None
    why = f"{len(recent)} of the {size} nodes of its {kind} lost within {show_span(now - since)}"
    return Verdict(tuple(reversed(recent)), since, why)


def joins(last_at: Instant, now: Instant, policy: Policy) -> bool:
    """Whether a loss now still belongs to an incident whose latest loss was at `last_at`."""
    return now - last_at <= policy.ns("incident_span")
