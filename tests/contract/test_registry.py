"""What the registry client promises, asked of the registry in the process and of a real Confluent-compatible one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference

from hookstream.producers.errors import (
    IncompatibleSchemaError,
    NotRegisteredError,
    RegistryUnavailableError,
    UnknownSchemaIdError,
)
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue, InternalSchema
from hookstream.schemas.codecs.events import event_decoder, event_encoder
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.topics import TopicNames
from tests.support.processes import free_port
from tests.support.values import EVENT

CATALOGUE = Catalogue.shipped()
PROPERTY = CATALOGUE.schema_text("property")


@pytest.fixture(params=["mock", "real"])
def registry(request: pytest.FixtureRequest) -> Iterator[SchemaRegistry]:
    """Each kind of registry."""
    mock = request.param == "mock"
    with SchemaRegistry(f"mock://{uuid.uuid4().hex}" if mock else request.getfixturevalue("registry_url")) as client:
        yield client


@pytest.fixture
def real_registry(registry_url: str) -> Iterator[SchemaRegistry]:
    """The real one alone: the mock accepts every version."""
    with SchemaRegistry(registry_url) as client:
        yield client


@pytest.fixture
def subject() -> str:
    """A subject that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}.events.property-value"


def changed(text: str, *, symbols: tuple[str, ...] = (), drop: str = "", field: dict[str, object] | None = None) -> str:
    """Give another version of an event's schema."""
    schema = json.loads(text)
    schema["fields"] = [f for f in schema["fields"] if f["name"] != drop] + ([field] if field else [])
    if symbols:
        next(f for f in schema["fields"] if f["name"] == "event")["type"]["symbols"] = list(symbols)
    return json.dumps(schema)


def test_a_registered_schema_is_found_by_id_and_by_subject(registry: SchemaRegistry, subject: str) -> None:
    """Registration gives an id; the id gives the schema, the subject and schema give the id; twice is once."""
    registry.set_compatibility(subject)
    schema_id = registry.register(subject, PROPERTY)
    assert registry.register(subject, PROPERTY) == schema_id
    assert registry.id_for(subject, PROPERTY) == schema_id
    assert json.loads(registry.schema_text_by_id(schema_id)) == json.loads(PROPERTY)


def test_looking_up_registers_nothing(registry: SchemaRegistry, subject: str) -> None:
    """A schema that no one registered stays so, and the error names the command that would."""
    for _ in range(2):
        with pytest.raises(NotRegisteredError, match="hookstream topics create"):
            registry.id_for(subject, PROPERTY)
    registry.register(subject, PROPERTY)
    with pytest.raises(NotRegisteredError):
        registry.id_for(subject, InternalSchema.NOTICE.text)


def test_an_unknown_id_makes_a_record_undecodable(registry: SchemaRegistry) -> None:
    """An id that the registry does not know is garbage in a record, and the decoder says so."""
    with pytest.raises(UnknownSchemaIdError):
        registry.schema_text_by_id(2_000_000_000)
    decode = event_decoder(CATALOGUE, "property", registry.schema_text_by_id)
    with pytest.raises(UndecodableError):
        decode(event_encoder(CATALOGUE, "property", 2_000_000_000)(EVENT))


def test_an_event_is_decoded_with_the_schema_that_wrote_it(registry: SchemaRegistry, subject: str) -> None:
    """A decoder finds an older writer's schema through the registry."""
    older = changed(PROPERTY, symbols=("updated", "new"))
    schema_id = registry.register(subject, older)
    data = bytearray(event_encoder(CATALOGUE, "property", schema_id)(EVENT))
    data[5 + 37] = 0  # `updated` in the older list
    assert event_decoder(CATALOGUE, "property", registry.schema_text_by_id)(bytes(data)) == EVENT


def test_a_schema_that_refers_to_others_is_read_with_them(registry: SchemaRegistry, subject: str) -> None:
    """What a writer's schema refers to, and what that refers to, is fetched: its events are decoded."""
    name = uuid.uuid4().hex[:8]
    unit = {"type": "enum", "name": f"shop{name}.Unit", "symbols": ["EUR"]}
    fields = [{"name": "unit", "type": f"shop{name}.Unit"}]
    money = {"type": "record", "name": f"shop{name}.Money", "fields": fields}
    price: dict[str, object] = {"name": "price", "type": ["null", f"shop{name}.Money"], "default": None}
    referred: list[SchemaReference] = []
    for kind, text in (("unit", json.dumps(unit)), ("money", json.dumps(money))):
        schema = Schema(text, "AVRO", references=referred[-1:])
        registry._client.register_schema(f"{name}-{kind}", schema)
        referred.append(SchemaReference(json.loads(text)["name"], f"{name}-{kind}", 1))
    schema_id = registry._client.register_schema(
        subject, Schema(changed(PROPERTY, field=price), "AVRO", references=referred[-1:])
    )
    data = event_encoder(CATALOGUE, "property", schema_id)(EVENT) + b"\x02\x00"
    assert event_decoder(CATALOGUE, "property", registry.schema_text_by_id)(data) == EVENT


