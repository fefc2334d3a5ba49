"""`myriad plan`: which layout, how long, how sure, at what cost; for training, serving, chips compared.

Needs no control plane. The answers come from `performance`; `training_plan` and `serving_plan` print them.
"""

from pathlib import Path
from typing import Any, NamedTuple

import click

from myriad.catalog.shelf import Catalog
from myriad.cli import quantities, show
from myriad.cli.catalog import folders_option, opened
from myriad.kernel.errors import UserError

#: Options that say something about one way of asking only.
_SERVING = ("slo", "input", "output", "load")
_TRAINING = ("tokens", "sequence", "global_batch", "reliability", "layout", "price", "compare", "zero_bubble")


class Asked(NamedTuple):
    """The options as they were written; empty where nobody said anything."""

    model: str
    chip: str
    chips: str
    tokens: str
    compare: str
    fabric: str
    stack: str
    sequence: str
    global_batch: str
    precision: str
    reliability: str
    price: str
    layout: str
    top: int
    zero_bubble: bool
    slo: str
    input: str
    output: str
    load: str


@click.command(short_help="Plan training or serving: layout, time, memory, cost.")
@click.option("--model", default="", help="A model of the catalogue.")
@click.option("--chip", default="", help="A chip of the catalogue.")
@click.option("--chips", default="", help="How many.")
@click.option("--tokens", default="", help="Tokens of the whole run, such as 15.6T: days, energy and cost.")
@click.option("--compare", default="", metavar="CHIP,CHIP", help="Several chips side by side.")
@click.option("--fabric", default="", help="The network between nodes (by default the chip's usual one).")
@click.option("--stack", default="", help="The software (by default the chip's usual one).")
@click.option("--sequence", default="", help="Tokens of a sequence.")
@click.option("--global-batch", default="", help="Such as 16M-tokens or 2048-sequences.")
@click.option("--precision", default="bf16", show_default=True, help="Of matrix products: bf16, fp8 or fp4.")
@click.option("--reliability", default="", help="Failures per 1,000 chip-days, or MTBF of a chip (2000d).")
@click.option("--price", default="", help="Of a chip-hour, such as 2.50USD.")
@click.option("--layout", default="", help="Only this one, such as tp=8,pp=16,vpp=8,mb=1.")
@click.option("--zero-bubble", is_flag=True, help="Pipeline schedules without a bubble may be used too.")
@click.option("--top", type=click.IntRange(1, 100), default=5, show_default=True, help="Layouts to show.")
@click.option("--serve", is_flag=True, help="Plan a service instead of a training run.")
@click.option("--slo", default="", help="Of a service, such as ttft=1s,tpot=50ms.")
@click.option("--input", "input_", default="", help="Tokens of a prompt.")
@click.option("--output", default="", help="Tokens of an answer.")
@click.option("--load", default="", help="Requests, such as 10/s (by default what one replica can take).")
@click.option("--explain", is_flag=True, help="Also every input that is estimated, and what each does.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.html", help="Also draw it.")
@folders_option
@show.as_json
def plan(
    serve: bool,
    explain: bool,
    plot: Path | None,
    folders: tuple[Path, ...],
    as_json: bool,
    input_: str,
    **said: Any,
) -> None:
    """Tell which layout is best, how long it takes, how sure that is, and why others are not.

    Every legal layout is predicted. Ranges hold with 80 % probability; what is estimated is named.

    \b
    Example:
      myriad plan --model llama3-405b --chip h100-sxm --chips 16384 --tokens 15.6T
      myriad plan --model qwen3-235b-a22b --chip zhenwu-810e --chips 8192 --explain
      myriad plan --compare zhenwu-810e,h20,h100-sxm --model deepseek-v3 --chips 4096
      myriad plan --serve --model llama3-70b --chip zhenwu-810e --slo ttft=1s,tpot=50ms \\
          --input 2000 --output 500
    """
    asked = Asked(input=input_, **said)
    _check(asked, serve, plot)
    catalog = opened(folders)
    if serve:
        from myriad.cli import serving_plan

        serving_plan.tell(serving_plan.made(asked, catalog), asked, explain=explain, as_json=as_json)
    elif asked.compare:
        _compare(asked, catalog, as_json)
    else:
        _train(asked, catalog, explain, plot, as_json)


def _train(asked: Asked, catalog: Catalog, explain: bool, plot: Path | None, as_json: bool) -> None:
    from myriad.cli import training_plan

    found = training_plan.made(asked, asked.chip, catalog)
    if plot:
        from myriad.studies import plan_page

        _write(plot, plan_page.render(found))
    if as_json:
        show.dump(found)
    else:
        training_plan.tell(found, asked, explain)
    if plot and not as_json:
        click.echo(f"\nwritten to {plot}")


def _compare(asked: Asked, catalog: Catalog, as_json: bool) -> None:
    from myriad.cli import training_plan

    names = [name.strip() for name in asked.compare.split(",") if name.strip()]
    found = [training_plan.made(asked, name, catalog, halvings=0) for name in dict.fromkeys(names)]
    if as_json:
        show.dump(found)
    else:
        training_plan.compare(found, asked)


def _check(asked: Asked, serve: bool, plot: Path | None) -> None:
    """Raises UserError where options are missing or do not go together."""
    needed = ["model"] + (["chip"] if serve or not asked.compare else []) + ([] if serve else ["chips"])
    for name in needed + (["slo", "input", "output"] if serve else []):
        if not getattr(asked, name):
            raise UserError("is missing", field=f"--{name}", remedy="See `myriad plan --help` for an example")
    for name in _TRAINING if serve else _SERVING:
        if getattr(asked, name):
            remedy = "Leave it out" if serve else "Add --serve, or leave it out"
            problem = "does not go with --serve" if serve else "is about a service"
            raise UserError(
                problem, field=f"--{name.replace('_', '-')}", value=getattr(asked, name), remedy=remedy
            )
    if asked.compare and (asked.chip or asked.layout or plot):
        field = "--chip" if asked.chip else "--layout" if asked.layout else "--plot"
        raise UserError("does not go with --compare", field=field, remedy="Leave one of them out")
    if serve and plot:
        raise UserError("does not go with --serve", field="--plot", remedy="Use --json")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            reason, field="--plot", value=str(path), remedy="Name a file that can be written"
        ) from None


def currency(asked: Asked) -> str:
    """The currency of `--price`; empty without one."""
    return quantities.price(asked.price).currency if asked.price else ""
