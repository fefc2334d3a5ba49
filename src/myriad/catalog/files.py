"""Files of the catalogue: one entry each, read when somebody asks for it and kept.

Between `figures` and the kinds of entry. A file says its kind by its one top-level key (`chip:`, `model:`,
...); the entry's name is that of the file. Shipped files lie in a folder for each kind beside this module.
"""

import re
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final, TypeVar

import msgspec

from myriad.catalog import figures, limits
from myriad.kernel import documents
from myriad.kernel.errors import UserError, near

T = TypeVar("T", bound=msgspec.Struct)

#: Kind, as a file says it, and its folder beside this module.
KINDS: Final = {
    "chip": "chips",
    "architecture": "architectures",
    "model": "models",
    "fabric": "fabrics",
    "stack": "stacks",
}
SUFFIX: Final = ".yaml"


def kind_of(text: str, source: str) -> tuple[str, Any]:
    """The kind and the raw tree of the entry in a file. Raises UserError unless it is exactly one."""
    trees = list(documents.documents(text, source))
    keys = [str(key) for tree in trees for key in tree]
    if len(keys) != 1:
        remedy = f"Write one of {', '.join(f'{kind}:' for kind in KINDS)} and the entry's fields under it"
        raise UserError(f"must hold one entry, not {len(keys)}", field=source, remedy=remedy)
    if keys[0] not in KINDS:
        raise UserError(
            "is not a kind of entry", field=f"{source}: {keys[0]}", remedy=near(keys[0], list(KINDS))
        )
    return keys[0], trees[0][keys[0]]


def entry(tree: Any, kind: str, type_: type[T], source: str) -> T:
    """A raw tree as an entry of `type_`, in SI. Raises UserError naming file, field, value and remedy."""
    problems: list[UserError] = []
    settled = figures.settle(tree, f"{source}: {kind}", problems)
    try:
        found = documents.convert(settled, type_, f"{source}: {kind}")
    except UserError as error:
        # what cannot be read is told unless the field itself is wrong, which comes first
        if problems and not error.problem.startswith("is "):
            raise problems[0] from None
        field = error.field.replace(f"{source}: {kind}: ", f"{source}: {kind}.")
        problem, remedy = _explained(error, tree, type_)
        raise UserError(problem, field=field, value=error.value, remedy=remedy) from None
    if problems:
        raise problems[0]
    limits.check(tree, kind, f"{source}: {kind}")
    return found


def _explained(error: UserError, tree: Any, type_: type) -> tuple[str, str]:
    """Problem and remedy of what does not convert, in the words of the catalogue."""
    if not isinstance(tree, dict):
        return "must be a mapping of fields", "Write title: and the other fields under it"
    if error.problem.startswith("Expected `object`"):
        return "must be a figure", "Write {value: ..., status: ..., source: ...}"
    if unknown := re.search(r"Invalid enum value '([^']*)'", error.problem):
        return f"{unknown[1]!r} is not one of the words allowed here", near(unknown[1], _words(type_))
    return error.problem, error.remedy or "Compare with a shipped entry: myriad catalog"


def _words(type_: type) -> set[str]:
    """Every word that some field of a struct type is limited to."""
    found: set[str] = set()

    def visit(info: Any) -> None:
        if isinstance(info, msgspec.inspect.LiteralType):
            found.update(str(word) for word in info.values)
        for field in getattr(info, "fields", ()):
            visit(field.type)
        for part in getattr(info, "types", ()):
            visit(part)
        for name in ("key_type", "value_type", "item_type"):
            if hasattr(info, name):
                visit(getattr(info, name))

    visit(msgspec.inspect.type_info(type_))
    return found


def parse(text: str, kind: str, type_: type[T], source: str) -> T:
    """The entry of a file that must be of this kind. Raises UserError."""
    found, tree = kind_of(text, source)
    if found != kind:
        raise UserError(f"must be a {kind}", field=f"{source}: {found}", remedy=f"Begin it with {kind}:")
    return entry(tree, kind, type_, source)


@cache
def shipped_names(kind: str) -> tuple[str, ...]:
    """Names of the entries that come with Myriad, in alphabetical order."""
    found = (item.name for item in _folder(kind).iterdir())
    return tuple(sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX)))


@cache
def shipped_text(kind: str, name: str) -> str:
    """The text of one shipped file."""
    return _folder(kind).joinpath(name + SUFFIX).read_text(encoding="utf-8")


def shipped(kind: str, name: str, type_: type[T]) -> T:
    """A shipped entry by its name. `name` must be one of `shipped_names`."""
    found = _shipped(kind, name, type_)
    assert isinstance(found, type_)
    return found


@cache
def _shipped(kind: str, name: str, type_: type[Any]) -> object:
    return parse(shipped_text(kind, name), kind, type_, f"{KINDS[kind]}/{name}{SUFFIX}")


@cache
def _folder(kind: str) -> Traversable:
    return resources.files("myriad.catalog").joinpath(KINDS[kind])
