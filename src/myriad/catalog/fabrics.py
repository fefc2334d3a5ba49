"""Fabrics as data: files of `fabrics/`. How the nodes of a site are wired, level by level.

The scale-out network only; links inside a node belong to the chip, unless a supernode replaces them.
"""

import msgspec

from myriad.catalog.figures import Figure


class Level(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One level of switches and what it joins."""

    name: str
    #: Chips that reach each other without leaving the level.
    chips: Figure
    #: What one chip can send into the level, one direction, with nobody else sending.
    bytes_per_s: Figure
    #: Capacity below over capacity above: with everybody sending, a chip gets 1/oversubscription of it.
    oversubscription: Figure
    #: From chip to chip across the level, software left out.
    latency_s: Figure

    @property
    def shared_bytes_per_s(self) -> float:
        """What a chip gets when all send through this level at once, bytes/s, one direction."""
        return self.bytes_per_s.value / self.oversubscription.value


class Fabric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way to wire nodes. SI units; bandwidths are of one chip in one direction."""

    title: str
    aliases: tuple[str, ...] = ()
    #: Independent networks over which each chip's traffic is spread; one lost plane leaves the others.
    planes: Figure
    #: Innermost first.
    levels: tuple[Level, ...]
    #: Of a supernode: replaces what the chip says.
    scale_up_domain: Figure | None = None
    scale_up_bytes_per_s: Figure | None = None

    def __post_init__(self) -> None:
        sizes = [level.chips.value for level in self.levels]
        if not sizes:
            raise ValueError("levels must be one or more")
        if sizes != sorted(set(sizes)):
            raise ValueError("levels must grow in chips, innermost first")
        if any(level.oversubscription.value < 1 for level in self.levels):
            raise ValueError("oversubscription must be 1 or more")
