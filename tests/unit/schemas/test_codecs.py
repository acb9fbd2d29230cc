"""Values to bytes and back: golden bytes, round trips, and what an event's symbol means across schema versions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.catalogue import Catalogue, InternalSchema
from hookstream.schemas.codecs.attempts import attempt_decoder, attempt_encoder
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder, dead_letter_encoder
from hookstream.schemas.codecs.deliveries import delivery_decoder, delivery_encoder
from hookstream.schemas.codecs.endpoint_settings import endpoint_settings_decoder, endpoint_settings_encoder
from hookstream.schemas.codecs.events import event_decoder, event_encoder
from hookstream.schemas.codecs.hooks import notice_decoder, notice_encoder, subscription_decoder, subscription_encoder
from hookstream.schemas.errors import InvalidValueError, UndecodableError, UnknownEventError
from hookstream.schemas.event import Concept, Event, EventName
from hookstream.schemas.hook import HookState
from hookstream.schemas.new_envelope import new_envelope
from hookstream.schemas.wire import record_writer
from tests.support import values
from tests.support.values import Schemas

CATALOGUE = Catalogue.shipped()
PROPERTY, SUBSCRIPTION, DELIVERY, ATTEMPT, DEAD_LETTER, NOTICE, CONTROL = range(1, 8)
SCHEMAS = Schemas(
    {
        PROPERTY: CATALOGUE.schema_text("property"),
        SUBSCRIPTION: InternalSchema.SUBSCRIPTION.text,
        DELIVERY: InternalSchema.DELIVERY.text,
        ATTEMPT: InternalSchema.ATTEMPT.text,
        DEAD_LETTER: InternalSchema.DEAD_LETTER.text,
        NOTICE: InternalSchema.NOTICE.text,
        CONTROL: InternalSchema.CONTROL.text,
    }
)
GOLDEN = json.loads((Path(__file__).parents[2] / "vectors" / "avro_golden.json").read_text())["records"]

encode_event = event_encoder(CATALOGUE, "property", PROPERTY)
decode_event = event_decoder(CATALOGUE, "property", SCHEMAS)
encode_subscription = subscription_encoder(SUBSCRIPTION)
decode_subscription = subscription_decoder(SCHEMAS)
CASES: dict[str, tuple[object, Callable[[Any], bytes], Callable[[bytes | None], object]]] = {
    "event": (values.EVENT, encode_event, decode_event),
    "hook": (values.HOOK, encode_subscription, decode_subscription),
    "resync_mark": (values.RESYNC_MARK, encode_subscription, decode_subscription),
    "delivery": (values.DELIVERY, delivery_encoder(DELIVERY), delivery_decoder(SCHEMAS)),
    "attempt": (values.ATTEMPT, attempt_encoder(ATTEMPT), attempt_decoder(SCHEMAS)),
    "dead_letter": (values.DEAD_LETTER, dead_letter_encoder(DEAD_LETTER), dead_letter_decoder(SCHEMAS)),
    "notice": (values.NOTICE, notice_encoder(NOTICE), notice_decoder(SCHEMAS)),
    "settings": (values.SETTINGS, endpoint_settings_encoder(CONTROL), endpoint_settings_decoder(SCHEMAS)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_on_the_wire_are_those_of_every_release(name: str) -> None:
    value, encode, _ = CASES[name]
    assert encode(value).hex() == GOLDEN[name]


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_of_every_release_are_read(name: str) -> None:
    value, _, decode = CASES[name]
    assert decode(bytes.fromhex(GOLDEN[name])) == value


@pytest.mark.parametrize("name", [name for name in CASES if hasattr(CASES[name][0], "client") and name != "event"])
def test_ids_of_the_longest_text_are_read_as_they_were_written(name: str) -> None:
    value, encode, decode = CASES[name]
    more = {"concept_id": values.LONGEST_ID} if hasattr(value, "concept_id") else {}
    longest = dataclasses.replace(value, client=values.LONGEST_ID, **more)  # type: ignore[type-var]
    assert decode(encode(longest)) == longest
    with pytest.raises(UndecodableError):
        decode(encode(dataclasses.replace(longest, client=f"{values.LONGEST_ID}x")))  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        (InternalSchema.DELIVERY, values.DELIVERY),
        (InternalSchema.ATTEMPT, values.ATTEMPT),
        (InternalSchema.DEAD_LETTER, values.DEAD_LETTER),
        (InternalSchema.NOTICE, values.NOTICE),
        (InternalSchema.CONTROL, values.SETTINGS),
    ],
)
def test_an_internal_schema_has_exactly_the_fields_of_its_value(schema: InternalSchema, kind: object) -> None:
    in_schema = [field["name"] for field in json.loads(schema.text)["fields"]]
    assert in_schema == [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["hook", "mark"])
def test_the_subscription_wraps_exactly_the_fields_of_hook_and_mark(field: str) -> None:
    wrapper = {f["name"]: f["type"][1] for f in json.loads(InternalSchema.SUBSCRIPTION.text)["fields"]}
    value = values.HOOK if field == "hook" else values.RESYNC_MARK
    assert [f["name"] for f in wrapper[field]["fields"]] == [f.name for f in dataclasses.fields(value)]


longs = st.integers(min_value=0, max_value=2**63 - 1)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(
    st.builds(
        Event,
        name=st.sampled_from([n for n in CATALOGUE.event_names if n.startswith("property.")]),
        client=longs,
        concept=st.builds(Concept, id=longs, namespace=st.just("property"), sub_namespace=st.none() | texts),
        occurred_at_ms=st.integers(min_value=0, max_value=253_402_300_799_999),
        id=st.uuids(),
    )
)
def test_every_event_survives_the_wire(event: Event) -> None:
    assert decode_event(encode_event(event)) == event


@pytest.mark.parametrize("name", CASES)
def test_cut_bytes_are_never_a_value(name: str) -> None:
    value, encode, decode = CASES[name]
    data = encode(value)
    for end in range(len(data)):
        with pytest.raises(UndecodableError):
            decode(data[:end])
    with pytest.raises(UndecodableError):
        decode(data + b"\x00")


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_damaged_bytes_are_a_value_or_undecodable(name: str, data: st.DataObject) -> None:
    value, encode, decode = CASES[name]
    damaged = bytearray(encode(value))
    position = data.draw(st.integers(min_value=5, max_value=len(damaged) - 1))
    damaged[position] = data.draw(st.integers(min_value=0, max_value=255))
    with suppress(UndecodableError):
        assert isinstance(decode(bytes(damaged)), type(value))


def test_a_tombstone_is_none() -> None:
    assert decode_subscription(None) is None


@pytest.mark.parametrize("body", [{}, {"hook": None}])
def test_a_subscription_that_is_neither_hook_nor_mark_is_undecodable(body: dict[str, object]) -> None:
    with pytest.raises(UndecodableError, match="either"):
        decode_subscription(record_writer(InternalSchema.SUBSCRIPTION.text, SUBSCRIPTION)(body))


def test_a_state_that_this_release_does_not_know_is_undecodable() -> None:
    data = encode_subscription(values.HOOK).replace(HookState.DISABLED.encode(), b"sleeping")
    with pytest.raises(UndecodableError, match="HookState"):
        decode_subscription(data)


@pytest.mark.parametrize("result", AttemptResult)
def test_every_attempt_result_survives_the_wire(result: AttemptResult) -> None:
    attempt = dataclasses.replace(values.ATTEMPT, result=result)
    assert attempt_decoder(SCHEMAS)(attempt_encoder(ATTEMPT)(attempt)).result is result


def with_symbols(*symbols: str) -> str:
    schema = json.loads(CATALOGUE.schema_text("property"))
    next(f for f in schema["fields"] if f["name"] == "event")["type"]["symbols"] = list(symbols)
    return json.dumps(schema)


def event_record(index: int) -> dict[str, object]:
    concept = {"id": 888999, "sub_namespace": None}
    return {"id": str(values.EVENT_ID), "event": index, "client": 9999, "concept": concept, "occurred_at": 1}


@pytest.mark.parametrize(
    "symbols",
    [
        ("new", "deleted", "assigned", "status", "state", "updated", "sold"),  # a newer writer
        ("new", "deleted"),  # an older one
        ("sold", "updated", "new"),  # another order
    ],
)
def test_a_symbol_is_what_its_writer_meant_whatever_this_release_knows(symbols: tuple[str, ...]) -> None:
    text = with_symbols(*symbols)
    decode = event_decoder(CATALOGUE, "property", Schemas({PROPERTY: text}))
    write = record_writer(text, PROPERTY, indexed="event")
    for index, symbol in enumerate(symbols):
        assert decode(write(event_record(index))).name == f"property.{symbol}"


@pytest.mark.parametrize("index", [-1, -6, 6, 2**31 - 1])
def test_an_index_outside_of_the_writer_s_symbols_is_no_event(index: int) -> None:
    data = record_writer(CATALOGUE.schema_text("property"), PROPERTY, indexed="event")(event_record(index))
    with pytest.raises(UndecodableError):
        decode_event(data)


def test_an_id_that_is_no_uuid_is_undecodable() -> None:
    data = encode_event(values.EVENT).replace(str(values.EVENT_ID).encode(), b"x" * 36)
    with pytest.raises(UndecodableError):
        decode_event(data)


def test_a_writer_with_another_field_is_read() -> None:
    schema = json.loads(CATALOGUE.schema_text("property"))
    schema["fields"].append({"name": "actor", "type": ["null", "string"], "default": None})
    data = record_writer(json.dumps(schema), PROPERTY, indexed="event")(event_record(5))
    event = event_decoder(CATALOGUE, "property", Schemas({PROPERTY: json.dumps(schema)}))(data)
    assert (event.name, event.client, event.id) == ("property.updated", 9999, values.EVENT_ID)


@pytest.mark.parametrize("field", ["client", "concept"])
@pytest.mark.parametrize("text", ["", "a\0", "x" * 256])
def test_a_text_that_is_no_id_is_undecodable(field: str, text: str) -> None:
    schema = new_envelope("order", ["placed"], text_ids=True, data=False)
    catalogue = Catalogue.from_files({"order.avsc": schema.encode()})
    decode = event_decoder(catalogue, "order", Schemas({PROPERTY: schema}))
    good = {"client": "acme", "concept": "o-1"}

    def written(ids: dict[str, str]) -> bytes:
        concept = {"id": ids["concept"], "sub_namespace": None}
        record = {**event_record(0), "client": ids["client"], "concept": concept}
        return record_writer(schema, PROPERTY, indexed="event")(record)

    assert decode(written(good)).client == "acme"
    with pytest.raises(UndecodableError, match=field):
        decode(written({**good, field: text}))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"client": -1}, "client"),
        ({"client": 2**63}, "client"),
        ({"client": True}, "client"),
        ({"client": 1.5}, "client"),
        ({"client": "9999"}, "client"),
        ({"concept": Concept(id=-1, namespace="property")}, "concept.id"),
        ({"concept": Concept(id="888999", namespace="property")}, "concept.id"),
        ({"concept": Concept(id=1, namespace="lead")}, "about a property"),
        ({"concept": Concept(id=1, namespace="property", sub_namespace=3)}, "sub_namespace"),  # type: ignore[arg-type]
        ({"concept": Concept(id=1, namespace="property", sub_namespace="\ud800")}, "surrogates"),
        ({"concept": Concept(id=1, namespace="property", sub_namespace="a\0b")}, r"U\+0000"),
        ({"occurred_at_ms": 1_790_000_000_123_000}, "occurred_at_ms"),  # microseconds
        ({"id": str(values.EVENT_ID)}, "UUID"),
        ({"data": {"a": 1}}, "property has no data"),
    ],
)
def test_a_bad_value_is_refused_and_named(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(InvalidValueError, match=complaint):
        encode_event(dataclasses.replace(values.EVENT, **change))  # type: ignore[arg-type]


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(UnknownEventError):
        encode_event(dataclasses.replace(values.EVENT, name=EventName("property.sold")))


def test_an_event_of_another_namespace_is_refused() -> None:
    with pytest.raises(InvalidValueError):
        encode_event(values.an_event("lead.new"))
