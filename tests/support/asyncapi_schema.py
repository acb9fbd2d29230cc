"""AsyncAPI 3.0.0 as a JSON Schema: the objects that hookstream's document may have, strictly, with every fixed field.

The official schema (`3.0.0.json` of the npm package `@asyncapi/specs`) is 400 kB, most of it bindings of other
protocols. What is here was written from the tables of the specification, so an unknown field, a missing one or one of
a wrong type is found, as it is there.

Source: AsyncAPI Specification 3.0.0; HTTP bindings 0.3.0; JSON Schema draft 7.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import jsonschema_rs

Json: TypeAlias = Any

_TEXT = {"type": "string"}
_ANY: Json = {}
_REFERENCE = {"type": "object", "properties": {"$ref": {"type": "string", "format": "uri-reference"}},
              "required": ["$ref"], "additionalProperties": False}  # fmt: skip
_SCHEMA = {"$ref": "http://json-schema.org/draft-07/schema#"}
_EXTENSIONS = {"^x-[\\w\\d.\\-]+$": _ANY}
_COMPONENT_NAME = "^[a-zA-Z0-9._-]+$"


def _object(fields: Json, *required: str) -> Json:
    return {
        "type": "object",
        "properties": fields,
        "patternProperties": _EXTENSIONS,
        "required": list(required),
        "additionalProperties": False,
    }


def _map(values: Json, names: str = "") -> Json:
    return {"type": "object", "propertyNames": {"pattern": names}, "additionalProperties": values}


def _or_reference(kind: Json) -> Json:
    return {"if": {"required": ["$ref"]}, "then": _REFERENCE, "else": kind}


_EXTERNAL_DOCS = _object({"url": {"type": "string", "format": "uri"}, "description": _TEXT}, "url")
_TAGS = {
    "type": "array",
    "items": _object({"name": _TEXT, "description": _TEXT, "externalDocs": _EXTERNAL_DOCS}, "name"),
    "uniqueItems": True,
}
_ABOUT = {"title": _TEXT, "summary": _TEXT, "description": _TEXT, "tags": _TAGS, "externalDocs": _EXTERNAL_DOCS}
_HTTP = _object(
    {
        "method": {"enum": ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"]},
        "query": _SCHEMA,
        "bindingVersion": {"enum": ["0.2.0", "0.3.0"]},
    }
)
_EXAMPLE = {
    **_object({"name": _TEXT, "summary": _TEXT, "headers": {"type": "object"}, "payload": _ANY}),
    "anyOf": [{"required": ["headers"]}, {"required": ["payload"]}],
}
_MESSAGE = _object(
    {
        **_ABOUT,
        "name": _TEXT,
        "contentType": _TEXT,
        "correlationId": _object({"location": {"type": "string", "pattern": "^\\$message\\.(header|payload)#(/.*)*"},
                                  "description": _TEXT}, "location"),
        "headers": _SCHEMA,
        "payload": _SCHEMA,
        "examples": {"type": "array", "items": _EXAMPLE},
    }
)  # fmt: skip
_CHANNEL = _object({**_ABOUT, "address": {"type": ["string", "null"]}, "messages": _map(_or_reference(_MESSAGE))})
_OPERATION = _object(
    {
        **_ABOUT,
        "action": {"enum": ["send", "receive"]},
        "channel": _REFERENCE,
        "messages": {"type": "array", "items": _REFERENCE},
        "bindings": _object({"http": _HTTP}),
    },
    "action",
    "channel",
)
ASYNCAPI_3_0: Json = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    **_object(
        {
            "asyncapi": {"const": "3.0.0"},
            "id": {"type": "string", "format": "uri"},
            "info": _object({**_ABOUT, "version": _TEXT, "termsOfService": _TEXT}, "title", "version"),
            "defaultContentType": _TEXT,
            "channels": _map(_or_reference(_CHANNEL)),
            "operations": _map(_or_reference(_OPERATION)),
            "components": _object(
                {
                    "schemas": _map(_SCHEMA, _COMPONENT_NAME),
                    "messages": _map(_or_reference(_MESSAGE), _COMPONENT_NAME),
                }
            ),
        },
        "asyncapi",
        "info",
    ),
}


def asyncapi_faults(document: Json) -> list[str]:
    """What is wrong with a document: by its schema, and references that lead nowhere."""
    validator = jsonschema_rs.Draft7Validator(ASYNCAPI_3_0, validate_formats=True)
    found = [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(document)]
    return found + [f"{reference} leads nowhere" for reference in dangling(document)]


def dangling(document: Json) -> list[str]:
    """The references within a document that lead nowhere in it."""
    return [each for each in _references(document) if resolved(document, each) is None]


def resolved(document: Json, reference: str) -> Json:
    """What a reference leads to; None: nothing."""
    node = document
    for step in reference.removeprefix("#/").split("/"):
        node = node.get(step) if isinstance(node, dict) else None
    return node if re.match("#/", reference) else None


def _references(node: Json) -> list[str]:
    if isinstance(node, list):
        return [found for each in node for found in _references(each)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [found for each in node.values() for found in _references(each)]
