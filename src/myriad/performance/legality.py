"""Which layouts cannot run, and why: rules over columns, each with a reason and a remedy people understand.

Between `layouts` and the planner. A rule reads a few columns, so the search applies it as soon as those are
known; the same rules judge one layout that somebody wrote. A `timed` rule forbids what would run if it were
built, so the planner can say what it would have gained.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from myriad.catalog.models import Model
from myriad.kernel.errors import UserError
from myriad.performance.columns import Column, Flags

#: More than these are no question about a cluster that somebody could build.
MOST_CHIPS: Final = 10_000_000
#: Columns of layouts by name, all of shape (n,).
Columns = Mapping[str, Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a layout must suit: the work, and the machine it runs on."""

    model: Model
    sequence: int  # tokens
    global_batch: int  # sequences
    chips: int
    chips_per_node: int
    domain: int  # chips that the scale-up links join
    zero_bubble: bool = False  # the software has such schedules
    flash: bool = True  # its attention is fused and keeps no scores


class Rule(NamedTuple):
    """Something that a layout must not do."""

    name: str
    reads: tuple[str, ...]  # the first is the field that an error names
    broken: Callable[[Setting, Columns], Flags]
    text: str  # filled with facts of the setting and values of the columns
    remedy: str
    timed: bool = False


def _divides(part: Column, whole: float | Column) -> Flags:
    found: Flags = np.equal(np.mod(whole, np.maximum(part, 1.0)), 0)
    return found


def _chips(of: Setting, at: Columns) -> Flags:
    used = at["tp"] * at["cp"] * at["pp"] * at["dp"]
    whole = (at["dp"] >= 1) & (at["dp"] == np.floor(at["dp"]))
    found: Flags = ~whole | (used != of.chips)
    return found


def _kv_heads(of: Setting, at: Columns) -> Flags:
    kv = float(of.model.kv_heads)
    # each rank has whole heads, or a whole number of ranks share one
    found: Flags = ~(_divides(at["tp"], kv) | (np.mod(at["tp"], kv) == 0)) & (of.model.mla is None)
    return found


def _width(of: Setting, at: Columns) -> Flags:
    shared = of.model.moe.shared_experts * of.model.moe.shared_ffn if of.model.moe else 0
    odd: Flags = ~(
        _divides(at["tp"], of.model.ffn) & _divides(at["tp"], of.model.hidden) & _divides(at["tp"], shared)
    )
    return odd


def _layers(of: Setting, at: Columns) -> Flags:
    layers, pp = of.model.layers, at["pp"]
    fullest = np.ceil(layers / pp)
    short = (fullest * (pp - 1) <= layers) & (pp <= layers)
    return ~(_divides(pp, layers) | _divides(pp, layers + 2) | short)


def _chunks(of: Setting, at: Columns) -> Flags:
    chunks = at["pp"] * at["vpp"]
    even = _divides(chunks, of.model.layers) | _divides(chunks, of.model.layers + 2)
    return (at["vpp"] > 1) & ~((at["pp"] > 1) & even)


def _experts(of: Setting, at: Columns) -> Flags:
    experts = of.model.moe.experts if of.model.moe else 1
    return ~_divides(at["ep"], experts)


def _rounds(of: Setting, at: Columns) -> Flags:
    micro_batches = of.global_batch / (at["dp"] * at["micro_batch"])
    return (at["vpp"] > 1) & ~_divides(at["pp"], micro_batches)


#: In this order; a layout that breaks several is told the first.
RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "chips", ("dp", "tp", "cp", "pp"), _chips,
        "TP {tp} x CP {cp} x PP {pp} x DP {dp} is not {chips} chips",
        "Choose TP, CP and PP whose product divides {chips}, and DP as what is left",
    ),
    Rule(
        "heads", ("tp",), lambda of, at: ~_divides(at["tp"], of.model.heads),
        "TP {tp} does not divide {heads} heads", "Choose a TP that divides {heads}",
    ),
    Rule(
        "kv-heads", ("tp",), _kv_heads,
        "TP {tp} neither divides {kv_heads} key-value heads nor repeats them evenly",
        "Choose a TP that divides {kv_heads} or is a multiple of it",
    ),
    Rule(
        "width", ("tp",), _width, "TP {tp} does not divide the widths {hidden} and {ffn}",
        "Choose a TP that divides both",
    ),
    Rule(
        "sequence", ("cp",), lambda of, at: (at["cp"] > 1) & ~_divides(2 * at["cp"], of.sequence),
        "CP {cp} does not cut {sequence} tokens into two equal parts a rank",
        "Choose a CP of which twice divides {sequence}",
    ),
    Rule(
        "layers", ("pp",), _layers,
        "PP {pp} leaves stages without layers: it divides neither {layers} layers nor {layers_edges} "
        "(with embedding and head)", "Choose a PP that divides {layers} or {layers_edges}",
    ),
    Rule(
        "scale-up", ("tp",), lambda of, at: at["tp"] > of.domain,
        "TP {tp} leaves the scale-up domain of {domain}", "Choose a TP of at most {domain}", timed=True,
    ),
    Rule(
        "chunks", ("vpp", "pp"), _chunks,
        "PP {pp} x VPP {vpp} does not divide {layers} layers or {layers_edges} (with embedding and head), "
        "or there is no pipeline", "Choose a VPP of 1, or one that divides the layers of a stage",
    ),
    Rule(
        "experts", ("ep",), _experts, "EP {ep} does not divide {counted_experts}",
        "Choose an EP that divides {experts}; 1 for a model without experts",
    ),
    Rule(
        "expert-ranks", ("ep", "tp", "cp", "dp"),
        lambda _, at: ~_divides(at["ep"], at["tp"] * at["cp"] * at["dp"]),
        "EP {ep} does not divide the ranks of a stage, TP {tp} x CP {cp} x DP {dp}",
        "Choose a smaller EP or PP",
    ),
    Rule(
        "batch", ("micro_batch", "dp"),
        lambda of, at: ~_divides(at["dp"] * at["micro_batch"], of.global_batch),
        "DP {dp} x micro-batch {micro_batch} does not divide the global batch of {global_batch} sequences",
        "Choose a global batch that is a multiple of DP x micro-batch, or a smaller DP",
    ),
    Rule(
        "rounds", ("vpp", "pp", "dp", "micro_batch"), _rounds,
        "interleaving (VPP {vpp}) needs micro-batches in multiples of PP {pp}",
        "Choose a VPP of 1, or a global batch that is a multiple of DP x micro-batch x PP", timed=True,
    ),
    Rule(
        "sequence-parallel", ("sequence_parallel", "tp"),
        lambda _, at: (at["sequence_parallel"] > 0) & (at["tp"] == 1),
        "sequence parallelism works on the ranks of TP, and TP is 1",
        "Leave it off, or choose a TP of 2 or more",
    ),
    Rule(
        "schedule", ("schedule", "pp", "vpp"),
        lambda _, at: (at["schedule"] > 0) & ((at["pp"] == 1) | (at["vpp"] > 1)),
        "a zero-bubble schedule needs PP above 1 and no interleaving",
        "Choose schedule 1f1b, or PP above 1 and VPP 1",
    ),
    Rule(
        "zero-bubble", ("schedule",), lambda of, at: (at["schedule"] > 0) & (not of.zero_bubble),
        "few frameworks have zero-bubble schedules", "Allow them with --zero-bubble where yours does",
        timed=True,
    ),
    Rule(
        "zero-pp", ("zero", "pp"), lambda _, at: (at["zero"] >= 2) & (at["pp"] > 1),
        "ZeRO-2 and 3 are not combined with PP: every micro-batch would exchange gradients or weights again",
        "Choose ZeRO-1 with PP, or PP 1", timed=True,
    ),
)  # fmt: skip
#: Whether each rule is timed.
TIMED: Final[Flags] = np.array([rule.timed for rule in RULES])


