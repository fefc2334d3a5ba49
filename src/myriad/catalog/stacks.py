"""Software stacks as data: files of `stacks/`. What a framework and its age do to one layout's speed."""

from typing import Literal

import msgspec

from myriad.catalog.figures import Figure


class Stack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training or serving framework of some year."""

    title: str
    aliases: tuple[str, ...] = ()
    year: int
    #: Another stack, whose parameters hold where this one says nothing.
    extends: str = ""
    #: Kernel of its attention in training: "plain" keeps scores in memory, "native" is the maker's.
    attention: Literal["plain", "flash1", "flash2", "triton", "native"] = "native"
    #: Parameters of the performance model that belong to software, by name; SI units by the end of the name.
    parameters: dict[str, Figure] = {}

    @property
    def flash(self) -> bool:
        """Whether its attention is fused and keeps no scores."""
        return self.attention != "plain"
