"""A state is read from its chunks, in whatever order they stand in the topic, or not at all."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.processors.deadline import Deadline
from hookstream.processors.delivery.checkpoints import state_store
from hookstream.processors.delivery.checkpoints.commit_metadata import StatePointer
from hookstream.processors.delivery.checkpoints.state_codec import StateKey, encode_state
from hookstream.processors.delivery.checkpoints.state_store import StateReader
from hookstream.processors.delivery.engine.partition_state import PartitionState, StoredCursor
from hookstream.processors.errors import StoredFormatError
from hookstream.processors.kafka import KafkaConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

ID, OTHER = b"12345678", b"87654321"
STATE = PartitionState(tuple(StoredCursor(n, "1", "lead.new", None, n, (n + 1,), 5) for n in range(50)))
WHOLE = encode_state(STATE)
THIRD = len(WHOLE) // 3
CHUNKS = (WHOLE[:THIRD], WHOLE[THIRD : 2 * THIRD], WHOLE[2 * THIRD :])


class Message:
    def __init__(self, state_id: bytes, chunk: int, value: bytes | None, *, topic: str = "deliveries") -> None:
        self._key = StateKey(topic, 3, state_id, chunk).encode()
        self._value = value

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return (2, 1000)


class Reader(StateReader):
    """Reads a log of the test's own."""

    log: tuple[Any, ...] = ()

    def _between(self, partition: int, start: int, end: int | None, deadline: Deadline | None = None) -> Iterator[Any]:
        assert (partition, deadline) == (3, None)
        yield from self.log[start:end]


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.setattr(state_store, "make_consumer", lambda _: None)
    return Reader(KafkaConfig(bootstrap_servers="127.0.0.1:1"), "delivery-state")


def stored(*, state_id: bytes = ID) -> list[Message]:
    return [Message(state_id, number, chunk) for number, chunk in enumerate(CHUNKS)]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_a_state_of_several_chunks_is_read_in_whatever_order_its_chunks_stand_in_the_topic(
    reader: Reader, order: tuple[int, ...]
) -> None:
    """A retry of the producer may put one behind those that were sent after it."""
    mine, others = stored(), stored(state_id=OTHER)
    reader.log = tuple(message for place in order for message in (mine[place], others[2 - place]))
    pointer = StatePointer(ID, 3, 0, len(reader.log) - 1)
    assert reader.load("deliveries", 3, pointer) == STATE
    assert [found.state for found in reader.found_states("deliveries", 3)] == [STATE, STATE]


def test_a_state_of_which_a_chunk_is_missing_is_none(reader: Reader) -> None:
    reader.log = tuple(stored()[:2])
    with pytest.raises(StoredFormatError):
        reader.load("deliveries", 3, StatePointer(ID, 3, 0, 1))


def test_another_topic_s_state_under_the_same_id_is_another_state(reader: Reader) -> None:
    reader.log = tuple(Message(ID, n, chunk, topic="deliveries.replay") for n, chunk in enumerate(CHUNKS))
    with pytest.raises(StoredFormatError):
        reader.load("deliveries", 3, StatePointer(ID, 3, 0, 2))
    assert not reader.states("deliveries", 3)
    assert not reader.any_state("deliveries", 3)


def test_what_has_a_tombstone_is_no_state_any_more(reader: Reader) -> None:
    reader.log = (*stored(), *(Message(ID, number, None) for number in range(3)))
    assert not reader.any_state("deliveries", 3)
    assert reader.found_states("deliveries", 3) == ()
    reader.log = (*stored(), Message(ID, 0, None))
    assert reader.any_state("deliveries", 3)
