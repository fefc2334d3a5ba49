"""`myriad plan`: which layout, how long, how sure, at what cost; for training, serving, chips compared.

Needs no control plane. The answers come from `performance`; `training_plan`, `compared_plan` and
`serving_plan` print them.
"""

from pathlib import Path
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from myriad.catalog.shelf import Catalog
from myriad.cli import quantities, show
from myriad.cli.catalog import folders_option, opened
from myriad.kernel.errors import UserError

#: Options that say something about one way of asking only.
_SERVING = ("slo", "input", "output", "load")
_TRAINING = (
    "compare", "chips", "tokens", "sequence", "global_batch", "reliability", "layout", "price", "zero_bubble",
)  # fmt: skip
#: Options that say something about a whole run, which `tokens` make.
_RUN = ("reliability", "price")
_MOST_SHOWN = 100


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
@click.option("--chips", default="", help="How many, such as 16384 or 16k.")
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
@click.option("--top", default="5", show_default=True, help="Layouts to show, 100 at most.")
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
    top: str,
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
    asked = Asked(input=input_, top=_top(top), **said)
    _check(asked, serve)
    catalog = opened(folders)
    if serve:
        fits = _serve(asked, catalog, explain, plot, as_json)
    elif asked.compare:
        fits = _compare(asked, catalog, plot, as_json)
    else:
        fits = _train(asked, catalog, explain, plot, as_json)
    if plot and not as_json:
        click.echo(f"\nwritten to {plot}")
    if not fits:
        click.get_current_context().exit(1)


def _serve(asked: Asked, catalog: Catalog, explain: bool, plot: Path | None, as_json: bool) -> bool:
    from myriad.cli import serving_plan

    found = serving_plan.made(asked, catalog)
    if plot:
        from myriad.studies import serving_page

        title = f"{found.model} served on {found.chip}"
        told = serving_plan.question(found, asked)
        _write(plot, serving_page.render(found.plan, title, {name: said for name, said in told if said}))
    serving_plan.tell(found, asked, explain=explain, as_json=as_json)
    return found.plan.best is not None


def _train(asked: Asked, catalog: Catalog, explain: bool, plot: Path | None, as_json: bool) -> bool:
    from myriad.cli import training_plan

    found = training_plan.made(asked, asked.chip, catalog)
    if plot:
        from myriad.studies import plan_page

        _write(plot, plan_page.render(found, currency(asked)))
    if as_json:
        show.dump(found)
    else:
        training_plan.tell(found, asked, explain)
    return found.best is not None and found.best.fits


def _compare(asked: Asked, catalog: Catalog, plot: Path | None, as_json: bool) -> bool:
    from myriad.cli import compared_plan

    found = compared_plan.made(asked, _compared(asked.compare), catalog)
    if plot:
        from myriad.studies import compared_page

        _write(plot, compared_page.render(found.plans, found.common, currency(asked)))
    if as_json:
        show.dump(compared_plan.tree(found))
    else:
        compared_plan.tell(found, asked)
    return any(one.best for one in found.plans)


def _compared(text: str) -> list[str]:
    """The chips to compare. Raises UserError unless they are two or more, each named once."""
    names = [name.strip() for name in text.split(",")]
    problem = ""
    if not all(names):
        problem = "has an empty part"
    elif len(names) < 2:
        problem = "names one chip only"
    elif len(set(names)) < len(names):
        problem = "names a chip twice"
    if problem:
        raise UserError(problem, field="--compare", value=text, remedy="Write for example h20,h100-sxm")
    return names


def _top(text: str) -> int:
    found = quantities.whole(text, "top", "5")
    if found > _MOST_SHOWN:
        raise UserError(
            f"is more than {_MOST_SHOWN}", field="top", value=text, remedy=f"Write {_MOST_SHOWN} or less"
        )
    return found


def _check(asked: Asked, serve: bool) -> None:
    """Raises UserError where options are missing, empty, or do not go together."""
    context = click.get_current_context()
    for name, value in asked._asdict().items():
        given = context.get_parameter_source("input_" if name == "input" else name)
        if value == "" and given is ParameterSource.COMMANDLINE:
            field = f"--{name.replace('_', '-')}"
            raise UserError("is empty", field=field, remedy="Write something after it, or leave it out")
    for name in _TRAINING if serve else _SERVING:
        if getattr(asked, name):
            remedy = "Leave it out" if serve else "Add --serve, or leave it out"
            if serve and name == "chips":
                remedy = "Leave it out: a service is told how many it needs for a --load"
            problem = "does not go with --serve" if serve else "is about a service"
            raise UserError(
                problem, field=f"--{name.replace('_', '-')}", value=getattr(asked, name), remedy=remedy
            )
    if asked.compare and (asked.chip or asked.layout):
        field = "--chip" if asked.chip else "--layout"
        raise UserError("does not go with --compare", field=field, remedy="Leave one of them out")
    needed = ["model"] + (["chip"] if serve or not asked.compare else []) + ([] if serve else ["chips"])
    for name in needed + (["slo", "input", "output"] if serve else []):
        if not getattr(asked, name):
            raise UserError("is missing", field=f"--{name}", remedy="See `myriad plan --help` for an example")
    for name in _RUN:
        if getattr(asked, name) and not asked.tokens:
            raise UserError(
                "says something about a whole run, and --tokens are missing",
                field=f"--{name}", value=getattr(asked, name), remedy="Add for example --tokens 15.6T",
            )  # fmt: skip


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
