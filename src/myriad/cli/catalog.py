"""`myriad catalog`: the chips, models, fabrics and stacks that predictions are made of, with their sources.

Needs no control plane.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from myriad.catalog import listing
from myriad.catalog.chips import Architecture, Chip
from myriad.catalog.fabrics import Fabric
from myriad.catalog.figures import DIMENSIONS, PLAIN, Figure
from myriad.catalog.models import Model
from myriad.catalog.shelf import Catalog, Entry
from myriad.catalog.stacks import Stack
from myriad.cli import show

#: The colour of a status, wherever one is shown.
_COLOURS: Final = {"published": "green", "measured": "green", "derived": "cyan", "estimated": "yellow"}
_FEATURES: Final = (
    *("gated", "tied", "qkv_bias", "bias", "qk_norm"),
    *("attention_sinks", "embedding_norm"),
)

Cells = tuple[object, ...]


def folders_option(command: show.Command) -> show.Command:
    """The option `--catalog`, alike on every command that reads the catalogue."""
    told = "Folder with chips, models or fabrics of your own, one YAML file each; may be repeated."
    kind = click.Path(path_type=Path)
    return click.option("--catalog", "folders", type=kind, multiple=True, help=told)(command)


def opened(folders: tuple[Path, ...]) -> Catalog:
    """The shipped catalogue and these folders. Raises UserError."""
    found = Catalog.shipped()
    for folder in folders:
        found = found.with_folder(folder)
    return found


@click.group()
def catalog() -> None:
    """Show what predictions are made of, number by number.

    A number is published (by its maker), measured (by somebody), derived (from such) or estimated.

    \b
    Example:
      myriad catalog chips
      myriad catalog chips zhenwu-810e
    """


@catalog.command()
@click.argument("name", default="")
@folders_option
@show.as_json
def chips(name: str, folders: tuple[Path, ...], as_json: bool) -> None:
    """List accelerators, or every number of NAME with its source.

    \b
    Example:
      myriad catalog chips
      myriad catalog chips h100-sxm
    """
    columns = (
        "NAME",
        ">MEMORY",
        ">BANDWIDTH",
        ">PEAK",
        "AT",
        ">SCALE-UP",
        ">DOMAIN",
        ">NIC",
        ">POWER",
        "TITLE",
    )
    _tell("chip", name, folders, as_json, columns)


@catalog.command()
@click.argument("name", default="")
@folders_option
@show.as_json
def architectures(name: str, folders: tuple[Path, ...], as_json: bool) -> None:
    """List families of chips, or the shares of their peaks that NAME reaches.

    \b
    Example:
      myriad catalog architectures
      myriad catalog architectures ppu
    """
    columns = ("NAME", ">GEMM", ">ATTENTION", ">MEMORY", ">SCALE-UP", ">NIC", "STATUS", "TITLE")
    _tell("architecture", name, folders, as_json, columns)


@catalog.command()
@click.argument("name", default="")
@folders_option
@show.as_json
def models(name: str, folders: tuple[Path, ...], as_json: bool) -> None:
    """List model architectures, or every number of NAME with its source.

    \b
    Example:
      myriad catalog models
      myriad catalog models deepseek-v3
    """
    columns = (
        "NAME",
        ">PARAMETERS",
        ">ACTIVE",
        ">LAYERS",
        ">HIDDEN",
        ">HEADS",
        "ATTENTION",
        ">EXPERTS",
        "TITLE",
    )
    _tell("model", name, folders, as_json, columns)


@catalog.command()
@click.argument("name", default="")
@folders_option
@show.as_json
def fabrics(name: str, folders: tuple[Path, ...], as_json: bool) -> None:
    """List ways to wire nodes, or every number of NAME with its source.

    \b
    Example:
      myriad catalog fabrics
      myriad catalog fabrics hpn-7
    """
    columns = ("NAME", ">SCALE-UP", ">A CHIP", ">PLANES", ">LEVELS", ">REACH", ">CROWDED", "TITLE")
    _tell("fabric", name, folders, as_json, columns)


@catalog.command()
@click.argument("name", default="")
@folders_option
@show.as_json
def stacks(name: str, folders: tuple[Path, ...], as_json: bool) -> None:
    """List software stacks, or every number of NAME with its source.

    \b
    Example:
      myriad catalog stacks
      myriad catalog stacks reference
    """
    _tell("stack", name, folders, as_json, ("NAME", ">YEAR", ">NUMBERS", "TITLE"))


def _tell(kind: str, name: str, folders: tuple[Path, ...], as_json: bool, columns: tuple[str, ...]) -> None:
    found = opened(folders)
    if name:
        key = found.name_of(kind, name)
        entry = found.entry(kind, key)
        if as_json:
            show.dump(_as_tree(key, entry))
        else:
            _entry(key, entry)
        return
    entries = {key: found.entry(kind, key) for key in found.names(kind)}
    if as_json:
        show.dump([_as_tree(key, entry) for key, entry in entries.items()])
        return
    show.table(columns, (_CELLS[kind](key, entry) for key, entry in entries.items()), empty="")
    if kind in ("chip", "fabric"):
        click.echo("~ estimated; sources: name one")


def _entry(name: str, entry: Entry) -> None:
    facts = _facts(entry)
    show.pairs(
        [
            ("name", name),
            ("title", entry.title),
            ("aliases", ", ".join(entry.aliases)),
            *((key.replace("_", " "), value) for key, value in facts.items()),
        ]
    )
    click.echo()
    show.table(
        ("NUMBER", ">VALUE", "STATUS", ">80 % INTERVAL", "SOURCE"),
        (_row(row) for row in listing.rows(entry)),
        empty="No numbers yet.",
    )


def _row(row: listing.Row) -> Cells:
    figure = row.figure
    bounds = [_bound(bound, row) for bound in (figure.low, figure.high)]
    interval = " to ".join(bounds) if any(bounds) else ""
    status = Text(figure.status, style=_COLOURS[figure.status])
    return row.field, listing.show(figure.value, row.measures), status, interval, figure.source


def _bound(bound: float | None, row: listing.Row) -> str:
    return "" if bound is None else listing.show(bound, row.measures)


def _as_tree(name: str, entry: Entry) -> dict[str, Any]:
    """An entry for programs: numbers in SI, and as people read them."""
    return {
        "name": name,
        "title": entry.title,
        "aliases": entry.aliases,
        **_facts(entry),
        "numbers": [_number(row) for row in listing.rows(entry)],
    }


def _number(row: listing.Row) -> dict[str, Any]:
    figure = row.figure
    return {
        "field": row.field,
        "value": figure.value,
        "low": figure.low,
        "high": figure.high,
        "shown": listing.show(figure.value, row.measures),
        "status": figure.status,
        "source": figure.source,
    }


def _facts(entry: Entry) -> Mapping[str, Any]:
    """What an entry says that is no number with a source."""
    if isinstance(entry, Model):
        features = [name.replace("_", " ") for name in _FEATURES if getattr(entry, name)]
        return {"attention": entry.attention, "norm": entry.norm, "features": ", ".join(features)}
    if isinstance(entry, Chip):
        return {"architecture": entry.architecture, "fabric": entry.fabric, "stack": entry.stack}
    if isinstance(entry, Fabric):
        return {"levels": ", ".join(level.name for level in entry.levels)}
    return {"year": entry.year} if isinstance(entry, Stack) else {}


def _brief(figure: Figure, measure: str = "") -> str:
    mark = "~" if figure.status == "estimated" else ""
    return mark + listing.show(figure.value, DIMENSIONS.get(measure, PLAIN))


def _chip(name: str, chip: Chip) -> Cells:
    return (
        name,
        _brief(chip.memory_bytes, "_bytes"),
        _brief(chip.memory_bytes_per_s, "bytes_per_s"),
        _brief(chip.training_flops, "flops"),
        chip.training_precision,
        _brief(chip.scale_up_bytes_per_s, "bytes_per_s"),
        _brief(chip.scale_up_domain),
        _brief(chip.nic_bytes_per_s, "bytes_per_s"),
        _brief(chip.power_w, "_w"),
        chip.title,
    )


def _architecture(name: str, entry: Architecture) -> Cells:
    own = entry.parameters
    shares = (own.gemm_share, own.attention_share, own.memory_share, own.scale_up_share, own.nic_share)
    return name, *(_brief(share, "_share") for share in shares), own.gemm_share.status, entry.title


def _model(name: str, model: Model) -> Cells:
    experts = f"{model.moe.top_k} of {model.moe.experts}" if model.moe else "-"
    heads = f"{model.heads}/{model.kv_heads}"
    counts = (_billions(model.parameters), _billions(model.active_parameters), model.layers, model.hidden)
    return name, *counts, heads, model.attention, experts, model.title


def _billions(parameters: int) -> str:
    return f"{parameters / 1e9:,.2f} B"


def _fabric(name: str, fabric: Fabric) -> Cells:
    inner, outer = fabric.levels[0], fabric.levels[-1]
    return (
        name,
        _brief(fabric.scale_up_domain) if fabric.scale_up_domain else "-",
        _brief(inner.bytes_per_s, "bytes_per_s"),
        _brief(fabric.planes),
        len(fabric.levels),
        _brief(outer.chips),
        _brief(outer.oversubscription) + ":1",
        fabric.title,
    )


def _stack(name: str, stack: Stack) -> Cells:
    return name, stack.year, len(stack.parameters), stack.title


_CELLS: Final[Mapping[str, Callable[[str, Any], Cells]]] = {
    "chip": _chip,
    "architecture": _architecture,
    "model": _model,
    "fabric": _fabric,
    "stack": _stack,
}
