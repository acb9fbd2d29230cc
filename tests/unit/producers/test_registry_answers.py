"""What each answer of a registry means, asked of a client whose answers are given."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka.schema_registry import Schema
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


def registry(*answers: object) -> SchemaRegistry:
    made = SchemaRegistry("http://127.0.0.1:1")
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


def test_an_unknown_id_is_asked_for_again() -> None:
    asked = registry(SchemaRegistryError(404, 40403, "none"), Schema("text", "AVRO"))
    with pytest.raises(UnknownSchemaIdError):
        asked.schema_text_by_id(7)
    assert asked.schema_text_by_id(7) == "text"


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
