"""The text of a first schema for a new kind of resource: hookstream's envelope, to be edited by people."""

from __future__ import annotations

import json
from collections.abc import Sequence

from .errors import InvalidEnvelopeError, InvalidSchemaError
from .event_schema import NOTICES, RESERVED, WHAT_A_NAMESPACE_IS, check_event_schema, is_namespace


def new_envelope(namespace: str, symbols: Sequence[str], *, text_ids: bool, data: bool) -> str:
    """The text of `<namespace>.avsc` with these events; with `data`, a record that people add fields to.

    Raises:
        InvalidEnvelopeError: the namespace or a symbol cannot be one.
    """
    if namespace == NOTICES:
        raise InvalidSchemaError(RESERVED)
    if not is_namespace(namespace):
        raise InvalidEnvelopeError(namespace, [WHAT_A_NAMESPACE_IS])
    what = "".join(part[:1].upper() + part[1:] for part in namespace.replace("-", "_").split("_"))
    id_type = "string" if text_ids else "long"
    fields: list[dict[str, object]] = [
        _field(
            "id", {"type": "string", "logicalType": "uuid"}, "Identifies the event for ever; canonical lower-case UUID."
        ),
        _field(
            "event",
            {"type": "enum", "name": f"{what}EventSymbol", "symbols": list(symbols)},
            f"The event is named {namespace}.<symbol>. Symbols are added, never removed or renamed.",
        ),
        _field("client", id_type, f"The client whose {namespace} it is."),
        _field("concept", _concept(namespace, what, id_type), "The resource that the event is about."),
        _field("occurred_at", {"type": "long", "logicalType": "timestamp-millis"}, "When it happened."),
    ]
    if data:
        example = _field("note", ["null", "string"], "An example of a field.") | {"default": None}
        record = {"type": "record", "name": f"{what}Data", "fields": [example]}
        fields.append(_field("data", ["null", record], "What integrators get beside the ids.") | {"default": None})
    schema = {
        "type": "record",
        "name": f"{what}Event",
        "namespace": "events",
        "doc": f"Something happened to one {namespace} of one client.",
        "fields": fields,
    }
    text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    check_event_schema(namespace, text.encode())
    return text


def _field(name: str, kind: object, doc: str) -> dict[str, object]:
    return {"name": name, "type": kind, "doc": doc}


def _concept(namespace: str, what: str, id_type: str) -> dict[str, object]:
    closer = _field("sub_namespace", ["null", "string"], f"A closer type of the {namespace}, where there is one.")
    fields = [_field("id", id_type, "Unique within client and namespace."), closer | {"default": None}]
    return {"type": "record", "name": f"{what}Concept", "fields": fields}
