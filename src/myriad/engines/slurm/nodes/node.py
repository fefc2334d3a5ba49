"""One node as the engine knows it: what Slurm showed last, what the brain wants of it, what is under way."""

import asyncio
import time

from myriad.engines.common import health
from myriad.engines.slurm.asking import reading
from myriad.kernel.ids import NodeId
from myriad.kernel.units import Instant
from myriad.protocol import inputs

#: How reasons in Slurm begin of what the brain keeps out, or what is being repaired.
OURS = "myriad:"
#: One that does not come for so long is not worth a look four times a second.
_EAGER_S = 120.0
#: So long a slurmd has to answer, and is left alone between two questions.
PROBE_S = 2.0


class Place:
    """One node."""

    def __init__(self, node: NodeId, chips: int) -> None:
        self.node, self.chips = node, chips
        self.instance = ""
        self.joined = False
        self.to_qualify = False
        self.evidence = health.Evidence(lambda *_: None)
        self.seen: reading.Node | None = None
        #: The brain's last word on whether it is kept out, and whether Slurm has shown it since.
        self.ordered: bool | None = None
        self.why = ""
        self.shown = False
        #: When Slurm was asked that last showed it as kept out, seconds since the epoch.
        self.held_at = 0.0
        #: The brain gave it back, and Slurm has not said yes to that.
        self.giving_back = False
        #: When our last change of it in Slurm was done, monotonic seconds.
        self.updated_at = 0.0
        self.asking: asyncio.Task[None] | None = None
        #: The brain was told that people keep it out in Slurm.
        self.told_held = False
        #: By whom and until when; None: the brain was not told yet, since the node joined.
        self.occupied: tuple[str, int] | None = None
        self.refuses = False
        self.resumed_at = 0.0
        self.eager_until = 0.0
        self.update: asyncio.Task[None] | None = None
        self.repair: asyncio.Task[None] | None = None
        self.burning: asyncio.Task[None] | None = None
        self.expect()

    def expect(self) -> None:
        """It is looked for often, for a while."""
        self.eager_until = time.monotonic() + _EAGER_S

    @property
    def held(self) -> bool:
        """Somebody keeps it out in Slurm."""
        return self.seen is not None and self.seen.held

    @property
    def ours(self) -> bool:
        """Myriad keeps it out in Slurm."""
        return self.seen is not None and self.seen.held and self.seen.reason.startswith(OURS)

    async def answers(self) -> bool:
        """Is anybody at the port of its slurmd?"""
        if self.seen is None:
            return False
        try:
            async with asyncio.timeout(PROBE_S):
                _, writer = await asyncio.open_connection(self.seen.address, self.seen.port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    @property
    def repairing(self) -> bool:
        """Its incarnation is being fenced, or the next one awaited."""
        return self.repair is not None and not self.repair.done()

    def come(self, at: Instant) -> inputs.NodeJoined:
        """That it is there, as the incarnation in use."""
        return inputs.NodeJoined(at=at, node=self.node, instance=self.instance, chips=self.chips)
