"""What each answer of a registry means, asked of a client whose answers are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaReference
from confluent_kafka.schema_registry.error import SchemaRegistryError

from hookstream.producers.errors import (
    IncompatibleSchemaError,
    NotRegisteredError,
    RegistryError,
    RegistryRefusedError,
    RegistryUnavailableError,
    UnknownSchemaIdError,
)
from hookstream.producers.registry import _USUAL_PATHS, SchemaRegistry
from hookstream.producers.unknown_ids import UnknownIds
from hookstream.schemas.avro_schema import AvroSchema
from hookstream.schemas.errors import UndecodableError


class Answers:
    """Answers every question with the next of its answers."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def __getattr__(self, _name: str) -> Callable[..., object]:
        def call(*_args: object) -> object:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


class Time:
    """Passes while the client sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def unknown_ids(time: Time, wait_s: float = 5.0) -> UnknownIds:
    return UnknownIds(wait_s=wait_s, now=lambda: time.now, sleep=time.sleep)


def registry(*answers: object, unknown: UnknownIds | None = None) -> SchemaRegistry:
    made = SchemaRegistry("http://127.0.0.1:1", unknown_ids=unknown or UnknownIds(wait_s=0))
    made.close()
    made._client = Answers(*answers)  # type: ignore[assignment]
    return made


LOOK_UPS = [
    (SchemaRegistryError(404, 40403, "no schema"), UnknownSchemaIdError),
    (SchemaRegistryError(404, -1, "<html>no such page"), RegistryRefusedError),  # the URL is wrong, not the record
    (SchemaRegistryError(404, 404, "no such page"), RegistryRefusedError),
    (SchemaRegistryError(401, 40101, "who are you"), RegistryRefusedError),
    (SchemaRegistryError(500, 50001, "store"), RegistryUnavailableError),
    (SchemaRegistryError(503, -1, "later"), RegistryUnavailableError),
    (SchemaRegistryError(429, -1, "later"), RegistryUnavailableError),
    (ConnectionError("refused"), RegistryUnavailableError),
    (ValueError("no JSON"), RegistryUnavailableError),
]


@pytest.mark.parametrize(("answer", "error"), LOOK_UPS)
def test_what_a_look_up_by_id_means(answer: Exception, error: type[RegistryError]) -> None:
    with pytest.raises(error) as caught:
        registry(answer).schema_text_by_id(7)
    assert type(caught.value) is error
    assert isinstance(caught.value, UndecodableError) == (error is UnknownSchemaIdError)
    assert caught.value.retriable == (error is RegistryUnavailableError)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (SchemaRegistryError(409, 409, "reader lacks a default"), IncompatibleSchemaError),
        (SchemaRegistryError(422, 42201, "no schema"), RegistryRefusedError),
        (SchemaRegistryError(403, 40301, "no"), RegistryRefusedError),
        (TimeoutError(), RegistryUnavailableError),
    ],
)
def test_what_a_registration_means(answer: Exception, error: type[RegistryError]) -> None:
    with pytest.raises(error):
        registry(answer).register("s-value", "{}")


@pytest.mark.parametrize("code", [40401, 40403])
def test_a_schema_that_is_not_registered_names_the_command(code: int) -> None:
    with pytest.raises(NotRegisteredError, match="hookstream topics create"):
        registry(SchemaRegistryError(404, code, "none")).id_for("s-value", "{}")


def test_a_schema_is_asked_for_once() -> None:
    asked = registry(Schema("text", "AVRO"))
    assert asked.schema_text_by_id(7) == asked.schema_text_by_id(7) == "text"


NONE = SchemaRegistryError(404, 40403, "none")


def test_an_id_that_exists_a_moment_later_is_waited_for() -> None:
    time = Time()
    asked = registry(*[NONE] * 12, Schema("text", "AVRO"), unknown=unknown_ids(time))
    assert asked.schema_text_by_id(7) == "text"
    assert time.now == 103.0


def test_an_id_that_never_exists_is_given_up_after_some_seconds() -> None:
    time = Time()
    asked = registry(*[NONE] * 1000, unknown=unknown_ids(time))
    with pytest.raises(UnknownSchemaIdError):
        asked.schema_text_by_id(7)
    assert time.now == 105.0


def test_what_was_said_of_an_id_is_believed_for_a_while_and_asked_again_then() -> None:
    time = Time()
    asked = registry(NONE, Schema("text", "AVRO"), unknown=unknown_ids(time, wait_s=0))
    for _ in range(3):
        with pytest.raises(UnknownSchemaIdError):
            asked.schema_text_by_id(7)
    time.sleep(10.0)
    assert asked.schema_text_by_id(7) == "text"


def test_an_id_that_was_given_up_is_not_waited_for_a_second_time() -> None:
    time = Time()
    asked = registry(*[NONE] * 1000, unknown=unknown_ids(time))
    for _ in range(2):
        with pytest.raises(UnknownSchemaIdError):
            asked.schema_text_by_id(7)
        time.sleep(60.0)
    assert time.now == 225.0


def test_garbage_with_a_new_id_in_each_record_takes_a_fifth_of_the_time_at_most() -> None:
    time = Time()
    asked = registry(*[NONE] * 10_000, unknown=unknown_ids(time))
    for schema_id in range(1000):
        with pytest.raises(UnknownSchemaIdError):
            asked.schema_text_by_id(schema_id)
    assert 115.0 <= time.now <= 100.0 + 15.0 / 0.8 + 0.25
    before = time.now
    time.sleep(50.0)
    for schema_id in range(1000, 2000):
        with pytest.raises(UnknownSchemaIdError):
            asked.schema_text_by_id(schema_id)
    assert 9.0 <= time.now - before - 50.0 <= 13.0


# --- references -------------------------------------------------------------------------------------------------------

UNIT = '{"type": "enum", "name": "shop.Unit", "symbols": ["EUR"]}'
MONEY = '{"type": "record", "name": "shop.Money", "fields": [{"name": "unit", "type": "shop.Unit"}]}'
PRICE = '{"type": "record", "name": "Price", "fields": [{"name": "was", "type": "shop.Money"}]}'


def referring(text: str, *subjects: str) -> Schema:
    return Schema(text, "AVRO", references=[SchemaReference(name, name, 1) for name in subjects])


class Subjects:
    """A registry's client that has one version of each subject."""

    def __init__(self, schema: Schema, **subjects: Schema | Exception) -> None:
        self.schema = schema
        self.subjects = subjects
        self.asked: list[str] = []

    def get_schema(self, _schema_id: int) -> Schema:
        return self.schema

    def get_version(self, subject: str, _version: int, *, deleted: bool) -> RegisteredSchema:
        assert deleted  # a version that was deleted softly is referred to all the same
        self.asked.append(subject)
        found = self.subjects.get(subject) or SchemaRegistryError(404, 40402, "no such version")
        if isinstance(found, Exception):
            raise found
        return RegisteredSchema(subject=subject, version=1, schema_id=1, guid=None, schema=found)


