"""`myriad twin check`: seed after seed of faults with every checker on."""

import click

from myriad.cli import progress, scenarios, show
from myriad.studies import executors, seeds
from myriad.studies.executors import Work
from myriad.studies.seeds import Finding

#: Findings that are printed in full.
_MOST_TOLD = 10


@click.group()
def twin() -> None:
    """Look after the twin itself: does it keep its laws?

    \b
    Example:
      myriad twin check --seeds 200
    """


@twin.command()
@click.option("--seeds", "count", type=click.IntRange(1), default=200, show_default=True, help="How many.")
@click.option("--first-seed", type=click.IntRange(0), default=0, show_default=True, help="The first of them.")
@click.option("--until-failure", is_flag=True, help="Go on until a seed fails, however many it takes.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Processes; as many as cores by default.")
@show.as_json
@click.pass_context
def check(
    ctx: click.Context, count: int, first_seed: int, until_failure: bool, jobs: int | None, as_json: bool
) -> None:
    """Break small sites in every way, seed by seed, with every checker on. Exit code 1 when a law fails.

    A failing seed is printed with its commit and the command that replays it.

    \b
    Example:
      myriad twin check --seeds 200
      myriad twin check --first-seed 1000 --until-failure
    """
    executor = executors.Local(jobs or 0)
    if not as_json:
        click.echo(scenarios.stamp("twin check", _range(first_seed, None if until_failure else count)))
    total = None if until_failure else count
    with progress.bar("seeds", total, "seeds") as tell:
        found = seeds.farm(
            work(),
            executor,
            first_seed,
            total,
            until_failure=until_failure,
            on_done=lambda done, failed: tell(done, f"{failed} failed" if failed else ""),
        )
    failed = [one for one in found if one.problem]
    if as_json:
        show.dump(
            {
                "commit": scenarios.commit(),
                "checked": len(found),
                "failed": [_told(one) for one in failed],
                "marks": {mark: count for mark, count, _ in seeds.marks(found)},
            }
        )
    else:
        _tell(found, failed)
    if failed:
        ctx.exit(1)


def work() -> Work:
    """What checks one seed."""
    return seeds.check_twin


def _range(first: int, count: int | None) -> str:
    return f"seeds from {first} on" if count is None else f"seeds {first} to {first + count - 1}"


def replay(seed: int) -> str:
    """The command that does one seed again."""
    return f"myriad twin check --seeds 1 --first-seed {seed}"


def _told(one: Finding) -> dict[str, object]:
    return {"seed": one.seed, "problem": one.problem, "story": one.story, "replay": replay(one.seed)}


def _tell(found: list[Finding], failed: list[Finding]) -> None:
    code = scenarios.commit() or "no commit"
    for one in failed[:_MOST_TOLD]:
        click.echo(f"\nseed {one.seed} fails at {code}: {one.problem}")
        if one.story:
            click.echo(f"  {one.story}")
        click.echo(f"  replay: {replay(one.seed)}")
    more = [str(one.seed) for one in failed[_MOST_TOLD:]]
    if more:
        click.echo("\nso do seeds " + ", ".join(more[:100]) + (" …" if len(more) > 100 else ""))
    if len(found) > 1:
        click.echo("\nwhat happened in them, and in how many:")
        for mark, times, seen in seeds.marks(found):
            click.echo(f"  {mark:<28}{times:>10,}{seen:>7,}")
    click.echo(f"\n{len(found):,} seeds checked, {len(failed):,} failed")