def test_every_schema_of_a_deployment_can_be_registered(registry: SchemaRegistry) -> None:
    """What `hookstream topics create` registers is accepted, with its compatibility, and found again."""
    for subject, text in CATALOGUE.subjects(TopicNames(f"t{uuid.uuid4().hex[:10]}.")).items():
        registry.set_compatibility(subject)
        assert registry.register(subject, text) == registry.id_for(subject, text)


SYMBOLS = ("new", "deleted", "assigned", "status", "state", "updated")


@pytest.mark.parametrize(
    "version",
    [
        changed(PROPERTY, symbols=(*SYMBOLS, "sold")),
        changed(PROPERTY, field={"name": "actor", "type": ["null", "string"], "default": None}),
        changed(PROPERTY, drop="occurred_at"),
    ],
    ids=["symbol added", "field with default added", "field dropped"],
)
def test_a_version_that_reads_the_old_records_is_accepted(
    real_registry: SchemaRegistry, subject: str, version: str
) -> None:
    """Under BACKWARD_TRANSITIVE a good evolution gets an id of its own."""
    real_registry.set_compatibility(subject)
    assert real_registry.register(subject, PROPERTY) != real_registry.register(subject, version)


@pytest.mark.parametrize(
    "version",
    [
        changed(PROPERTY, symbols=SYMBOLS[:-1]),
        changed(PROPERTY, field={"name": "actor", "type": "string"}),
        changed(PROPERTY, drop="client", field={"name": "client", "type": "string"}),
    ],
    ids=["symbol removed", "field without default added", "type changed"],
)
def test_a_version_that_cannot_read_the_old_records_is_refused(
    real_registry: SchemaRegistry, subject: str, version: str
) -> None:
    """Under BACKWARD_TRANSITIVE a bad evolution is an `IncompatibleSchemaError`, and is not registered."""
    real_registry.set_compatibility(subject)
    real_registry.register(subject, PROPERTY)
    with pytest.raises(IncompatibleSchemaError):
        real_registry.register(subject, version)
    with pytest.raises(NotRegisteredError):
        real_registry.id_for(subject, version)


def test_compatibility_is_with_every_earlier_version(real_registry: SchemaRegistry, subject: str) -> None:
    """A version that reads the last one but not the first is refused: topics hold both."""
    real_registry.set_compatibility(subject)
    first = changed(PROPERTY, drop="occurred_at")
    defaulted = {"name": "occurred_at", "type": "long", "default": 0}
    real_registry.register(subject, first)
    real_registry.register(subject, changed(first, field=defaulted))
    with pytest.raises(IncompatibleSchemaError):
        real_registry.register(subject, changed(first, field={"name": "occurred_at", "type": "long"}))


def test_a_registry_that_is_unavailable_is_not_an_undecodable_record() -> None:
    """A closed port is an outage: retriable, and never a reason to give a record up."""
    with SchemaRegistry(f"http://127.0.0.1:{free_port()}", {"max.retries": 0}) as away:
        decode = event_decoder(CATALOGUE, "property", away.schema_text_by_id)
        with pytest.raises(RegistryUnavailableError) as caught:
            decode(event_encoder(CATALOGUE, "property", 1)(EVENT))
    assert caught.value.retriable
    assert not isinstance(caught.value, UndecodableError)


def test_clients_of_one_mock_url_share_its_schemas() -> None:
    """Within a process, everyone who names the same mock registry sees the same schemas; another name is another."""
    name = uuid.uuid4().hex
    schema_id = SchemaRegistry(f"mock://{name}").register("s-value", PROPERTY)
    assert SchemaRegistry(f"mock://{name}").id_for("s-value", PROPERTY) == schema_id
    with pytest.raises(NotRegisteredError):
        SchemaRegistry(f"mock://{name}-other").id_for("s-value", PROPERTY)
