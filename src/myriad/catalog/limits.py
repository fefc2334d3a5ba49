"""Limits that a figure's unit does not set: capacities and rates are more than zero, counts are whole.

Between `figures` and `files`, on the tree as it was written, so that an error can show what stands there.
"""

from collections.abc import Iterator
from typing import Any, Final

from myriad.catalog import figures
from myriad.catalog.figures import PLAIN, Dimension
from myriad.kernel.errors import UserError

#: Kinds of entry whose figures are all capacities, rates, counts and shares of these, latencies left out.
_POSITIVE: Final = ("chip", "architecture", "fabric")
#: Figures of these that count something.
_COUNTS: Final = frozenset({"chips_per_node", "scale_up_domain", "chips", "planes"})


def check(tree: Any, kind: str, field: str) -> None:
    """Raises UserError naming field, value and remedy. Every quantity of `tree` must be readable."""
    if kind not in _POSITIVE:
        return
    for path, name, measures, figure in _figures(tree, field, "", PLAIN):
        for end in ("value", "low", "high"):
            written = figure.get(end)
            if written is None:
                continue
            number = figures.quantity(written, measures, f"{path}.{end}")
            if name in _COUNTS and not (number >= 1 and number == int(number)):
                problem, remedy = "must be a whole number, 1 or more", "Write for example 8"
            elif number <= 0 and not name.endswith("latency_s"):
                example = 1 if measures is PLAIN else measures.example
                problem, remedy = "must be more than zero", f"Write for example {example}"
            else:
                continue
            raise UserError(problem, field=f"{path}.{end}", value=written, remedy=remedy)


def _figures(
    tree: Any, path: str, name: str, measures: Dimension
) -> Iterator[tuple[str, str, Dimension, dict[str, Any]]]:
    """Figures of a tree: path, name, what each measures, and what was written."""
    if isinstance(tree, list):
        for number, item in enumerate(tree):
            yield from _figures(item, f"{path}[{number}]", name, measures)
    elif isinstance(tree, dict):
        if "value" in tree:
            yield path, name, measures, tree
            return
        for key, item in tree.items():
            inner = figures.dimension(str(key), measures)
            yield from _figures(item, f"{path}.{key}", str(key), inner)
