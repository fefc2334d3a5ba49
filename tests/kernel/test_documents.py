"""Errors of documents: a value that is not one of a few names those there are."""

from typing import Any

import pytest

from myriad.fleet.site import Site
from myriad.kernel import documents
from myriad.kernel.errors import UserError
from myriad.workload import files


@pytest.mark.parametrize(
    ("tree", "field", "told"),
    [
        ({"within": "racks"}, "j: within", "is not one of its values (got 'racks'). Did you mean rack?"),
        ({"priority": "urgent"}, "j: priority", "Known: high, low, normal"),
        ({"launch": "gpu"}, "j: launch", "Known: chip, node"),
        ({"nodes": {"min": 1, "max": "4"}}, "j: nodes.max", "Expected `int`"),
        ({"deadline": "soon"}, "j", "deadline: 'soon' is not understood"),
    ],
)
def test_values_of_a_few(tree: dict[str, Any], field: str, told: str) -> None:
    whole = {"kind": "training", "name": "a", "tenant": "b", "nodes": 1, "command": ["x"], **tree}
    with pytest.raises(UserError) as caught:
        files.from_tree(whole, "j")
    assert caught.value.field == field and told in str(caught.value)


def test_a_number_or_a_word() -> None:
    tree = {"name": "s", "chip": "local-cpu", "pods": [{"name": "p", "racks": 1, "nodes_per_rack": 2}]}
    with pytest.raises(
        UserError, match=r"s: spares: is not one of its values \(got 'autto'\). Did you mean auto"
    ):
        documents.convert(tree | {"spares": "autto"}, Site, "s")
