"""The catalogue: the shipped entries and those of a user's folders, by name or alias.

Top of the package. Nothing is read until it is asked for, except a user's folders, whose mistakes are told at
once. A user's entry goes before a shipped one of the same name, and a later folder before an earlier one.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from myriad.catalog import files
from myriad.catalog.chips import Architecture, Chip
from myriad.catalog.fabrics import Fabric
from myriad.catalog.models import Model
from myriad.catalog.stacks import Stack
from myriad.kernel import documents
from myriad.kernel.errors import UserError, near

Entry = Chip | Architecture | Model | Fabric | Stack
T = TypeVar("T", Chip, Architecture, Model, Fabric, Stack)

TYPES: Final[Mapping[str, type[Entry]]] = {
    "chip": Chip,
    "architecture": Architecture,
    "model": Model,
    "fabric": Fabric,
    "stack": Stack,
}


class Catalog:
    """Chips, models, fabrics and stacks by name. Immutable."""

    def __init__(self, own: Mapping[tuple[str, str], Entry]) -> None:
        self._own = own

    @classmethod
    def shipped(cls) -> "Catalog":
        """What comes with Myriad."""
        return cls({})

    def with_folder(self, path: Path | str) -> "Catalog":
        """This catalogue and the entries of a folder, one YAML file each.

        Raises UserError naming file, field, value and remedy.
        """
        folder = Path(path)
        if not folder.is_dir():
            remedy = "Name a folder with one YAML file for each entry"
            raise UserError("is not a folder", field="catalog", value=str(path), remedy=remedy)
        return Catalog({**self._own, **dict(_entries(folder))})

    def chip(self, name: str) -> Chip:
        """A chip by name or alias. Raises UserError with near misses."""
        return self._find("chip", name, Chip)

    def model(self, name: str) -> Model:
        """A model by name or alias. Raises UserError with near misses."""
        return self._find("model", name, Model)

    def fabric(self, name: str) -> Fabric:
        """A fabric by name or alias. Raises UserError with near misses."""
        return self._find("fabric", name, Fabric)

    def stack(self, name: str) -> Stack:
        """A stack by name or alias, with what it inherits. Raises UserError with near misses."""
        found = self._find("stack", name, Stack)
        if not found.extends:
            return found
        inherited = self.stack(found.extends).parameters
        return msgspec.structs.replace(found, parameters={**inherited, **found.parameters})

    def architecture(self, name: str) -> Architecture:
        """A shipped architecture. Raises UserError with near misses."""
        return self._find("architecture", name, Architecture)

    def entry(self, kind: str, name: str) -> Entry:
        """An entry of a kind ("chip", "model", "fabric", "stack") by name or alias. Raises UserError."""
        lookups: Mapping[str, Callable[[str], Entry]] = {
            "chip": self.chip,
            "architecture": self.architecture,
            "model": self.model,
            "fabric": self.fabric,
            "stack": self.stack,
        }
        return lookups[kind](name)

    def names(self, kind: str) -> tuple[str, ...]:
        """Every name of a kind, in alphabetical order; aliases left out."""
        own = {name for of, name in self._own if of == kind}
        return tuple(sorted(own | set(files.shipped_names(kind))))

    def name_of(self, kind: str, name: str) -> str:
        """The name behind a name or an alias. Raises UserError with near misses."""
        if (kind, name) in self._own:
            return name
        own = (key for (of, key), entry in self._own.items() if of == kind and name in entry.aliases)
        if found := next(own, None):
            return found
        if name in files.shipped_names(kind):
            return name
        if found := self._shipped_alias(kind, name):
            return found
        remedy = near(name.lower(), self.names(kind))
        raise UserError("is not in the catalogue", field=kind, value=name, remedy=remedy)

    def shadows(self, kind: str, name: str) -> bool:
        """Whether a name stands for a user's entry where it would else stand for a shipped one."""
        if (kind, self.name_of(kind, name)) not in self._own:
            return False
        return name in files.shipped_names(kind) or self._shipped_alias(kind, name) is not None

    def _find(self, kind: str, name: str, type_: type[T]) -> T:
        key = self.name_of(kind, name)
        own = self._own.get((kind, key))
        if own is not None:
            assert isinstance(own, type_)
            return own
        return files.shipped(kind, key, type_)

    def _shipped_alias(self, kind: str, alias: str) -> str | None:
        for name in files.shipped_names(kind):
            # most files are ruled out without parsing
            text = files.shipped_text(kind, name)
            if alias in text and alias in files.shipped(kind, name, TYPES[kind]).aliases:
                return name
        return None


def _entries(folder: Path) -> Iterator[tuple[tuple[str, str], Entry]]:
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".yaml", ".yml"):
            continue
        kind, tree = files.kind_of(documents.read(path), path.name)
        yield (kind, path.stem), files.entry(tree, kind, TYPES[kind], path.name)
