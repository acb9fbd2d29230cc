"""Compiled code refuses values of a kind that it does not declare; none that others send may reach it.

`make compiled` runs this on the compiled build, too: what is judged there is judged here alike.
"""

from __future__ import annotations

import copy
import json
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from confluent_kafka import KafkaError

from hookstream.processors.delivery.attempts import producer
from hookstream.processors.delivery.attempts.bytes import AttemptBytes
from hookstream.processors.delivery.attempts.producer import AttemptLog
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.processors.delivery.worker.request_builder import RequestBuilder
from hookstream.processors.kafka import KafkaConfig
from hookstream.schemas.attempt import GAP_HEADER, AttemptResult
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder
from hookstream.schemas.codecs.deliveries import delivery_decoder
from hookstream.schemas.delivery import DeadLetter, Delivery, DeliveryId
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, Revision
from hookstream.schemas.wire import record_writer
from tests.support.posts import a_post
from tests.support.values import DEAD_LETTER, DELIVERY, HOOK, Schemas
from tests.unit.delivery.test_request_builder import BOX, with_new_secrets

if TYPE_CHECKING:
    from collections.abc import Callable


class Written(NamedTuple):
    """A kind of value in another writer's schema, and a value of it."""

    kind: Any
    value: Any


OTHERS = [
    Written("null", None),
    Written("boolean", True),
    Written("int", 7),
    Written("long", 2**63 - 1),
    Written("double", 2.5),
    Written("bytes", b"434"),
    Written("bytes", b"\xff"),
    Written("string", "434"),
    Written(["null", "string"], None),
    Written(["null", "bytes"], b"434"),
    Written(["null", "long"], None),
    Written(["int", "string"], 3),
    Written({"type": "long", "logicalType": "timestamp-millis"}, 5),
    Written({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 0}, b"\x05"),
    Written({"type": "enum", "name": "Mood", "symbols": ["A"]}, "A"),
    Written({"type": "fixed", "name": "Three", "size": 3}, b"434"),
    Written({"type": "array", "items": "long"}, [1]),
]
DECODERS: list[tuple[InternalSchema, Any, Callable[[Schemas], Callable[[bytes], Any]]]] = [
    (InternalSchema.DELIVERY, DELIVERY, delivery_decoder),
    (InternalSchema.DEAD_LETTER, DEAD_LETTER, dead_letter_decoder),
]


@pytest.mark.parametrize(("kind", "value", "decoder"), DECODERS, ids=["delivery", "dead_letter"])
def test_a_field_of_another_kind_is_brought_into_ours_or_makes_its_record_undecodable(
    kind: InternalSchema, value: Any, decoder: Callable[[Schemas], Callable[[bytes], Any]]
) -> None:
    own = json.loads(kind.text)
    record = {field.name: getattr(value, field.name) for field in fields(value)}
    brought = undecodable = 0
    for place, field in enumerate(own["fields"]):
        declared = kinds_of(field["type"])
        for other in OTHERS:
            schema = copy.deepcopy(own)
            schema["fields"][place] = {"name": field["name"], "type": other.kind}
            text = json.dumps(schema)
            decode = decoder(Schemas({1: text}))
            data = record_writer(text, 1)(record | {field["name"]: other.value})
            try:
                read = getattr(decode(data), field["name"])
            except UndecodableError:
                undecodable += 1
            else:
                assert isinstance(read, declared), (field["name"], other)
                assert not isinstance(read, bool)
                brought += 1
    assert brought > len(own["fields"])
    assert undecodable > len(own["fields"])


def kinds_of(kind: Any) -> tuple[type, ...]:
    """What a field of our own schema is read as."""
    if isinstance(kind, list):
        return tuple(one for part in kind for one in kinds_of(part))
    known: dict[str, type] = {"null": type(None), "string": str, "bytes": bytes, "long": int, "int": int}
    return (known[kind if isinstance(kind, str) else kind["type"]],)


class Text(str):
    """A text that is none of str's own."""

    __slots__ = ()


class Number(int):
    """A number that is none of int's own."""


LIKE_OURS = replace(
    DELIVERY,
    id=DeliveryId(Text(DELIVERY.id)),
    client=ClientId(Text(DELIVERY.client)),
    event=EventName(Text(DELIVERY.event)),
    concept_id=Text(DELIVERY.concept_id),
    source_topic=Text(DELIVERY.source_topic),
    hook_id=HookId(Number(DELIVERY.hook_id)),
    source_offset=Number(DELIVERY.source_offset),
    occurred_at_ms=Number(DELIVERY.occurred_at_ms),
)


def test_texts_and_numbers_of_classes_of_their_own_make_the_same_request_and_the_same_record() -> None:
    row = with_new_secrets(HOOK)
    builder = RequestBuilder(BOX, TargetRules().policy())
    like_ours = replace(row, id=HookId(Number(row.id)), revision=Revision(Number(row.revision)))
    answer = Answer(204, None, b"", None, 0.25)
    made = []
    for delivery, hook in ((DELIVERY, row), (LIKE_OURS, like_ours)):
        post = a_post(delivery, hook)
        request = builder.build(post, 1_795_463_750)
        record = AttemptBytes(9).encode(post, AttemptResult.DELIVERED, answer, partition=3, wall_ms=1_795_463_750_000)
        made.append((request, record))
    assert made[0] == made[1]


@pytest.mark.parametrize("number", [2**31, 2**62, 2**63 - 1, 2**63, 2**64, 2**200])
def test_a_number_of_any_size_is_written_to_a_header_as_it_is(number: int) -> None:
    delivery = replace(DELIVERY, source_offset=number, occurred_at_ms=number)
    request = RequestBuilder(BOX, TargetRules().policy()).request_of(with_new_secrets(HOOK), delivery, 1, 5)
    assert request is not None
    assert b"hookstream-occurred-at: %d\r\n" % number in request.headers


REPORTED = [
    (b"7", b"v", None),
    (None, b"v", None),
    (b"7", None, [(GAP_HEADER, b"3:1790000000000")]),
    (b"7", None, [(GAP_HEADER, None)]),
    (None, None, {GAP_HEADER: "3:5"}),
    (b"7", None, {GAP_HEADER: b"9" * 400 + b":5"}),
]


@pytest.mark.parametrize(("key", "value", "headers"), REPORTED)
def test_whatever_record_kafka_refuses_its_report_raises_nothing(
    key: bytes | None, value: bytes | None, headers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(producer, "make_producer", lambda config: given.append(config["on_delivery"]))
    log = AttemptLog(KafkaConfig(bootstrap_servers="127.0.0.1:1"), "attempts", schema_id=1)
    record = SimpleNamespace(key=lambda: key, value=lambda: value, headers=lambda: headers)
    given[0](KafkaError(KafkaError._MSG_TIMED_OUT), record)
    assert log.dropped == int(not (isinstance(headers, list) and headers[0][1]))


def test_dead_letters_may_lack_whatever_their_record_lacked() -> None:
    least = replace(DEAD_LETTER, record_key=None, record_value=None, client=None, delivery_id=None)
    assert isinstance(least, DeadLetter)
    assert least.without_payload().detail.endswith("0 bytes left out")
    assert isinstance(replace(LIKE_OURS, replay=None), Delivery)
