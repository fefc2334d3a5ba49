"""The OpenAPI document, made from the route table and the types in it: nothing is written twice."""

import re
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import msgspec

from myriad.server.problems import Problem
from myriad.server.routing import ROLES, Route

_PART = re.compile(r"\{(\w+)\}")


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """OpenAPI 3.1 of the routes."""
    types = [Problem]
    for route in routes:
        types += [
            kind for kind in (route.body, route.answer) if kind is not None and not isinstance(kind, str)
        ]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    known = {repr(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, known)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Myriad", "version": metadata.version("myriad")},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, known: dict[str, Any]) -> dict[str, Any]:
    media = route.answer if isinstance(route.answer, str) else "application/json"
    schema = {"type": "string"} if isinstance(route.answer, str) else known[repr(route.answer)]
    problem = {"application/problem+json": {"schema": known[repr(Problem)]}}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": re.sub(r"\W+", "_", f"{route.method} {route.path}").strip("_").lower(),
        "parameters": _parameters(route),
        "responses": {
            str(route.status): {"description": "done", "content": {media: {"schema": schema}}},
            "default": {"description": "what is wrong, and the remedy", "content": problem},
        },
    }
    if route.access != "open":
        operation["security"] = [{"key": []}]
        operation["description"] = f"Roles: {', '.join(ROLES[route.access])}."
    if route.body is not None:
        content = {"application/json": {"schema": known[repr(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    text = {"type": "string"}
    parts = [
        {"name": name, "in": "path", "required": True, "schema": text} for name in _PART.findall(route.path)
    ]
    return parts + [
        {"name": name, "in": "query", "required": False, "schema": text, "description": words}
        for name, words in route.query.items()
    ]
