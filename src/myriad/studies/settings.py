"""`key.path=value`: what is changed in a scenario from the command line, for one run or along a sweep.

A path is that of the scenario file (`section.key.key`, a number for an item of a list), with short forms:
`order`, `placement`, `backfill`, `preemption`, `elastic`, `recover` and `route` stand for `policy.…`, and
`spares` as well as `recover.spares` for `site.spares` (nodes, or percent of them: see `twin.scenario`).
"""

import copy
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

from myriad.control.policy import Policy
from myriad.kernel import documents
from myriad.kernel.errors import UserError

_PATH: Final = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*")
SPARES: Final = ("site", "spares")
#: The options that settings are written after.
SET: Final = "--set"
VARY: Final = "--vary"


class Setting(NamedTuple):
    """One value in its place."""

    path: tuple[str, ...]
    value: Any
    #: As it was written: `recover.spares=0.5%`.
    text: str


class Varied(NamedTuple):
    """A path and the values it takes in turn."""

    name: str  # as it was written
    settings: tuple[Setting, ...]


#: What one point of a grid changes, in the order of `--vary`.
Variation = tuple[Setting, ...]


def parse(text: str, option: str) -> Setting:
    """A setting of `key.path=value`. Raises UserError naming the option."""
    name, equals, value = text.partition("=")
    _check(name, equals, value, text, option)
    return Setting(_full(name.strip()), _value(value, text, option), f"{name.strip()}={value.strip()}")


def parse_varied(text: str, option: str) -> Varied:
    """The values along one axis: `key.path=a,b,c`. Commas inside brackets do not part values."""
    name, equals, values = text.partition("=")
    _check(name, equals, values, text, option)
    parts = _parted(values)
    if "" in parts:
        remedy = "Write the values with one comma between them, for example recover.spares=0,1%,2%"
        raise UserError("has an empty value", field=option, value=text, remedy=remedy)
    if len(set(parts)) < len(parts):
        raise UserError("names a value twice", field=option, value=text, remedy="Leave one out")
    return Varied(name.strip(), tuple(parse(f"{name}={part}", option) for part in parts))


def grid(varied: Sequence[Varied]) -> list[Variation]:
    """Every combination, the last axis changing fastest; one empty variation when nothing is varied."""
    seen: list[tuple[str, ...]] = []
    for axis in varied:
        path = axis.settings[0].path
        if path in seen:
            remedy = "Give each path once, with all its values"
            raise UserError("is varied twice", field=VARY, value=axis.name, remedy=remedy)
        seen.append(path)
    return list(product(*(axis.settings for axis in varied)))


def applied(tree: Mapping[str, Any], settings: Sequence[Setting], source: str) -> dict[str, Any]:
    """A copy of a scenario's tree with the settings in it. Raises UserError where a path leads nowhere.

    Whether the scenario knows the keys is said when it is read.
    """
    found = copy.deepcopy(dict(tree))
    for setting in settings:
        _put(found, setting, source)
    return found


def _check(name: str, equals: str, value: str, text: str, option: str) -> None:
    if not equals or not value.strip() or not _PATH.fullmatch(name.strip()):
        remedy = "Write key.path=value, for example recover.spares=1%"
        raise UserError("is no setting", field=option, value=text, remedy=remedy)


def _full(name: str) -> tuple[str, ...]:
    """The path in the scenario that a written one stands for."""
    if name in ("spares", "recover.spares", "policy.recover.spares"):
        return SPARES
    path = tuple(name.split("."))
    return ("policy", *path) if path[0] in Policy.__struct_fields__ else path


def _value(text: str, whole: str, option: str) -> Any:
    """The value as YAML reads it."""
    try:
        (found,) = documents.documents(f"value: {text.strip()}", option)
        return found["value"]
    except (UserError, ValueError, KeyError):
        remedy = "Write the value as it would stand in the file"
        raise UserError("has a value that is no YAML", field=option, value=whole, remedy=remedy) from None


def _parted(values: str) -> list[str]:
    parts, depth = [""], 0
    for letter in values:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _put(tree: dict[str, Any], setting: Setting, source: str) -> None:
    place: Any = tree
    for depth, key in enumerate(setting.path):
        last = depth == len(setting.path) - 1
        where = f"{source}: {'.'.join(setting.path[: depth + 1])}"
        if isinstance(place, list):
            if not key.isdigit() or int(key) >= len(place):
                remedy = f"Give a number from 0 to {len(place) - 1}"
                raise UserError("is no item of a list", field=where, value=key, remedy=remedy)
            index: Any = int(key)
        elif isinstance(place, dict):
            # a mapping of sizes has numbers as its keys
            index = int(key) if key.isdigit() and int(key) in place else key
        else:
            raise UserError("is inside of something that has no parts", field=where, value=setting.text)
        if last:
            place[index] = copy.deepcopy(setting.value)
        elif isinstance(place, dict):
            if place.get(index) is None:
                place[index] = {}
            place = place[index]
        else:
            place = place[index]