def with_subjects(schema: Schema, **subjects: Schema | Exception) -> tuple[SchemaRegistry, Subjects]:
    asked = registry(unknown=unknown_ids(Time()))
    client = Subjects(schema, **subjects)
    asked._client = client  # type: ignore[assignment]
    return asked, client


def test_what_a_schema_refers_to_is_fetched_and_what_that_refers_to() -> None:
    asked, client = with_subjects(
        referring(PRICE, "money", "unit"), money=referring(MONEY, "unit"), unit=Schema(UNIT, "AVRO")
    )
    whole = asked.schema_text_by_id(7)
    assert client.asked == ["money", "unit"]
    assert AvroSchema(whole).fields(AvroSchema(whole).root)["was"]["type"]["fields"][0]["type"]["symbols"] == ["EUR"]
    asked.schema_text_by_id(7)
    assert len(client.asked) == 2


def test_a_reference_that_is_not_there_is_an_unknown_schema() -> None:
    asked, _ = with_subjects(referring(PRICE, "money"))
    with pytest.raises(UnknownSchemaIdError):
        asked.schema_text_by_id(7)


def test_a_registry_that_goes_away_between_two_references_makes_nothing_undecodable() -> None:
    asked, client = with_subjects(
        referring(PRICE, "money", "unit"), money=referring(MONEY, "unit"), unit=ConnectionError()
    )
    with pytest.raises(RegistryUnavailableError):
        asked.schema_text_by_id(7)
    client.subjects["unit"] = Schema(UNIT, "AVRO")
    assert "EUR" in asked.schema_text_by_id(7)


