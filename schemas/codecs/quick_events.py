"""Which writers' schemas have events that can be read field by field."""

from __future__ import annotations

from collections.abc import Mapping

from hookstream.schemas.avro_schema import AvroSchema, Node
from hookstream.schemas.event_schema import NAME_FIELD, TIME_FIELD, EventMeaning

from .event_bytes import EventReader

# The fields of an event without data, as nearly every schema has them, and their types where those are given.
_FIELDS = {"id": "string", NAME_FIELD: "enum", "client": None, "concept": "record", TIME_FIELD: "long"}
_CONCEPT_FIELDS = {"id": None, "sub_namespace": "union"}


def quick_reader(writer: AvroSchema, namespace: str, meaning: EventMeaning) -> EventReader | None:
    """What reads the records of a schema that has the fields of an event and no others, in their order; else None."""
    fields = writer.fields(writer.root)
    if not _has_just(writer, fields, _FIELDS):
        return None
    concept = writer.fields(fields["concept"]["type"])
    if not _has_just(writer, concept, _CONCEPT_FIELDS):
        return None
    ids = [writer.kind(field["type"]) for field in (fields["client"], concept["id"])]
    branches = [writer.kind(branch) for branch in writer.resolved(concept["sub_namespace"]["type"])]
    if not {"long", "string"}.issuperset(ids) or sorted(branches) != ["null", "string"]:
        return None
    return EventReader(
        namespace,
        meaning.names,
        per_ms=meaning.per_ms,
        client_is_text=ids[0] == "string",
        concept_is_text=ids[1] == "string",
        text_index=branches.index("string"),
    )


def _has_just(schema: AvroSchema, fields: Mapping[str, Node], wanted: Mapping[str, str | None]) -> bool:
    """Whether these are the fields that are wanted, in their order and of their types."""
    kinds = {name: schema.kind(field["type"]) for name, field in fields.items()}
    return list(kinds) == list(wanted) and all(kind in (None, kinds[name]) for name, kind in wanted.items())
