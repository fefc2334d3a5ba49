"""Published training runs as rows: read from CSV, turned into columns that `performance` predicts.

A row says what its publisher said; what is missing is filled by a rule that the run then names in
`assumed`, and a row that cannot be modelled says why.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

import msgspec
import numpy as np

from myriad.catalog.chips import Chip
from myriad.catalog.fabrics import Fabric, Level
from myriad.catalog.figures import Figure
from myriad.catalog.models import Model, Moe
from myriad.catalog.shelf import Catalog
from myriad.kernel.errors import UserError
from myriad.performance.layouts import Layouts
from myriad.studies import words

#: Columns without which a file is not a table of runs.
REQUIRED: Final = ("id", "accelerator", "seq_len", "n_chips")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One published run."""

    id: str
    source: str
    accelerator: str
    #: Catalogue name of the chip, and of the software stack.
    chip: str
    stack: str
    fabric: Fabric
    model_name: str
    model: Model
    sequence: int
    global_batch: float
    #: Columns of `Layouts`, one value each.
    layout: Mapping[str, float]
    precision: str
    chips: int
    measured_s: float | None
    peak_memory_bytes: float | None
    recommended: bool
    tier: str
    notes: str
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmodelled:
    """A row that cannot be predicted, and why."""

    id: str
    source: str
    reason: str
    measured_s: float | None


def read(text: str, source: str, catalog: Catalog) -> tuple[list[Run], list[Unmodelled]]:
    """Runs of a CSV text. Raises UserError when it is not a table of runs."""
    reader = csv.DictReader(io.StringIO(text))
    missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
    if missing:
        remedy = "Give a table of training runs with a heading of our columns"
        raise UserError(f"lacks the columns {', '.join(missing)}", field=source, remedy=remedy)
    models = _aliases(catalog, "model")
    chips, fabrics = _aliases(catalog, "chip"), _aliases(catalog, "fabric")
    runs: list[Run] = []
    failed: list[Unmodelled] = []
    for row in reader:
        found = _run(row, models, chips, fabrics, catalog)
        (runs if isinstance(found, Run) else failed).append(found)  # type: ignore[arg-type]
    return runs, failed


