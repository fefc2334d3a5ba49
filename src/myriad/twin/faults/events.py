"""Events that a scenario places itself: a feed lost at six in the morning, a rack that is slow for a day.

They strike beside what chance brings, at the instant that they name, and make a scenario a rehearsal.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from myriad.fleet.site import NodePlace
from myriad.kernel import units
from myriad.kernel.errors import UserError, near
from myriad.kernel.ids import NodeId

#: What an event takes: one node, a rack (its switch), a pod (its network), a feed, the cooling of a pod, all.
EventScope = Literal["node", "rack", "pod", "power", "cooling", "site"]


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event at a stated time: nodes that are gone, or slow, for so long."""

    #: After the start of the scenario.
    at: str
    scope: EventScope
    #: Its name: `n17`, `p0/r3`, `p0`; a feed by its own name, or by that of the pod that has it alone. Of the
    #: site: nothing.
    of: str = ""
    lasts: str
    #: How many times as long steps take; 0: the nodes are gone. Cooling slows: `plant.cooling_factor` if 0.
    factor: float = 0.0

    def __post_init__(self) -> None:
        units.check_span("at", self.at)
        units.check_span("lasts", self.lasts)
        if not units.span_ns(self.lasts):
            raise ValueError("lasts must be more than 0, for example 4h")
        if self.factor and not 1 <= self.factor < float("inf"):
            raise ValueError(f"factor must be 0 (gone) or 1 and more (slow), not {self.factor}")
        if (self.scope == "site") is bool(self.of):
            wrong = (
                "of must be left out: it is all of the site" if self.of else f"of must name the {self.scope}"
            )
            raise ValueError(wrong)


_KEYS: Final[Mapping[EventScope, str]] = {
    "node": "node",
    "rack": "rack",
    "pod": "pod",
    "power": "power",
    "cooling": "pod",
}


def nodes_of(event: Event, places: Sequence[NodePlace], field: str = "faults.events") -> list[NodeId]:
    """The nodes that it takes. Raises UserError if the site has nothing of that name."""
    if event.scope == "site":
        return [place.node for place in places]
    names = [str(getattr(place, _KEYS[event.scope]) or place.pod) for place in places]
    found = [place.node for place, name in zip(places, names, strict=True) if name == event.of]
    if not found:
        kind = "feed" if event.scope == "power" else _KEYS[event.scope]
        raise UserError(
            f"is no {kind} of the site",
            field=f"{field}: of",
            value=event.of,
            remedy=near(event.of, dict.fromkeys(names)),
        )
    return found
