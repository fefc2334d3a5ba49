"""Scenarios are made of parts: a section is a mapping, the path of a file, or `from: path` with changes.

Paths are relative to the file they stand in. What a file says and its user changes are merged key by key;
lists are replaced.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from myriad.control import policyfile
from myriad.kernel import documents
from myriad.kernel.errors import UserError

#: Sections that are no mapping.
_PLAIN: Final = ("name", "about", "start", "span")
_FROM: Final = "from"


def composed(path: Path) -> dict[str, Any]:
    """The scenario of a file with every part in place. Raises UserError naming file and field."""
    tree: dict[str, Any] = _document(path)
    return {
        name: value if name in _PLAIN else _section(name, value, path.parent, f"{path}: {name}")
        for name, value in tree.items()
    }


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` in it, key by key."""
    found = dict(base)
    for key, value in changes.items():
        before = found.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            found[key] = merged(before, value)
        else:
            found[key] = value
    return found


def _section(name: str, value: Any, folder: Path, field: str) -> Any:
    if isinstance(value, str):
        return _named(name, value, folder)
    if isinstance(value, dict) and _FROM in value:
        named = value[_FROM]
        if not isinstance(named, str):
            raise UserError("must be the path of a file", field=f"{field}.{_FROM}", value=named)
        changes = {key: inner for key, inner in value.items() if key != _FROM}
        return merged(_named(name, named, folder), changes)
    return value


def _named(name: str, word: str, folder: Path) -> dict[str, Any]:
    """The mapping that a section's word stands for: a file, or a policy that comes with Myriad."""
    if name == "policy":
        return policy(word, folder)
    path = folder / word
    found = _section(name, _document(path), path.parent, str(path))
    assert isinstance(found, dict)
    return found


def policy(word: str, folder: Path) -> dict[str, Any]:
    """The tree of a policy that comes with Myriad, or of a file; classes beside it get their folder."""
    if word in policyfile.names():
        (tree,) = documents.documents(policyfile.text(word), word)
        return tree
    path = folder / word
    tree = _document(path)
    for section in tree.values():
        own = section.get("policy") if isinstance(section, dict) else None
        if isinstance(own, str) and ".py:" in own:
            section["policy"] = str(path.parent / own)
    return tree


def _document(path: Path) -> dict[str, Any]:
    trees = list(documents.documents(documents.read(path), str(path)))
    if len(trees) > 1:
        raise UserError("holds several documents", field=str(path), remedy="Write one a file")
    return trees[0]