def _aliases(catalog: Catalog, kind: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for name in catalog.names(kind):
        entry = catalog.entry(kind, name)
        for alias in (name, *entry.aliases):
            names.setdefault(alias.lower(), name)
    return names


class _Gap(Exception):
    """Why a row cannot be modelled."""


class _Cells:
    """One row, with numbers where they can be read, and a list of what was assumed.

    Reading raises `_Gap` where the row does not say, or says nonsense.
    """

    def __init__(self, row: Mapping[str, str]) -> None:
        self.row, self.assumed = row, []  # type: ignore[var-annotated]

    def text(self, name: str) -> str:
        return (self.row.get(name) or "").strip()

    def number(self, name: str, default: float | None = None) -> float:
        """The number of a column, or the default where there is none."""
        text = self.text(name)
        if not text:
            if default is None:
                raise _Gap(f"{name} is missing")
            return default
        try:
            number = float(text)
        except ValueError:
            raise _Gap(f"{name} is not a number (got {text!r})") from None
        if not math.isfinite(number) or number < 0:
            raise _Gap(f"{name} must be zero or more (got {text!r})")
        return number

    def positive(self, name: str, default: float | None = None) -> float:
        """As `number`, and more than zero."""
        number = self.number(name, default)
        if number <= 0:
            raise _Gap(f"{name} must be more than zero (got {self.text(name)!r})")
        return number

    def said(self, name: str, otherwise: str) -> str:
        """The words of a column, or what is assumed where it says nothing."""
        if not self.text(name):
            self.assumed.append(f"{name}={otherwise}")
        return self.text(name) or otherwise

    def assume(self, name: str, value: float) -> float:
        """The number, more than zero, or an assumed one that the run names."""
        if self.text(name):
            return self.positive(name)
        self.assumed.append(f"{name}={value:g}")
        return value


def _run(
    row: Mapping[str, str],
    models: Mapping[str, str],
    chips: Mapping[str, str],
    fabrics: Mapping[str, str],
    catalog: Catalog,
) -> Run | Unmodelled:
    cells = _Cells(row)
    measured: float | None = None
    try:
        measured = _measured_s(cells)
        chip = chips.get(cells.text("accelerator").lower())
        if chip is None:
            raise _Gap(f"the catalogue has no chip {cells.text('accelerator')!r}")
        model = _model(cells, models, catalog)
        layout = _layout(cells)
        sequence = int(cells.positive("seq_len"))
        fabric = _fabric(cells, catalog.chip(chip), fabrics, catalog)
        memory = cells.number("peak_mem_gb", 0.0)
    except (_Gap, ValueError) as why:
        return Unmodelled(
            id=cells.text("id"), source=cells.text("source"), reason=str(why), measured_s=measured
        )
    zero = cells.text("zero")
    return Run(
        id=cells.text("id"),
        source=cells.text("source"),
        accelerator=cells.text("accelerator"),
        chip=chip,
        stack=words.stack_of(
            cells.text("source"),
            cells.text("notes") + " " + cells.text("precision"),
            zero,
            cells.text("accelerator"),
        ),
        fabric=fabric,
        model_name=cells.text("model"),
        model=model,
        sequence=sequence,
        global_batch=layout.pop("global_batch"),
        layout=layout,
        precision=cells.text("precision"),
        chips=int(cells.number("n_chips")),
        measured_s=measured,
        peak_memory_bytes=memory * 2**30 if memory else None,
        recommended=cells.text("recommended") == "True",
        tier=cells.text("tier"),
        notes=cells.text("notes"),
        assumed=tuple(cells.assumed),
    )


def _fabric(cells: _Cells, chip: Chip, fabrics: Mapping[str, str], catalog: Catalog) -> Fabric:
    """The catalogue's fabric of these words; otherwise one level at the rate they say, or at the chip's
    own.
    """
    text = cells.text("inter_node_nic")
    if name := fabrics.get(text.lower()):
        return catalog.fabric(name)
    per_node = cells.number("chips_per_node", chip.chips_per_node.value)
    rate = words.nic_bytes_per_s(text, per_node, chip.nic_bytes_per_s.value)

    def figure(value: float) -> Figure:
        return Figure(value=value, status="published", source=cells.text("source") or "the row")

    level = Level(
        name="network",
        chips=figure(1e6),
        bytes_per_s=figure(rate),
        oversubscription=figure(1.0),
        latency_s=figure(3e-6),
    )
    return Fabric(title=text or "not said", planes=figure(1), levels=(level,))


def _measured_s(cells: _Cells) -> float | None:
    """Seconds of a step, from whichever column has it."""
    if seconds := cells.number("iter_time_s", 0.0):
        return seconds
    tokens = cells.number("gbs", 0.0) * cells.number("seq_len", 0.0)
    rate = cells.number("tokens_per_s", 0.0)
    rate = rate or cells.number("tokens_per_s_per_chip", 0.0) * cells.number("n_chips", 0.0)
    return tokens / rate if tokens and rate else None


def _model(cells: _Cells, models: Mapping[str, str], catalog: Catalog) -> Model:
    """The catalogue's model where the name is one of its aliases, with the row's layers; otherwise the
    row's own.
    """
    name = models.get(cells.text("model").lower())
    if name is not None:
        known = catalog.model(name)
        if cells.number("hidden", known.hidden) == known.hidden:
            return _as_in_the_row(known, cells)
    heads, hidden = int(cells.positive("heads")), int(cells.positive("hidden"))
    moe = _experts(cells)
    ffn = int(cells.number("ffn", 0))
    if not ffn and moe is None:
        raise _Gap("ffn is missing")
    gated = cells.text("gated_mlp") == "True"
    return Model(
        title=cells.text("model"),
        status="published",
        source=cells.text("source") or "the row",
        layers=int(cells.positive("layers")),
        hidden=hidden,
        heads=heads,
        kv_heads=int(cells.positive("kv_heads", heads)),
        head_dim=max(1, hidden // heads),
        ffn=ffn or (moe.ffn if moe else 0),
        gated=gated,
        vocab=int(cells.assume("vocab", 51200)),
        tied="embeddings tied" in cells.text("notes"),
        norm="rms" if gated else "layer",
        moe=moe,
        parameters_published=Figure(
            value=cells.number("params_b", 0.0) * 1e9, status="published", source="the row"
        ),
    )


def _as_in_the_row(known: Model, cells: _Cells) -> Model:
    """A model of the catalogue with the numbers of the row, where it gives others: runs change
    vocabularies.
    """
    given = {name: int(cells.positive(name, getattr(known, name))) for name in ("layers", "vocab")}
    if known.ffn and cells.number("ffn", 0):
        given["ffn"] = int(cells.positive("ffn"))
    return msgspec.structs.replace(known, **given)


def _experts(cells: _Cells) -> Moe | None:
    """The experts of a row whose model is not in the catalogue; every second layer has them in Llama 4
    Maverick.
    """
    count = int(cells.number("n_experts", 0))
    if not count:
        return None
    width = int(cells.positive("moe_ffn", cells.number("ffn", 0)))
    moe = Moe(experts=count, top_k=int(cells.positive("top_k", 1)), ffn=width)
    if re.search(r"maverick", cells.text("model"), re.IGNORECASE):
        return msgspec.structs.replace(moe, every=2, shared_experts=1, shared_ffn=width)
    return moe


def _layout(cells: _Cells) -> dict[str, float]:
    """Columns of `Layouts`, and the global batch."""
    zero, notes = cells.said("zero", "none"), cells.text("notes")
    chips, cp = cells.positive("n_chips"), cells.positive("cp", 1)
    if "FSDP" in zero:  # alone, it has no other dimension
        tp, pp = cells.assume("tp", 1), cells.assume("pp", 1)
    else:
        tp, pp = cells.positive("tp"), cells.positive("pp")
    dp = cells.positive("dp", max(1.0, chips / (tp * pp * cp)))
    batch = cells.positive("gbs")
    stage = words.zero_stage(zero)
    return {
        "tp": tp,
        "pp": pp,
        "cp": cp,
        "dp": dp,
        "ep": cells.positive("ep", 1),
        "vpp": cells.positive("vpp", 1),
        "micro_batch": _micro_batch(cells, pp, batch / dp if stage == 3 and pp == 1 else 1.0),
        "zero": stage,
        "shard": words.shard(zero, cells.number("chips_per_node", 8)),
        "recompute": words.recompute(cells.said("recompute", "none")),
        "schedule": words.schedule(notes),
        "sequence_parallel": tp > 1 and cells.said("sp", "False") == "True",
        "global_batch": batch,
        "fp8": words.is_low(cells.text("precision")),
    }


def _micro_batch(cells: _Cells, pp: float, otherwise: float) -> float:
    """Sequences of a micro-batch. Where a local batch is said to be split among pipeline ranks, that share
    of it.
    """
    if local := re.search(r"[Ll]ocal batch size (\d+)", cells.text("notes")):
        return cells.assume("micro-batch", max(1.0, int(local[1]) / pp))
    return cells.assume("mbs", max(1.0, otherwise))


def layouts_of(runs: Sequence[Run]) -> Layouts:
    """The layouts of many runs as columns."""
    names = list(runs[0].layout)
    return Layouts.of({name: np.array([run.layout[name] for run in runs]) for name in names})


def shipped() -> str:
    """The runs that come with Myriad, as CSV text."""
    return resources.files("myriad.studies").joinpath("data/training_runs.csv").read_text(encoding="utf-8")