@pytest.mark.parametrize("version", ["x", "9" * 5000, [1], -3, 1.5])
def test_a_reference_whose_version_is_no_number_makes_the_schema_undecodable(version: object) -> None:
    named = SchemaReference("money", "money", cast("int", version))
    asked, _ = with_subjects(Schema(PRICE, "AVRO", references=[named]), money=Schema(MONEY, "AVRO"))
    with pytest.raises(UndecodableError, match="no number"):
        asked.schema_text_by_id(7)


def test_references_are_bounded() -> None:
    deep = {f"s{n}": referring(UNIT, f"s{n + 1}") for n in range(50)}
    wide = {f"s{n}": Schema(UNIT, "AVRO") for n in range(200)}
    long = {
        f"s{n}": Schema(f'{{"type": "enum", "name": "L{n}", "symbols": ["a"], "doc": "{"x" * 600_000}"}}', "AVRO")
        for n in range(2)
    }
    for schema, subjects in (
        (referring(PRICE, "s0"), deep),
        (referring(PRICE, *wide), wide),
        (referring(UNIT, *long), long),
        (referring(PRICE, "s0"), {"s0": referring(PRICE, "s0")}),
        (referring(PRICE, "s0"), {"s0": Schema("no json", "AVRO")}),
    ):
        asked, client = with_subjects(schema, **subjects)
        with pytest.raises(UndecodableError) as caught:
            asked.schema_text_by_id(7)
        assert not isinstance(caught.value, RegistryError)  # and nothing is waited for
        assert len(client.asked) <= 100


def test_waiting_ends_with_the_first_answer() -> None:
    asked = registry(ConnectionError(), SchemaRegistryError(503, -1, "later"), Schema("text", "AVRO"))
    assert asked.wait_for(lambda: asked.schema_text_by_id(7), deadline_s=10) == "text"


def test_waiting_ends_at_the_deadline() -> None:
    asked = registry(*[ConnectionError()] * 100)
    with pytest.raises(RegistryUnavailableError):
        asked.wait_for(lambda: asked.schema_text_by_id(7), deadline_s=0.05)


def test_waiting_does_not_repeat_a_question_that_was_answered_with_no() -> None:
    asked = registry(SchemaRegistryError(401, 40101, "who are you"), Schema("text", "AVRO"))
    with pytest.raises(RegistryRefusedError):
        asked.wait_for(lambda: asked.schema_text_by_id(7), deadline_s=10)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            SchemaRegistryError(404, -1, "<html>no such page"),
            f"there is no schema registry at http://registry:8080/sub (HTTP 404, code -1); {_USUAL_PATHS}",
        ),
        (
            SchemaRegistryError(401, 401, "SENTINEL"),
            "the schema registry at http://registry:8080/sub does not know our user or password",
        ),
        (
            ConnectionError("SENTINEL"),
            "no answer from the schema registry at http://registry:8080/sub (ConnectionError)",
        ),
        (
            SchemaRegistryError(503, -1, "SENTINEL"),
            "the schema registry at http://registry:8080/sub cannot answer now (HTTP 503, code -1)",
        ),
    ],
)
def test_where_the_registry_was_looked_for_is_said_and_its_password_not(answer: Exception, says: str) -> None:
    asked = SchemaRegistry("http://user:SENTINEL@registry:8080/sub")
    asked.close()
    asked._client = Answers(answer)  # type: ignore[assignment]
    with pytest.raises(RegistryError) as caught:
        asked.schema_text_by_id(7)
    assert str(caught.value) == f"schema 7: {says}"
