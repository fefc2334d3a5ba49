"""What the planner takes where nobody says otherwise: fabric, stack, sequence length, global batch.

Every choice made here is told in words, so an answer can print it as assumed.
"""

import math
from typing import Final, NamedTuple

from myriad.catalog.chips import Chip
from myriad.catalog.fabrics import Fabric, Level
from myriad.catalog.figures import Figure
from myriad.catalog.models import Model
from myriad.catalog.shelf import Catalog
from myriad.catalog.stacks import Stack
from myriad.kernel.errors import UserError

#: Global batch in tokens by the weights of a model: published runs of these sizes used 1 to 4, 4 and 4 to 16
#: million.
_BATCH_TOKENS: Final = ((3e9, 2**20), (30e9, 2**22), (math.inf, 2**24))
#: Sequences that each sixteen chips get at least, so that data parallelism has something to divide.
_CHIPS_PER_SEQUENCE: Final = 16
#: How far the sequences of a batch may lie from what its tokens say, to become a number that many DP divide.
_ROUNDING: Final = 0.06
_AT_MOST: Final = 0.3


class Named(NamedTuple):
    """Entries and the names they go by."""

    model: Model
    chip: Chip
    fabric: Fabric
    stack: Stack
    names: dict[str, str]  # by kind


def entries(
    catalog: Catalog,
    model: Model | str,
    chip: Chip | str,
    fabric: Fabric | str | None,
    stack: Stack | str | None,
    assumed: list[str],
) -> Named:
    """Catalogue entries from names or entries; tells `assumed` what was not said. Raises UserError."""
    chip_, chip_name = (
        (chip, chip.title) if isinstance(chip, Chip) else (catalog.chip(chip), catalog.name_of("chip", chip))
    )
    model_, model_name = (
        (model, model.title)
        if isinstance(model, Model)
        else (catalog.model(model), catalog.name_of("model", model))
    )
    if fabric is None and chip_.fabric:
        fabric = chip_.fabric
        assumed.append(f"fabric {fabric}, which the chip usually hangs on (--fabric)")
    elif fabric is None:
        fabric = own_network(chip_)
        assumed.append("a network that blocks nothing, at the speed of the chip's own port (--fabric)")
    if stack is None:
        stack = usual_stack(chip_, model_)
        assumed.append(f"software stack {stack} (--stack)")
    for kind, said in (("chip", chip), ("model", model), ("fabric", fabric), ("stack", stack)):
        if isinstance(said, str) and catalog.shadows(kind, said):
            assumed.append(shadow(kind, said))
    fabric_, fabric_name = (
        (fabric, fabric.title)
        if isinstance(fabric, Fabric)
        else (catalog.fabric(fabric), catalog.name_of("fabric", fabric))
    )
    stack_, stack_name = (
        (stack, stack.title)
        if isinstance(stack, Stack)
        else (catalog.stack(stack), catalog.name_of("stack", stack))
    )
    if "outer_passes" not in stack_.parameters:
        raise UserError(
            "does not train",
            field="stack",
            value=stack_name,
            remedy="Choose a training stack: myriad catalog stacks",
        )
    names = {"model": model_name, "chip": chip_name, "fabric": fabric_name, "stack": stack_name}
    return Named(model_, chip_, fabric_, stack_, names)


def shadow(kind: str, name: str) -> str:
    """What is said where a user's entry stands before a shipped one."""
    return f"{kind} {name} of your catalogue, not the shipped one of this name"


def own_network(chip: Chip) -> Fabric:
    """A fabric for a chip that names none: its own port into switches without limits."""
    guess = "no fabric was named"
    one = Figure(value=1.0, status="estimated", source=guess)
    level = Level(
        name="network",
        chips=Figure(value=1e9, status="estimated", source=guess),
        bytes_per_s=chip.nic_bytes_per_s,
        oversubscription=one,
        latency_s=Figure(value=4e-6, low=2e-6, high=8e-6, status="estimated", source=guess),
    )
    return Fabric(title="its own network ports", planes=one, levels=(level,))


def usual_stack(chip: Chip, model: Model) -> str:
    """Name of the software that usually trains such a model on this chip."""
    family = chip.family
    if model.moe is None or family is None or not family.expert_stacks:
        return chip.stack
    return chip.stack if chip.stack in family.expert_stacks else family.expert_stacks[0]


def stacks(chip: Chip, model: Model) -> tuple[str, ...]:
    """Names of all software that may train such a model on this chip, the usual first."""
    family = chip.family
    known: tuple[str, ...] = ("reference",)
    if family is not None:
        experts = model.moe is not None and family.expert_stacks
        known = (*family.expert_stacks, "reference") if experts else family.stacks
    return tuple(dict.fromkeys((usual_stack(chip, model), *known)))


def sequence(model: Model, assumed: list[str]) -> int:
    """Tokens of a sequence in pre-training, as published.

    Where nobody published them 8,192 for dense models with grouped heads, 4,096 for others.
    """
    tokens = model.context or (8192 if model.moe is None and model.attention == "gqa" else 4096)
    told = ", as published for the model" if model.context else ""
    assumed.append(f"sequences of {tokens:,} tokens{told} (--sequence)")
    return tokens


def usual_batch(model: Model, tokens: int, chips: int) -> float:
    """Sequences of a step when nobody said, before they become a number that layouts divide."""
    usual = next(batch for limit, batch in _BATCH_TOKENS if model.parameters < limit)
    return max(usual / tokens, chips / _CHIPS_PER_SEQUENCE)


def sequences_of(wished: float, chips: int) -> int:
    """A number of sequences near `wished` that many numbers of DP ranks divide.

    A multiple of the odd part of the chips times the largest power of two that stays within a few percent;
    without one, the nearest multiple of the odd part; when even that is far off, the nearest number.
    """
    odd: int = chips // (chips & -chips)
    for power in range(40, -1, -1):
        grain = odd << power
        near: int = max(round(wished / grain), 1) * grain
        if abs(near / wished - 1) <= _ROUNDING:
            return near
    multiple: int = max(round(wished / odd), 1) * odd
    return multiple if abs(multiple / wished - 1) <= _AT_MOST else max(round(wished), 1)
