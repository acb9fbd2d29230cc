"""An example of each successful answer in the OpenAPI document, put together from what its fields say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_JSON: Final = "application/json"
_REF: Final = "#/components/schemas/"
# What a field without an example of its own has, by its format or type.
_FORMATS: Final[Mapping[str, Any]] = {"date-time": "2026-03-04T05:06:07Z", "uri": "https://example.com/hooks"}
_TYPES: Final[Mapping[str, Any]] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}
# What fields are called everywhere in the API, where they say nothing of themselves.
_NAMES: Final[Mapping[str, Any]] = {
    "client.id": 434,
    "concept.id": 17,
    "client": 434,
    "concept_id": 17,
    "event": "lead.new",
    "namespace": "lead",
    "target": "https://example.com/hooks",
    "delivery_id": "msg_9c6ab7d9d32c0ec43cb78817069fe1f2",
    "delivery.id": "msg_9c6ab7d9d32c0ec43cb78817069fe1f2",
    "receipt.id": "0197e3a8-7c1e-7b52-9c1a-2f6a0d1b3c4d",
    "dead_letter.reason": "rejected",
    "dead_letter.status": 422,
    "last_error.status": 503,
    "status": 204,
    "detail": "the receiver answered 422 four times",
    "job": "replay-7",
    "replay": "replay-7",
    "topic": "events.lead",
    "answer": "no such lead",
    "created_by": "operator",
    "actor": "operator",
    "next_cursor": "eyJhZnRlciI6MTd9",
    "secret": "whsec_ZXhhbXBsZSBvZiBhIHNlY3JldCwgbm90IG9uZQ==",
}
_AT_MS: Final = 1_772_600_767_000
_DURATION_MS: Final = 27
_DEEPEST: Final = 12


def add_answer_examples(document: dict[str, Any]) -> None:
    """Put an example beside the schema of each 2xx answer that has none."""
    schemas: Mapping[str, Any] = document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                content = answer.get("content", {}).get(_JSON)
                if (
                    status.startswith("2")
                    and content
                    and content.get("schema")
                    and not content.keys() & {"example", "examples"}
                ):
                    content["example"] = example_of(content["schema"], schemas)


def example_of(
    schema: Mapping[str, Any], schemas: Mapping[str, Any], path: tuple[str, ...] = (), depth: int = 0
) -> Any:  # noqa: ANN401 - JSON
    """A value of a JSON Schema (2020-12, as pydantic writes it), from its examples, constants and defaults.

    A field that says nothing is known by its name, and the name of what it is in. Optional parts are shown; of
    alternatives the first that is not null. A part that holds itself ends with null.
    """
    if depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].removeprefix(_REF)], schemas, path, depth + 1)
    given = [*schema.get("examples", ()), *schema.get("enum", ()), *map(schema.get, ("example", "const", "default"))]
    if (value := next((one for one in given if one is not None), None)) is not None:
        return value
    if alternatives := [one for key in ("anyOf", "oneOf", "allOf") for one in schema.get(key, ())]:
        chosen = next((one for one in alternatives if one.get("type") != "null"), alternatives[0])
        return example_of(chosen, schemas, path, depth + 1)
    return _of_type(schema, schemas, path, depth)


def _of_type(schema: Mapping[str, Any], schemas: Mapping[str, Any], path: tuple[str, ...], depth: int) -> Any:  # noqa: ANN401 - JSON
    kind = schema.get("type", "")
    if kind == "object":
        fields = schema.get("properties", {}).items()
        return {name: example_of(part, schemas, (*path, name), depth + 1) for name, part in fields}
    if kind == "array":
        return [example_of(schema["items"], schemas, path, depth + 1)] if "items" in schema else []
    named = _named(path, kind)
    return _FORMATS.get(schema.get("format", ""), _TYPES.get(kind)) if named is None else named


def _named(path: tuple[str, ...], kind: str) -> Any:  # noqa: ANN401 - JSON
    """What a field of this name has, if it is of this type."""
    name = path[-1] if path else ""
    if kind in {"integer", "number"} and name.endswith("_ms"):
        return _DURATION_MS if name == "duration_ms" else _AT_MS
    found = _NAMES.get(".".join(path[-2:]), _NAMES.get(name))
    return found if isinstance(found, {"string": str, "integer": int}.get(kind, ())) else None
