"""What keeps nodes out: what people do in Slurm is told to the brain; what it decides is done in Slurm.

Ours are known by their reason. Both sides are compared at every look, so neither a restart nor a lost command
leaves them apart.
"""

import time

from myriad.engines.slurm.asking import commands, reading
from myriad.engines.slurm.nodes.node import OURS, Place
from myriad.engines.slurm.nodes.updates import Updates
from myriad.engines.slurm.where import Where
from myriad.kernel.units import SECOND
from myriad.protocol import inputs, orders

#: How reasons in the brain begin of what people keep out in Slurm.
_THEIRS = "slurm:"
#: Drains of nodes that slurmctld makes by itself when it has given a number away that it had forgotten in
#: a crash, and which still ran there. It never takes them back.
_FORGOT = "Duplicate jobid"
#: So often at most that is taken back.
_FORGOT_EVERY_S = 10.0
#: What clocks of machines, and seconds cut off, may differ by.
_CLOCKS_S = 2


class Holds:
    """Drains in both directions."""

    def __init__(self, where: Where, updates: Updates) -> None:
        self._at, self._updates = where, updates

    def order(self, place: Place, order: orders.HoldNode) -> None:
        """Keep it out in Slurm as well, or give it back there."""
        before, place.ordered, place.why = place.ordered, order.held, order.reason
        if order.held and order.reason.startswith(_THEIRS):
            place.told_held = True  # only repeats what people did in Slurm, and holds as long as that does
        # after we gave it back, what was seen last is no sign that Slurm keeps it out
        place.shown = order.held and (place.told_held or (place.held and before is not False))
        place.giving_back = not order.held and (place.giving_back or ((before or place.ours) and place.held))
        if place.giving_back:
            place.told_held = False
            self._keep(place, "undrain")
        self._at.hurry()

    def compare(self, place: Place, found: reading.Node, asked_at: float) -> None:
        """Whether Slurm, asked then, shows it as the brain knows it."""
        if (place.update and not place.update.done()) or asked_at < place.updated_at:
            return  # it may show what was before our own change
        if found.held:
            place.held_at = self._at.clock() / SECOND - (time.monotonic() - asked_at)
        else:
            place.giving_back = False
        if found.held and place.giving_back:
            self._keep(place, "undrain")
        elif found.held and found.reason == _FORGOT:
            if time.monotonic() > place.resumed_at + _FORGOT_EVERY_S:
                place.resumed_at, place.shown = time.monotonic(), False
                self._at.tasks.start(self._updates.change(place.node, "undrain"))
        elif found.held and not place.ours and not place.told_held:
            place.told_held = True
            by = f"{_THEIRS} {found.reason_by or 'somebody'}"
            reason = f"{by}: {found.reason or 'drained in Slurm'}"
            self._at.tell(inputs.DrainNode(at=self._at.clock(), node=place.node, by=by, reason=reason))
        elif not found.held and place.told_held:
            place.told_held = place.shown = False
            if place.ordered:
                self._tell_given_back(place)
        elif place.ordered and not found.held and place.shown:
            if place.asking is None or place.asking.done():
                place.asking = self._at.tasks.start(self._given_back(place))
        elif place.ordered and not found.held:
            self._keep(place, "drain", f"{OURS} {place.why or 'cordoned'}")
        elif place.ordered:
            place.shown = True
        elif found.held and place.ours and place.ordered is False and not place.repairing:
            self._keep(place, "undrain")

    async def _given_back(self, place: Place) -> None:
        """We had drained it. Either somebody gave it back there, or slurmctld forgot it in a crash."""
        try:
            began_at = reading.booted(await commands.run(["scontrol", "show", "config"]))
        except (commands.SlurmSilent, commands.SlurmError):
            return  # asked again at the next look
        place.shown = False
        if place.ordered and began_at + _CLOCKS_S < place.held_at:
            self._tell_given_back(place)

    def _tell_given_back(self, place: Place) -> None:
        place.ordered = None  # until the brain has heard
        self._at.tell(inputs.UndrainNode(at=self._at.clock(), node=place.node))

    def _keep(self, place: Place, state: str, reason: str = "") -> None:
        """Change its state in Slurm, once at a time: what is still to be done, the next look shows."""
        if place.update is None or place.update.done():
            place.update = self._at.tasks.start(self._update(place, state, reason))

    async def _update(self, place: Place, state: str, reason: str) -> None:
        if await self._updates.change(place.node, state, reason) and state == "undrain":
            place.giving_back = False  # whoever keeps it out from now on means it
        place.updated_at = time.monotonic()
