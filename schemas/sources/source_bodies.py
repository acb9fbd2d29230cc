"""What the body of an event from a topic of another service looks like: its JSON Schema, and an example.

Of Avro the writer's schema says it, where it is known; of JSON nothing does.
"""

from __future__ import annotations

from hookstream.schemas.body import thin_tree
from hookstream.schemas.event import EventName
from hookstream.schemas.rendering.body_schema import BodySchema, doc_of, thin_schema
from hookstream.schemas.rendering.example import example
from hookstream.schemas.rendering.json_schema import DEFINITIONS, JsonSchema, JsonSchemas
from hookstream.schemas.rendering.json_tree import JsonTree, dump
from hookstream.schemas.rendering.renderer import Renderer

from .selectors import Constant, Field, Selector
from .source import BodyKind, Source

_TEXT, _ANYTHING = "text", "as the topic has it"
_ID: JsonSchema = {"type": ["string", "integer"]}


class SourceBodies:
    """Bodies of the events of one source."""

    def __init__(self, source: Source, text: str | bytes | None) -> None:
        """`text` is the schema of the values, None where it is not known, or they are JSON.

        Raises:
            InvalidSchemaError: it is no schema that could be rendered.
        """
        self._source = source
        self._renderer = None if text is None else Renderer(text)

    def description(self, _name: EventName) -> str | None:
        """What the schema says of itself (`doc`)."""
        if self._renderer is None:
            return None
        return doc_of(self._renderer.schema.resolved(self._renderer.root))

    def since(self, _name: EventName) -> str | None:
        """Since when there is the event: a topic of another service does not say it."""
        return None

    def example(self, name: EventName) -> bytes:
        """An example of the body, always the same.

        Raises:
            InvalidSchemaError: none can be made.
        """
        source = self._source
        tree = {} if self._renderer is None else example(self._renderer)
        if source.body is BodyKind.RECORD:
            return dump(tree, "body")
        thin = thin_tree(name, _example_of(source.client, tree), _example_of(source.resource, tree), None)
        return dump(thin if source.body is BodyKind.THIN else {**thin, "data": self._chosen(tree)}, "body")

    def json_schema(self, name: EventName, refer_to: str = DEFINITIONS) -> BodySchema:
        """The JSON Schema of the body; `refer_to` is where its definitions will stand, as a reference begins."""
        source, renderer = self._source, self._renderer
        schemas = None if renderer is None else JsonSchemas(renderer.schema, refer_to=refer_to)
        if source.body is BodyKind.RECORD:
            made = {} if schemas is None or renderer is None else schemas.of(renderer.root)
        elif source.body is BodyKind.DATA:
            made = thin_schema(name, _ID, _ID, self._data_schema(schemas), data_required=True)
        else:
            made = thin_schema(name, _ID, _ID, None, data_required=False)
        definitions = {} if schemas is None else schemas.definitions
        return BodySchema({"description": self.description(name) or _ANYTHING, **made}, definitions)

    def faults(self) -> list[str]:
        """What the source wants of a value and its schema does not have; nothing where no schema is known."""
        if self._renderer is None:
            return []
        source, where = self._source, f"[{self._source.namespace}]"
        keys = {
            "event": source.event,
            "id": source.id,
            "client": source.client,
            "resource": source.resource,
            "sub_namespace": source.sub_namespace,
            "occurred_at": source.occurred_at,
        }
        paths = {f"{key} = {each}": each.path for key, each in keys.items() if isinstance(each, Field)}
        paths |= {f"fields: {field}": (field,) for field in source.fields or ()}
        return [f"{where}: {said}: the topic's schema has none" for said, path in paths.items() if not self._has(path)]

    def _has(self, path: tuple[str, ...]) -> bool:
        """Whether some value of the schema has something there; what is in a map may have any name."""
        if self._renderer is None:
            return False
        schema, nodes = self._renderer.schema, [self._renderer.root]
        for name in path:
            nodes = [branch for node in nodes for branch in (node if isinstance(node, list) else [node])]
            if any(schema.kind(node) == "map" for node in nodes):
                return True
            nodes = [schema.fields(node)[name]["type"] for node in nodes if name in schema.fields(node)]
        return bool(nodes)

    def _chosen(self, tree: JsonTree) -> JsonTree:
        fields = self._source.fields
        if fields is None or not isinstance(tree, dict):
            return tree
        return {field: tree[field] for field in fields if field in tree}

    def _data_schema(self, schemas: JsonSchemas | None) -> JsonSchema:
        """Of what is sent; of fields that are not, the schema says nothing either."""
        if schemas is None or self._renderer is None:
            return {}
        schema, fields = self._renderer.schema, self._source.fields
        if fields is None:
            return schemas.of(self._renderer.root)
        known = schema.fields(self._renderer.root)
        return {"type": "object", "properties": {f: schemas.of(known[f]["type"]) for f in fields if f in known}}


def _example_of(selector: Selector, tree: JsonTree) -> JsonTree:
    """What a selector finds in an example; a text where that is no part of it."""
    if isinstance(selector, Constant):
        return selector.text
    node = tree
    for name in selector.path if isinstance(selector, Field) else (_TEXT,):
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, str | int) else _TEXT
