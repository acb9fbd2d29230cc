"""The documents of the API: an AsyncAPI document and the webhooks of OpenAPI, beside what is really sent."""

from __future__ import annotations

import copy
import json
import re
from typing import Any, TypeAlias

import jsonschema_rs
import pytest

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.event_types import event_types
from hookstream.subscriptions.api import asyncapi
from hookstream.subscriptions.api.delivery_headers import DELIVERY_HEADERS
from hookstream.subscriptions.api.webhooks import add_webhooks
from tests.support.asyncapi_schema import asyncapi_faults, dangling, resolved
from tests.support.repository import ROOT

Json: TypeAlias = Any
CATALOGUES = {
    "shipped": Catalogue.shipped(),
    "orders": Catalogue.from_directory(ROOT / "examples" / "orders"),
    "foreign": Catalogue.from_directory(ROOT / "examples" / "foreign-topics"),
}


def asyncapi_of(domain: str) -> Json:
    document = asyncapi.document(event_types(CATALOGUES[domain], {}, shared=True), version="1")
    return json.loads(json.dumps(document))


@pytest.mark.parametrize("domain", CATALOGUES)
def test_the_asyncapi_document_is_valid_and_has_every_event(domain: str) -> None:
    document = asyncapi_of(domain)
    assert asyncapi_faults(document) == []
    assert list(document["channels"]) == list(CATALOGUES[domain].event_names)
    sent = [operation["messages"][0]["$ref"] for operation in document["operations"].values()]
    messages = [resolved(document, resolved(document, reference)["$ref"]) for reference in sent]
    assert messages == list(document["components"]["messages"].values())


@pytest.mark.parametrize("domain", CATALOGUES)
def test_examples_of_the_asyncapi_document_are_valid_by_its_schemas(domain: str) -> None:
    document = asyncapi_of(domain)
    for message in document["components"]["messages"].values():
        (example,) = message["examples"]
        for part in ("headers", "payload"):
            # Draft 7 reads nothing beside a reference, so the root refers, and the components stand beside `allOf`.
            schema = {"components": document["components"], "allOf": [message[part]]}
            jsonschema_rs.Draft7Validator(schema, validate_formats=True).validate(example[part])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("info", "version"), None),
        (("channels", "order.placed", "adress"), ""),
        (("channels", "order.placed", "messages", "order.placed", "$ref"), "#/components/messages/order.plaecd"),
        (("operations", "deliver order.placed", "action"), "post"),
        (("operations", "deliver order.placed", "bindings", "http", "method"), "post"),
        (("components", "schemas", "a b"), {}),
        (("components", "messages", "order.placed", "payload"), {"type": "text"}),
    ],
)
def test_what_would_be_wrong_with_the_asyncapi_document_is_found(path: tuple[str, ...], value: Json) -> None:
    document = asyncapi_of("orders")
    *way, last = path
    node = document
    for step in way:
        node = node[step]
    if value is None:
        del node[last]
    else:
        node[last] = value
    assert asyncapi_faults(document) != []


@pytest.mark.parametrize("domain", CATALOGUES)
def test_every_event_is_a_webhook_with_its_headers_schema_and_example(domain: str) -> None:
    document: Json = {"components": {"schemas": {"Problem": {}}}}
    add_webhooks(document, event_types(CATALOGUES[domain], {}, shared=True))
    assert dangling(document) == []
    assert list(document["webhooks"]) == list(CATALOGUES[domain].event_names)
    assert "Problem" in document["components"]["schemas"]
    for webhook in document["webhooks"].values():
        parameters = [resolved(document, each["$ref"]) for each in webhook["post"]["parameters"]]
        assert [each["name"] for each in parameters if each["required"]] == [
            header.name for header in DELIVERY_HEADERS if header.required
        ]
        content = webhook["post"]["requestBody"]["content"]["application/json"]
        schema = {**copy.deepcopy(content["schema"]), "components": document["components"]}
        jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(content["example"])


def test_the_headers_are_those_of_the_document_for_receivers_with_its_values() -> None:
    text = (ROOT / "docs" / "receivers.md").read_text()
    assert [header.name for header in DELIVERY_HEADERS] == re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)
    shown = dict(re.findall(r"^((?:webhook|hookstream)-[a-z-]+): (.+)$", text, re.MULTILINE))
    for header in DELIVERY_HEADERS:
        jsonschema_rs.validator_for(header.schema).validate(header.example)
        if header.required:
            assert shown[header.name] == str(header.example)
