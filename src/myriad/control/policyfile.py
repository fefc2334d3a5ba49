"""Policy files: the knobs of the brain by name or from a file, and the classes that such a file names.

A policy of one's own is a class with the methods of its protocol (schedule/policy.py). A file names it by its
entry point in the group `myriad.policies`, as `package.module:Class`, or as `file.py:Class` beside the file.
"""

import inspect
import sys
from collections.abc import Collection, Iterator
from importlib import import_module, metadata, resources, util
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from myriad.control.policy import Own, Policy
from myriad.kernel import documents
from myriad.kernel.errors import UserError, near
from myriad.schedule import order, place, preempt

#: Where packages announce policies: `[project.entry-points."myriad.policies"]`.
GROUP: Final = "myriad.policies"
_SUFFIXES: Final = (".yaml", ".yml", ".json")


class Chosen(NamedTuple):
    """What a policy file says, with the classes it names."""

    policy: Policy
    own: Own
    source: str  # its name or file, for people


class _Kind(NamedTuple):
    """A section whose policy may be a class of one's own."""

    section: str
    built_in: Collection[str]
    methods: tuple[str, ...]  # what the class must have


_KINDS: Final = (
    _Kind("order", order.BUILT_IN, ("tenant_key", "ask_key")),
    _Kind("placement", place.BUILT_IN, ("choose",)),
    _Kind("preemption", (*preempt.BUILT_IN, "none"), ("cost",)),
)


# ---- those that come with Myriad -----------------------------------------------------------------


def names() -> list[str]:
    """Policies that come with Myriad, the default first."""
    found = sorted(item.name.removesuffix(".yaml") for item in _folder().iterdir())
    return ["default", *(name for name in found if name != "default")]


def text(name: str) -> str:
    """The file of one of them."""
    return _folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def summary(name: str) -> str:
    """Its first line."""
    return text(name).partition("\n")[0].removeprefix("# ")


def announced() -> list[str]:
    """Classes that installed packages announce."""
    return sorted({entry.name for entry in metadata.entry_points(group=GROUP)})


def _folder() -> Traversable:
    return resources.files("myriad.control").joinpath("policies")


# ---- reading -------------------------------------------------------------------------------------


def choose(word: str) -> Chosen:
    """A policy by name, or from a file. Raises UserError naming the field."""
    if word in names():
        return parse(text(word), word)
    path = Path(word)
    if path.suffix in _SUFFIXES or path.exists():
        return parse(documents.read(path), word, path.parent)
    remedy = near(word, names()) + " Or give a file such as policy.yaml"
    raise UserError("is no policy that comes with Myriad", field="policy", value=word, remedy=remedy)


def parse(content: str, source: str, folder: Path | None = None) -> Chosen:
    """A policy from its YAML text; `folder` is where `file.py:Class` is looked for."""
    trees = list(documents.documents(content, source))
    if len(trees) > 1:
        raise UserError("holds several documents", field=source, remedy="Write one policy a file")
    return from_tree(trees[0], source, folder)


def from_tree(tree: dict[str, Any], source: str, folder: Path | None = None) -> Chosen:
    """A policy from plain mappings."""
    policy = documents.convert(tree, Policy, source)
    found = {kind.section: _own(kind, policy, source, folder) for kind in _KINDS}
    return Chosen(policy, Own(**found), source)


def dump(policy: Policy) -> str:
    """A policy as its file."""
    return yaml.safe_dump(msgspec.to_builtins(policy), sort_keys=False)


# ---- classes of one's own ------------------------------------------------------------------------


def _own(kind: _Kind, policy: Policy, source: str, folder: Path | None) -> Any:
    """An object of the class that the section names; None: its policy comes with Myriad."""
    word: str = getattr(policy, kind.section).policy
    if word in kind.built_in:
        return None
    field = f"{source}: {kind.section}.policy"
    found = _class(word, field, kind, folder)
    missing = [name for name in kind.methods if not callable(getattr(found, name, None))]
    if missing or not inspect.isclass(found):
        problem = f"has no method {missing[0]}" if missing else "is not a class"
        remedy = f"A policy of this section has {' and '.join(kind.methods)}: docs/policies.md"
        raise UserError(problem, field=field, value=word, remedy=remedy)
    try:
        return found()
    except TypeError as error:
        remedy = "Give its arguments defaults"
        raise UserError(f"cannot be made: {error}", field=field, value=word, remedy=remedy) from None


def _class(word: str, field: str, kind: _Kind, folder: Path | None) -> Any:
    module, colon, name = word.partition(":")
    if not colon:
        return _announced(word, field, kind)
    try:
        place = _beside(folder or Path(), module) if module.endswith(".py") else import_module(module)
    except (ImportError, SyntaxError, OSError) as error:
        remedy = "Name a module that this Python finds, or a file.py beside the policy file"
        raise UserError(f"cannot be imported: {error}", field=field, value=word, remedy=remedy) from None
    if not hasattr(place, name):
        classes = [one for one, value in vars(place).items() if inspect.isclass(value)]
        raise UserError("is not in the module", field=field, value=word, remedy=near(name, classes))
    return getattr(place, name)


def _announced(word: str, field: str, kind: _Kind) -> Any:
    for entry in metadata.entry_points(group=GROUP, name=word):
        try:
            return entry.load()
        except (ImportError, AttributeError, SyntaxError) as error:
            raise UserError(f"cannot be loaded: {error}", field=field, value=word) from None
    remedy = near(word, [*kind.built_in, *announced()]) + " Or name a class: package.module:Class"
    raise UserError("is not a policy", field=field, value=word, remedy=remedy)


def _beside(folder: Path, name: str) -> Any:
    """The module in a file beside the policy file."""
    path = folder / name
    spec = util.spec_from_file_location(f"myriad_own_{path.stem}", path)
    assert spec and spec.loader, path
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def classes(chosen: Chosen) -> Iterator[tuple[str, str]]:
    """Section and class of each policy of one's own, for people."""
    for section, own in chosen.own._asdict().items():
        if own is not None:
            yield section, f"{type(own).__module__}.{type(own).__name__}"
