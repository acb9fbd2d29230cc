"""What the body of an event looks like: its JSON Schema, and an example that is valid by it. Of envelopes.

The thin body says what happened to which resource; where the envelope has a field `data`, the body has it too.
"""

from __future__ import annotations

from typing import NamedTuple

from hookstream.schemas.avro_schema import Node
from hookstream.schemas.body import thin_tree
from hookstream.schemas.event import EventName
from hookstream.schemas.event_schema import DATA_FIELD, event_name
from hookstream.schemas.symbol_docs import SymbolDoc, symbol_docs

from .example import example
from .json_schema import DEFINITIONS, JsonSchema, JsonSchemas
from .renderer import Renderer

NULLABLE_TEXT: JsonSchema = {"type": ["string", "null"]}


class BodySchema(NamedTuple):
    """The JSON Schema of a body, and the named types that it refers to, by name."""

    schema: JsonSchema
    definitions: dict[str, JsonSchema]

    def whole(self) -> JsonSchema:
        """In one, where it refers to `DEFINITIONS`."""
        return {**self.schema, **({"$defs": self.definitions} if self.definitions else {})}


class EnvelopeBodies:
    """Bodies of the events of one namespace that an envelope describes."""

    def __init__(self, namespace: str, text: str | bytes) -> None:
        """`text` is the envelope, which was checked.

        Raises:
            InvalidSchemaError: it is no schema that could be rendered.
        """
        self._namespace = namespace
        self._renderer = Renderer(text)
        schema = self._renderer.schema
        self._fields = schema.fields(self._renderer.root)
        self._concept = schema.fields(self._fields["concept"]["type"])
        docs = symbol_docs(schema.resolved(self._fields["event"]["type"]))
        self._docs = {event_name(namespace, symbol): doc for symbol, doc in docs.items()}

    def description(self, name: EventName) -> str | None:
        """What the envelope says of the event, or else of itself (`doc`)."""
        own = self._symbol_doc(name).doc
        return own or doc_of(self._renderer.schema.resolved(self._renderer.root))

    def since(self, name: EventName) -> str | None:
        """Since when there is the event, as the envelope says it."""
        return self._symbol_doc(name).since

    def example(self, name: EventName) -> bytes:
        """An example of the body, always the same.

        Raises:
            InvalidSchemaError: none can be made.
        """
        tree = example(self._renderer)
        data = {DATA_FIELD: tree[DATA_FIELD]} if DATA_FIELD in self._fields else {}
        return self._renderer.render({**thin_tree(name, tree["client"], tree["concept"]["id"], None), **data}, "body")

    def json_schema(self, name: EventName, refer_to: str = DEFINITIONS) -> BodySchema:
        """The JSON Schema of the body; `refer_to` is where its definitions will stand, as a reference begins."""
        schemas = JsonSchemas(self._renderer.schema, refer_to=refer_to)
        client, concept_id = schemas.of(self._fields["client"]["type"]), schemas.of(self._concept["id"]["type"])
        data = schemas.of(self._fields[DATA_FIELD]["type"]) if DATA_FIELD in self._fields else None
        required = data is not None and "default" not in self._fields[DATA_FIELD]
        made = thin_schema(name, client, concept_id, data, data_required=required)
        description = self.description(name)
        return BodySchema({**({"description": description} if description else {}), **made}, schemas.definitions)

    def _symbol_doc(self, name: EventName) -> SymbolDoc:
        return self._docs.get(name, SymbolDoc())


def doc_of(node: Node) -> str | None:
    """What a type says of itself (`doc`), if it can and does."""
    doc = node.get("doc") if isinstance(node, dict) else None
    return doc if isinstance(doc, str) and doc else None


def thin_schema(
    name: EventName, client: JsonSchema, concept_id: JsonSchema, data: JsonSchema | None, *, data_required: bool
) -> JsonSchema:
    """The JSON Schema of the thin body, with `data` or without."""
    namespace = name.partition(".")[0]
    concept = {"id": concept_id, "namespace": {"const": namespace}, "sub_namespace": NULLABLE_TEXT}
    properties: JsonSchema = {
        "event": {"const": name},
        "client": client,
        "concept": {"type": "object", "properties": concept, "required": list(concept)},
    }
    required = [*properties, DATA_FIELD] if data_required else list(properties)
    if data is not None:
        properties[DATA_FIELD] = data
    return {"type": "object", "properties": properties, "required": required}