def facts(of: Setting) -> dict[str, str]:
    """What the texts of rules say about a setting."""
    model = of.model
    numbers = {
        "chips": of.chips, "domain": of.domain, "heads": model.heads, "kv_heads": model.kv_heads,
        "hidden": model.hidden, "ffn": model.ffn, "layers": model.layers, "layers_edges": model.layers + 2,
        "experts": model.moe.experts if model.moe else 1, "sequence": of.sequence,
        "global_batch": of.global_batch,
    }  # fmt: skip
    experts = numbers["experts"]
    counted = f"{experts:,} expert" + "s" * (experts != 1)
    return {name: f"{number:,}" for name, number in numbers.items()} | {"counted_experts": counted}


def check_chips(chips: int, chips_per_node: int) -> None:
    """Raises UserError unless these are whole nodes, or a part that divides one."""
    if chips < 1:
        raise UserError(
            "must be one or more", field="chips", value=chips, remedy=f"Write {64 * chips_per_node}"
        )
    if chips > MOST_CHIPS:
        remedy = f"Write {MOST_CHIPS:,} or less"
        raise UserError("is more than any cluster has", field="chips", value=chips, remedy=remedy)
    if chips % chips_per_node and chips_per_node % chips:
        nearest = max(chips // chips_per_node, 1) * chips_per_node
        remedy = f"Write {nearest} or {nearest + chips_per_node}"
        problem = f"is not a multiple of a node of {chips_per_node}"
        if chips < chips_per_node:
            parts = [str(n) for n in range(1, chips_per_node + 1) if chips_per_node % n == 0]
            problem += ", nor a part that divides one"
            remedy = "Write " + " or ".join([", ".join(parts[:-1]), parts[-1]])
        raise UserError(problem, field="chips", value=chips, remedy=remedy)


def broken(of: Setting, at: Columns, fresh: tuple[str, ...] = ()) -> tuple[Column, Flags]:
    """Number of the first broken rule of each layout (-1: none), and whether one that is not timed is broken.

    Only rules that read nothing but what is in `at` count, and with `fresh` only those that read one of
    these.
    """
    size = len(next(iter(at.values())))
    first = np.full(size, -1.0)
    hard = np.zeros(size, dtype=bool)
    for number, rule in enumerate(RULES):
        if any(name not in at for name in rule.reads) or (fresh and not set(fresh) & set(rule.reads)):
            continue
        wrong = rule.broken(of, at)
        first = np.where((first < 0) & wrong, number, first)
        if not rule.timed:
            hard |= wrong
    return first, hard


def refuse(of: Setting, at: Mapping[str, float]) -> None:
    """Raises UserError that names field, value and remedy unless this one layout is legal."""
    for name, value in at.items():
        least = 1 if name in ("tp", "cp", "pp", "vpp", "dp", "ep", "micro_batch") else 0
        if value < least or value != int(value):
            raise UserError(
                "must be a whole number",
                field=f"layout: {name}",
                value=value,
                remedy=f"Write {least} or more",
            )
    first, _ = broken(of, {name: np.array([float(value)]) for name, value in at.items()})
    if first[0] < 0:
        return
    rule = RULES[int(first[0])]
    words: dict[str, Any] = facts(of) | {name: f"{at[name]:,.0f}" for name in rule.reads}
    raise UserError(
        rule.text.format(**words),
        field=f"layout: {rule.reads[0]}",
        value=int(at[rule.reads[0]]),
        remedy=rule.remedy.format(**words),
    )
