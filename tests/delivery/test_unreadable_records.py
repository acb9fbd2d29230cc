"""Promise: a record that cannot be read becomes a dead letter or waits for its schema; it is never skipped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hookstream.producers.errors import RegistryUnavailableError
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import subject
from hookstream.schemas.codecs.deliveries import delivery_encoder
from hookstream.schemas.delivery import DeadLetterReason
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.delivery_world import DeliveryWorld

UNKNOWN_ID = b"\x00\x7f\xff\xff\xf0"


def test_garbage_is_a_dead_letter_and_the_partition_goes_on(world: DeliveryWorld) -> None:
    """No Avro, an unknown schema id, an empty record and one without a value are dead letters; others flow."""
    (hook,) = world.hooks("one")
    world.send(hook, range(5), partition=0)
    for value in (b"no avro", UNKNOWN_ID + b"rest", b"", None):
        world.produce_bytes(b"1", value, partition=0)
    world.send(hook, range(5), partition=0)
    world.start()
    world.wait_all()
    eventually(lambda: world.commit_of()[0] == 14)
    dead_letters = sorted(world.dead_letters(), key=lambda dead_letter: dead_letter.offset)
    assert [(dead_letter.offset, dead_letter.record_value) for dead_letter in dead_letters] == [
        (5, b"no avro"),
        (6, UNKNOWN_ID + b"rest"),
        (7, b""),
        (8, b""),
    ]
    assert {dead_letter.reason for dead_letter in dead_letters} == {DeadLetterReason.UNDECODABLE}
    world.check_order()


def test_a_partition_waits_for_the_registry(world: DeliveryWorld) -> None:
    """While the registry is unavailable, a record of a new schema and all behind it wait; other partitions go on."""
    hooks = world.hooks("one", "two")
    registry = RegistryThatGoesAway(world.registry.url)
    worker = world.start(registry=registry)
    world.send(hooks[0], range(5), partition=0)
    world.wait_all()

    registry.away = True
    known, world.encode = world.encode, delivery_encoder(evolved_schema(world))
    waiting = world.send(hooks[0], range(5), partition=0)
    world.encode = known
    behind = world.send(hooks[0], range(5), partition=0)
    elsewhere = world.send(hooks[1], range(5), partition=1)
    world.wait_all(of=elsewhere)
    eventually(lambda: not worker.health.ready, describe="it says that it waits")
    assert {delivery.id for delivery in waiting + behind}.isdisjoint(seen.id for seen in world.accepted())
    eventually(lambda: world.commit_of()[0] == 5, describe="everything below is committed")

    registry.away = False
    assert world.check_promises() == 0
    assert not world.dead_letters()
    eventually(lambda: worker.health.ready)


class RegistryThatGoesAway(SchemaRegistry):
    """Answers what it was asked before, and nothing else while it is unavailable."""

    away = False

    def schema_text_by_id(self, schema_id: int, /) -> str:
        """Give the text."""
        if self.away:
            raise RegistryUnavailableError("the registry does not answer")
        return super().schema_text_by_id(schema_id)


def evolved_schema(world: DeliveryWorld) -> int:
    """Register what a later release might: the same record under a new id."""
    name = subject(world.topics.deliveries)
    schema = json.loads(world.catalogue.subjects(world.topics)[name])
    return world.registry.register(name, json.dumps(schema | {"doc": "as a later release describes it"}))
