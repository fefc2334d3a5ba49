"""What the tests of the planner share: small settings, machines, and the rules said again in Python."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from myriad.catalog.shelf import Catalog
from myriad.performance import space
from myriad.performance.layouts import Layouts
from myriad.performance.legality import Setting
from myriad.performance.machine import Machine
from myriad.performance.work import Work

CATALOG = Catalog.shipped()

Row = dict[str, int]


def setting(
    model: str = "llama3-8b", chips: int = 16, batch: int = 16, sequence: int = 2048, domain: int = 8
) -> Setting:
    """A setting small enough to try everything."""
    return Setting(
        model=CATALOG.model(model),
        sequence=sequence,
        global_batch=batch,
        chips=chips,
        chips_per_node=8,
        domain=domain,
    )


def machine(chip: str = "h100-sxm", stack: str = "reference") -> Machine:
    """A chip on its usual fabric."""
    found = CATALOG.chip(chip)
    return Machine.of(found, CATALOG.fabric(found.fabric), CATALOG.stack(stack))


def work(of: Setting) -> Work:
    """The step of a setting."""
    return Work.of(of.model, sequence=of.sequence, global_batch=of.global_batch)


def everything(of: Setting) -> Iterator[Row]:
    """Every combination of the axes, one by one."""
    axes = space.axes(of)
    for values in product(*axes.values()):
        row = {name: int(value) for name, value in zip(axes, values, strict=True)}
        if of.chips % (row["tp"] * row["cp"] * row["pp"]) == 0:
            row["dp"] = of.chips // (row["tp"] * row["cp"] * row["pp"])
            yield row


def legal(of: Setting, row: Row) -> bool:
    """The rules, for one layout."""
    model, tp, cp, pp, vpp, dp = of.model, row["tp"], row["cp"], row["pp"], row["vpp"], row["dp"]
    experts = model.moe.experts if model.moe else 1
    shared = model.moe.shared_experts * model.moe.shared_ffn if model.moe else 0
    if tp > of.domain or model.heads % tp or model.hidden % tp or model.ffn % tp or shared % tp:
        return False
    if model.mla is None and model.kv_heads % tp and tp % model.kv_heads:
        return False
    if cp > 1 and of.sequence % (2 * cp):
        return False
    fullest = -(-model.layers // pp)
    whole = model.layers % pp == 0 or (model.layers + 2) % pp == 0
    if not whole and (pp > model.layers or fullest * (pp - 1) > model.layers):
        return False
    if experts % row["ep"] or (tp * cp * dp) % row["ep"]:
        return False
    if of.global_batch % (dp * row["micro_batch"]):
        return False
    if vpp > 1:
        chunks = pp * vpp
        if pp == 1 or (model.layers % chunks and (model.layers + 2) % chunks):
            return False
        if of.global_batch // (dp * row["micro_batch"]) % pp:
            return False
    if row["schedule"] and (not of.zero_bubble or pp == 1 or vpp > 1):
        return False
    return not (row["sequence_parallel"] and tp == 1) and not (row["zero"] >= 2 and pp > 1)


def layouts(rows: list[Row]) -> Layouts:
    """Rows as columns."""
    return Layouts.of({name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]})
