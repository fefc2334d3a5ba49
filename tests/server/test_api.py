"""The API describes itself: every route is in the OpenAPI document and in the guide for people."""

from pathlib import Path
from typing import Any

import msgspec

from myriad.server import openapi
from myriad.server.api import ROUTES

GUIDE = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text()


def test_every_route_is_in_the_guide() -> None:
    for route in ROUTES:
        assert f"`{route.method} {route.path}`" in GUIDE, route.path
        assert route.summary in GUIDE


def test_the_document_is_whole() -> None:
    document = msgspec.to_builtins(openapi.document(ROUTES))
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len(operations) == len(ROUTES)
    assert len({one["operationId"] for one in operations}) == len(ROUTES)
    known = document["components"]["schemas"]
    for name in _references(document):
        assert name in known, name
    assert {"Problem", "TrainingJob", "InferenceService"} <= set(known)


def _references(tree: Any) -> set[str]:
    if isinstance(tree, list):
        return set().union(*(_references(one) for one in tree))
    if not isinstance(tree, dict):
        return set()
    own = tree.get("$ref")
    found = {own.removeprefix("#/components/schemas/")} if isinstance(own, str) else set()
    return found.union(*(_references(one) for one in tree.values()))
