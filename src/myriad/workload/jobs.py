"""The training job file: what a tenant writes, validated with errors that name field and remedy."""

from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from myriad.kernel import units
from myriad.kernel.ids import TenantId

#: Larger runs first.
PRIORITIES = {"low": 100, "normal": 500, "high": 900}
Priority = Literal["low", "normal", "high"]
Within = Literal["", "rack", "pod", "core"]

_NAME_HINT = "lower-case letters, digits and dashes, at most 40, starting with a letter"


def check_name(name: str) -> None:
    """Raises ValueError unless `name` can be part of an id, a folder and a DNS label."""
    plain = name.replace("-", "").isalnum() and name.isascii() and name == name.lower()
    if not (plain and name[:1].isalpha() and len(name) <= 40):
        raise ValueError(f"name {name!r} must be {_NAME_HINT}")


def check_amount(text: str) -> Decimal:
    """An amount of money. Raises ValueError unless it is a positive decimal number."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"budget {text!r} must be a number such as '2500.00'") from None
    if not amount.is_finite() or amount <= 0:
        raise ValueError(f"budget {text!r} must be more than 0")
    return amount


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
        if self.every == "auto":
            return None
        number, _, word = self.every.partition(" ")
        return int(number) if word == "steps" else None

    @property
    def span_ns(self) -> int | None:
        """The cadence in time, if it was given so."""
        return None if self.every == "auto" or self.steps else units.span_ns(self.every)


class NodeRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An elastic gang: it starts with what is free, shrinks to `min` when it must and grows up to `max`."""

    min: int
    max: int

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.max:
            raise ValueError("nodes needs 1 <= min <= max")


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
    #: Nodes of the gang, all started and stopped together: a number, or `{min, max}` for an elastic one.
    nodes: int | NodeRange
    chips_per_node: int = 1
    #: Catalogue name of the chip type it must have; empty: the site's own.
    chip: str = ""
    priority: Priority = "normal"
    #: The gang may not reach beyond one of these; empty: the fewest that will do.
    within: Within = ""
    #: By when it should have ended, as a span after its submission: `36h`.
    deadline: str = ""
    #: The most that it may cost, in the price book's currency; it ends, checkpointed, when that is spent.
    budget: str = ""
    #: Name of an advance reservation whose nodes it may use.
    reservation: str = ""
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
        if self.min_nodes < 1 or self.chips_per_node < 1:
            raise ValueError("nodes and chips_per_node must be 1 or more")
        for name in ("deadline", "expected"):
            if text := getattr(self, name):
                units.check_span(name, text)
        if self.budget:
            check_amount(self.budget)
        if self.retries < 0:
            raise ValueError("retries must be 0 or more")
        if bool(self.recipe) == bool(self.command):
            raise ValueError("give exactly one of recipe and command")
        if self.config and not self.recipe:
            raise ValueError("config belongs to a recipe: remove it, or give a recipe")

    @property
    def min_nodes(self) -> int:
        """Nodes it needs at least."""
        return self.nodes if isinstance(self.nodes, int) else self.nodes.min

    @property
    def max_nodes(self) -> int:
        """Nodes it takes at most: of an elastic gang all it can use."""
        return self.nodes if isinstance(self.nodes, int) else self.nodes.max

    @property
    def chips(self) -> int:
        """Chips of the whole gang, at its largest."""
        return self.max_nodes * self.chips_per_node

    @property
    def ranks_per_node(self) -> int:
        """Processes on each node."""
        return self.chips_per_node if self.launch == "chip" else 1

    @property
    def rank(self) -> int:
        """Its priority as a number; larger goes first."""
        return PRIORITIES[self.priority]
