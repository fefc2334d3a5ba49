"""`myriad policy`: what the brain decides by; the policies that come with Myriad, and files of one's own."""

from pathlib import Path

import click
import yaml

from myriad.cli import show
from myriad.cli.context import Context, given
from myriad.control import policyfile
from myriad.control.policy import Policy


@click.group()
def policy() -> None:
    """Show and check policies: who goes first, where gangs go, who must leave.

    \b
    Example:
      myriad policy list
      myriad policy show default > policy.yaml
      myriad up --policy policy.yaml
    """


@policy.command("list")
@show.as_json
def list_(as_json: bool) -> None:
    """List the policies that come with Myriad, and classes that installed packages announce.

    \b
    Example:
      myriad policy list
    """
    found = [(name, policyfile.summary(name)) for name in policyfile.names()]
    classes = policyfile.announced()
    if as_json:
        show.dump({"policies": dict(found), "classes": classes})
        return
    show.table(("POLICY", "WHAT IT IS"), found, empty="")
    if classes:
        click.echo("\nclasses for a policy file: " + ", ".join(classes))


@policy.command("show")
@click.argument("name", required=False)
@show.as_json
@given
def show_(context: Context, name: str | None, as_json: bool) -> None:
    """Print policy NAME as its file, with comments; without NAME, what the control plane decides by.

    \b
    Example:
      myriad policy show
      myriad policy show easy
      myriad policy show default > policy.yaml
    """
    if name is None:
        with context.client() as client:
            found = client.policy()
        if as_json:
            show.dump(found)
            return
        own = "".join(f", {section}: {one}" for section, one in found.classes.items())
        click.echo(f"# in force: {found.source}{own}")
        click.echo(policyfile.dump(found.policy), nl=False)
        return
    chosen = policyfile.choose(name)
    if as_json:
        show.dump(chosen.policy)
    elif name in policyfile.names():
        click.echo(policyfile.text(name), nl=False)
    else:
        click.echo(policyfile.dump(chosen.policy), nl=False)


@policy.command()
@click.argument("file", type=click.Path(path_type=Path))
@show.as_json
def check(file: Path, as_json: bool) -> None:
    """Read the policy in FILE as the control plane would, and say what in it is not the default.

    \b
    Example:
      myriad policy check policy.yaml
    """
    chosen = policyfile.choose(str(file))
    changed = _changed(chosen.policy)
    if as_json:
        show.dump({"changed": changed, "classes": dict(policyfile.classes(chosen))})
        return
    rows = [(name, _shown(value), _shown(default)) for name, (value, default) in changed.items()]
    show.table(("KNOB", "VALUE", "DEFAULT"), rows, empty="Every knob is at its default.")
    for section, name in policyfile.classes(chosen):
        click.echo(f"{section}.policy is the class {name}")


def _changed(given: Policy) -> dict[str, tuple[object, object]]:
    """Knob -> value and default, where they differ."""
    default = Policy()
    found: dict[str, tuple[object, object]] = {}
    for section in Policy.__struct_fields__:
        mine, theirs = getattr(given, section), getattr(default, section)
        for name in mine.__struct_fields__:
            if (value := getattr(mine, name)) != (usual := getattr(theirs, name)):
                found[f"{section}.{name}"] = (value, usual)
    return found


def _shown(value: object) -> str:
    """A value as it stands in a file."""
    return str(yaml.safe_dump(value)).partition("\n")[0]
