"""Who must leave for whom: the cheapest gangs that make enough room, after a checkpoint.

A tenant inside its own quota takes back what others borrowed; a higher class sends a lower one away. Nobody
is sent away before it ran for a minimum. Elastic gangs that can shrink count with the nodes they give up.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from myriad.kernel.ids import TenantId
from myriad.kernel.units import HOUR, MINUTE, Instant, Span
from myriad.schedule import quota
from myriad.schedule.asks import Ask, Running, View
from myriad.schedule.policy import Preemption, PreemptionPolicy

#: From so many times on a minute is added, and doubled with each. Estimated: below, nobody is the worse for
#: it; a few more, and the gang has its turn.
_OFTEN: Final = 2
_SPARED: Final[Span] = MINUTE
_SPARED_MOST: Final[Span] = 4 * HOUR


class Cheapest:
    """Least chip-time lost for each node gained."""

    def cost(self, victim: Running, _now: Instant, /) -> float:
        """Work that must be done again, in chip-nanoseconds."""
        return float(victim.lost_chip_ns)


BUILT_IN: Final[Mapping[str, type[PreemptionPolicy]]] = {"cheapest": Cheapest}


class Verdict(NamedTuple):
    """Whom to send away; none if that would not make enough room."""

    victims: tuple[Running, ...]
    why: str


NOBODY: Final = Verdict((), "")
#: Candidates are gathered, lowest class and newest first, until they would give so many times the need.
_CHOICE: Final = 4


def spared_ns(times: int) -> Span:
    """How much longer than others a gang is not sent away that was sent away so often.

    Two that make room in turn for a third which still has none would do so for ever.
    """
    return min(_SPARED << min(times - _OFTEN, 20), _SPARED_MOST) if times >= _OFTEN else 0


def choose(
    view: View,
    ask: Ask,
    need: int,
    now: Instant,
    knobs: Preemption,
    policy: PreemptionPolicy,
    holders: Iterable[tuple[TenantId, int]],
    worth: int,
) -> Verdict:
    """Victims that give `need` nodes to the ask.

    `holders`: tenant and rank of whatever holds nodes. `worth`: the chip-time that may be lost by it.
    """
    reclaims = knobs.reclaim and quota.is_entitled(view, ask.tenant, ask.least * ask.chips_per_node)
    min_run, kind = _min_run(ask, knobs), ask.chip or view.columns.kinds.all[0]
    found: list[tuple[tuple[float, ...], str, Running, bool]] = []
    total = 0
    for tenant, rank in sorted(holders, key=lambda one: (one[1], one[0])):
        if total > _CHOICE * need + _CHOICE:
            break
        borrows = reclaims and rank <= ask.rank and quota.borrowed(view, tenant, ask.tenant) > 0
        outranked = knobs.priority and rank < ask.rank
        if not (borrows or outranked):
            continue
        gained = 0
        for gang in view.running(tenant, rank, now - min_run, ask.chips_per_node):
            if gang.movable and gang.chip == kind:
                each = policy.cost(gang, now) / gang.nodes
                found.append(((rank, each, -gang.placed_at), gang.attempt, gang, outranked))
                gained += gives(gang)
            if gained > _CHOICE * need:
                break
        total += gained
    chosen = _enough(view, ask, need, sorted(found, key=lambda one: one[:2]))
    if not chosen or sum(policy.cost(gang, now) for gang in chosen) > worth:
        return NOBODY
    why = f"makes room for {ask.owner}"
    why += f" of {ask.tenant}, which takes back its quota" if reclaims else ", of a higher priority"
    return Verdict(chosen, why)


def inside(
    view: View,
    ask: Ask,
    chips: int,
    now: Instant,
    knobs: Preemption,
    policy: PreemptionPolicy,
    lower: Iterable[tuple[TenantId, int]],
) -> tuple[Running, ...]:
    """Gangs of these tenants and ranks that give back `chips` of a quota, the cheapest of the lowest."""
    before = now - _min_run(ask, knobs)
    found = [
        (rank, policy.cost(gang, now) / gang.chips, gang.attempt, gang)
        for tenant, rank in lower
        for gang in view.running(tenant, rank, before)
        if gang.movable
    ]
    chosen: list[Running] = []
    for *_, gang in sorted(found, key=lambda one: one[:3]):
        if chips <= 0:
            break
        chosen.append(gang)
        chips -= gives(gang) * gang.chips_per_node
    return tuple(chosen) if chips <= 0 else ()


def room_after(ask: Ask, victims: Iterable[Running]) -> int:
    """Nodes for the ask on which these leave room; who waits for a reservation can have none of them."""
    if ask.reservation:
        return 0
    return sum(gives(gang) for gang in victims if gang.chips_per_node >= ask.chips_per_node)


def _min_run(ask: Ask, knobs: Preemption) -> Span:
    """A service gets lent chips back within its level, however short the borrower has had them."""
    return 0 if ask.patience_ns else knobs.ns("min_run")


def _enough(
    view: View, ask: Ask, need: int, found: Sequence[tuple[tuple[float, ...], str, Running, bool]]
) -> tuple[Running, ...]:
    """The first that suffice, without those that prove unneeded. Nobody gives more than it owes."""
    chosen: list[Running] = []
    taken: dict[str, int] = {}
    gained = 0
    for _, _, gang, outranked in found:
        if gained >= need:
            break
        branch = quota.branch(view, gang.tenant, ask.tenant)
        owed = quota.borrowed(view, gang.tenant, ask.tenant) - taken.get(branch, 0)
        if not outranked and owed <= 0:
            continue
        chosen.append(gang)
        taken[branch] = taken.get(branch, 0) + gang.chips
        gained += gives(gang)
    if gained < need:
        return ()
    for gang in sorted(chosen, key=lambda one: (-one.lost_chip_ns, one.attempt)):
        if gained - gives(gang) >= need:
            chosen.remove(gang)
            gained -= gives(gang)
    return tuple(chosen)


def gives(gang: Running) -> int:
    """Nodes one gains when the gang leaves: an elastic one comes back smaller, so it keeps its least."""
    return gang.nodes - gang.least if gang.least < gang.nodes else gang.nodes
