"""Schemas that refer to others in the registry: made whole, they read what the undivided schema wrote."""

from __future__ import annotations

import io
import json

import fastavro
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from hookstream.producers.schema_references import whole_text
from hookstream.schemas.avro_schema import whole_text as joined
from hookstream.schemas.rendering.renderer import Renderer
from tests.support.avro_references import SplitSchema
from tests.support.avro_values import Encoded, Expected, Schema, Values, record_schemas


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(record_schemas(), st.data())
def test_a_schema_in_pieces_reads_what_fastavro_reads_with_the_whole_one(schema: Schema, data: st.DataObject) -> None:
    named: dict[str, Schema] = {}
    parsed = fastavro.parse_schema(schema, named)
    value = data.draw(st.composite(lambda draw: Values(draw, named).of(parsed))())
    encoded = Encoded(named).of(parsed, value)
    read = fastavro.schemaless_reader(io.BytesIO(encoded), parsed, None)
    split = SplitSchema(schema, lambda: data.draw(st.sampled_from([True, True, True, False])))
    event(f"{min(split.count, 4)} references")
    renderer = Renderer(whole_text("a schema", split.root, split.fetch))
    assert json.loads(renderer.render(renderer.read(encoded))) == Expected(named).of(parsed, value, read)


def test_every_type_that_can_stand_alone_is_taken_out() -> None:
    def a_record(name: str, *types: object) -> Schema:
        fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(types)]
        return {"type": "record", "name": name, "namespace": "com", "fields": fields}

    leaf = {"type": "enum", "name": "Leaf", "namespace": "com.deep", "symbols": ["A"]}
    inner = a_record("Inner", leaf, ["null", "com.Outer"])
    outer = a_record("Outer", inner, ["null", "com.Outer"])
    split = SplitSchema(a_record("Root", outer, "com.deep.Leaf", "com.Inner"), lambda: True)
    assert split.count == 2, "Leaf, and Outer with Inner, which refers back to it"
    whole = joined(
        split.root.schema_str or "", [split.fetch(name, 1).schema_str or "" for name in ("com.deep.Leaf", "com.Outer")]
    )
    assert json.loads(whole)["fields"][0]["type"]["name"] == "com.Outer"
