"""The training job file: what a tenant writes, validated with errors that name field and remedy."""

from typing import Any, Literal

import msgspec

from myriad.kernel import units
from myriad.kernel.ids import TenantId

#: Larger runs first.
PRIORITIES = {"low": 100, "normal": 500, "high": 900}
Priority = Literal["low", "normal", "high"]

_NAME_HINT = "lower-case letters, digits and dashes, at most 40, starting with a letter"


def check_name(name: str) -> None:
    """Raises ValueError unless `name` can be part of an id, a folder and a DNS label."""
    plain = name.replace("-", "").isalnum() and name.isascii() and name == name.lower()
    if not (plain and name[:1].isalpha() and len(name) <= 40):
        raise ValueError(f"name {name!r} must be {_NAME_HINT}")


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often to save: `25 steps`, `10m`, or `auto` (Young/Daly from observed rates)."""

    every: str = "auto"

    def __post_init__(self) -> None:
        number, _, word = self.every.partition(" ")
        if word == "steps" and number.isdigit() and int(number) > 0:
            return
        if self.every != "auto":
            try:
                units.span_ns(self.every)
            except ValueError:
                raise ValueError(f"every {self.every!r} must be like '25 steps', '10m' or 'auto'") from None

    @property
    def steps(self) -> int | None:
        """The cadence in steps, if it was given so."""
        number, _, word = self.every.partition(" ")
        return int(number) if word == "steps" else None

    @property
    def span_ns(self) -> int | None:
        """The cadence in time, if it was given so."""
        return None if self.every == "auto" or self.steps else units.span_ns(self.every)


class TrainingJob(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
    tag="training",
):
    """A gang of processes that runs to an end. A `recipe` with `config`, or any `command`."""

    name: str
    tenant: TenantId
    #: Nodes of the gang, all started and stopped together.
    nodes: int
    chips_per_node: int = 1
    priority: Priority = "normal"
    recipe: str = ""
    config: dict[str, Any] = {}
    #: A torchrun-style program: started once per chip with RANK, WORLD_SIZE, MASTER_ADDR, …
    command: tuple[str, ...] = ()
    #: `chip`: one process per chip. `node`: one per node, for launchers such as torchrun itself.
    launch: Literal["chip", "node"] = "chip"
    env: dict[str, str] = {}
    #: Working folder of `command`; empty means the job's output folder.
    workdir: str = ""
    #: What the user expects of a command Myriad knows nothing about; used for ETA and backfill.
    expected: str = ""
    checkpoint: Checkpoint = Checkpoint()
    #: Restarts after faults of the job itself. Faults of nodes do not count.
    retries: int = 3

    def __post_init__(self) -> None:
        check_name(self.name)
        check_name(self.tenant)
        if self.nodes < 1 or self.chips_per_node < 1:
            raise ValueError("nodes and chips_per_node must be 1 or more")
        if self.retries < 0:
            raise ValueError("retries must be 0 or more")
        if bool(self.recipe) == bool(self.command):
            raise ValueError("give exactly one of recipe and command")
        if self.config and not self.recipe:
            raise ValueError("config belongs to a recipe: remove it, or give a recipe")
        if self.expected:
            units.span_ns(self.expected)

    @property
    def chips(self) -> int:
        """Chips of the whole gang."""
        return self.nodes * self.chips_per_node

    @property
    def rank(self) -> int:
        """Its priority as a number; larger goes first."""
        return PRIORITIES[self.priority]
