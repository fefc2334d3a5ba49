"""Software stacks as data: files of `stacks/`. What a framework and its age do to one layout's speed."""

import msgspec

from myriad.catalog.figures import Figure


class Stack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training or serving framework of some year."""

    title: str
    aliases: tuple[str, ...] = ()
    year: int
    #: Parameters of the performance model that belong to software, by name; SI units by the end of the name.
    parameters: dict[str, Figure] = {}
