"""What `simulate`, `sweep` and `twin check` share: the scenario with its changes, and the stamp of a run."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

import myriad
from myriad.kernel.errors import UserError
from myriad.studies import settings, simulation
from myriad.studies.settings import SET, Setting
from myriad.studies.simulation import Case
from myriad.twin import scenario

Command = Callable[..., Any]


def changing(command: Command) -> Command:
    """The options that change a scenario, alike on every command that plays one."""
    for option in (
        click.option(
            "--set",
            "sets",
            multiple=True,
            metavar="KEY.PATH=VALUE",
            help="Change a setting of the scenario, for example recover.spares=1%.",
        ),
        click.option("--policy", metavar="NAME|FILE", help="Lay what this policy says over the scenario's."),
        click.option("--days", type=float, help="Simulate so many days, not the scenario's span."),
    ):
        command = option(command)
    return command


def changed(case: Case, days: float | None, policy: str | None, sets: Sequence[str]) -> Case:
    """The case with what the options say. Raises UserError."""
    if policy:
        tree = simulation.policy_tree(policy, Path())
        tree = scenario.over(case.policy(), tree)
        case = case.set([Setting(("policy",), tree, f"policy={policy}")])
    case = case.set([settings.parse(text, SET) for text in sets])
    return simulation.for_days(case, days)


def folder(path: Path | None) -> Path | None:
    """A folder for a report, made before anything is simulated. Raises UserError."""
    if path is None:
        return None
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "result.json").touch()
    except OSError as error:
        raise UserError(error.strerror or str(error), field="--report", value=str(path)) from None
    return path


def commit() -> str:
    """The commit of the code that runs, `+` after it when files differ; empty outside of a git tree."""
    here = Path(myriad.__file__).parent
    found = _git(here, "rev-parse", "--short=12", "HEAD")
    if not found or not _git(here, "ls-files", "__init__.py"):
        return ""
    return found + "+" * bool(_git(here, "status", "--porcelain", "--untracked-files=no", "."))


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def stamp(*words: str) -> str:
    """The first line of a run: what names it exactly."""
    code = commit()
    return " · ".join([*words, f"commit {code}" if code else "no commit"])
