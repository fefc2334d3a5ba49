"""Documents people write: YAML or JSON text into typed values, with errors that name field and remedy.

Every file format of the system (sites, jobs, services, tenants, scenarios, catalogue) comes through
here, so every one of them gives the same quality of error.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from myriad.kernel.errors import UserError, near

T = TypeVar("T")

_PATH = re.compile(r"^(?P<text>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")
_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_NUMBER_FOR_TEXT = re.compile(r"Expected `str(?: \| null)?`, got `(int|float)`")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but `3e-4` is a number, as in YAML 1.2 and as everybody means it."""


#: The same in C, where the library is there.
_Fast: Any = type("_Fast", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})

for _loader in (_Loader, _Fast):
    _loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )


def read(path: Path) -> str:
    """The text of a file. Raises UserError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            reason, field="file", value=str(path), remedy="Check the path and its permissions"
        ) from None
    except UnicodeDecodeError:
        raise UserError("is not UTF-8 text", field="file", value=str(path)) from None


def documents(text: str, source: str) -> Iterator[dict[str, Any]]:
    """The mappings of a (multi-document) YAML or JSON text. Raises UserError naming line and column."""
    try:
        found = [item for item in _loaded(text) if item is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
        problem = getattr(error, "problem", None) or "is not valid YAML"
        raise UserError(str(problem), field=where, remedy="Mend the YAML there") from None
    if not found:
        raise UserError("holds no document", field=source, remedy="Write at least one mapping")
    for item in found:
        if not isinstance(item, dict):
            raise UserError("must be a mapping of fields", field=source, value=type(item).__name__)
        yield item


def _loaded(text: str) -> list[Any]:
    try:
        return list(yaml.load_all(text, Loader=_Fast))
    except yaml.YAMLError:
        # the reader in Python says better where the mistake is
        return list(yaml.load_all(text, Loader=_Loader))


def convert(tree: Any, type_: type[T], source: str) -> T:
    """`tree` as a value of `type_` (a msgspec struct). Raises UserError naming the field."""
    try:
        return msgspec.convert(tree, type=type_)
    except msgspec.ValidationError as error:
        raise _explained(str(error), tree, type_, source) from None


def _explained(message: str, tree: Any, type_: type, source: str) -> UserError:
    match = _PATH.match(message)
    assert match, message
    text, path = match["text"], (match["path"] or "$").removeprefix("$").removeprefix(".")
    value = _at(tree, path)
    if unknown := _UNKNOWN.search(text):
        name = unknown[1]
        field = f"{path}.{name}" if path else name
        return UserError("is not a known field", field=f"{source}: {field}", remedy=_near(name, type_, path))
    if missing := _MISSING.search(text):
        field = f"{path}.{missing[1]}" if path else missing[1]
        return UserError("is required", field=f"{source}: {field}", remedy="Add it")
    if _NUMBER_FOR_TEXT.search(text):
        remedy = f"If it is a quantity it needs a unit (for example {value}s, {value}GiB)"
        remedy += f'; if it is a text, quote it: "{value}"'
        return UserError("needs a unit or quotes", field=f"{source}: {path}", value=value, remedy=remedy)
    remedy = near(str(value), choices) if (choices := _choices(type_, path)) else ""
    if choices:
        text = "is not one of its values"
    return UserError(text, field=f"{source}: {path}" if path else source, value=value, remedy=remedy)


def _near(name: str, type_: type, path: str) -> str:
    """Near misses among the fields that may stand there; else among all."""
    here = [field.encode_name for info in _at_path(type_, path) for field in getattr(info, "fields", ())]
    told, anywhere = near(name, here), near(name, _names(type_))
    return anywhere if anywhere.startswith("Did") and not told.startswith("Did") else told


def _choices(type_: type, path: str) -> list[str]:
    """The texts that may stand at a path, if only some may."""
    literal = [one for one in _at_path(type_, path) if isinstance(one, msgspec.inspect.LiteralType)]
    return [str(value) for one in literal for value in one.values if value] if literal else []


def _at_path(type_: type, path: str) -> list[Any]:
    """The types that a value at a msgspec path may have."""
    infos: list[Any] = [msgspec.inspect.type_info(type_)]
    for part in re.findall(r"[^.\[\]]+", path):
        infos = [inner for info in infos for inner in _inside(info, part)]
    return [one for info in infos for one in getattr(info, "types", (info,))]


def _inside(info: Any, part: str) -> Iterator[Any]:
    """Types of the field, the items or the values of a type."""
    for one in getattr(info, "types", (info,)):
        if isinstance(one, msgspec.inspect.StructType):
            yield from (field.type for field in one.fields if field.encode_name == part)
        else:
            yield from (getattr(one, name) for name in ("item_type", "value_type") if hasattr(one, name))


def _at(tree: Any, path: str) -> Any:
    """The value at a msgspec path such as `replicas.min` or `pods[0].racks`; None for a mapping."""
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(tree, dict):
            tree = tree.get(part)
        elif isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return None
    return tree if not isinstance(tree, dict | list) else None


def _names(type_: type) -> list[str]:
    """Every field name reachable from a struct type, for near misses."""
    names: list[str] = []
    seen: list[Any] = []

    def visit(info: Any) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in seen:
                return
            seen.append(info.cls)
            for field in info.fields:
                names.append(field.encode_name)
                visit(field.type)
        for part in getattr(info, "types", ()):
            visit(part)
        for name in ("item_type", "value_type"):
            if hasattr(info, name):
                visit(getattr(info, name))

    visit(msgspec.inspect.type_info(type_))
    return names
