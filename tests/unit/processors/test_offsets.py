"""A question about offsets is asked again while a leader or a coordinator moves, and a wrong answer is none."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from hookstream.processors import offsets
from hookstream.processors.errors import KafkaRefusedError, KafkaUnavailableError
from hookstream.processors.offsets import committed_offsets, end_offset, offsets_of_times, watermarks

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_LEADER = KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)
LOADING = KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
UNKNOWN = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
TIMED_OUT = KafkaError(KafkaError._TIMED_OUT)
FORBIDDEN = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)


@dataclass
class Moving:
    """A client whose brokers answer with these errors first, to the whole question or (`each`) for one partition."""

    errors: deque[KafkaError]
    each: bool = False
    looked_up: int = 0
    asked: int = 0
    timeouts: list[float] = field(default_factory=list)

    def list_topics(self, _topic: str, *, timeout: float) -> None:
        """Look the leaders up anew."""
        assert timeout > 0
        self.looked_up += 1

    def get_watermark_offsets(self, _asked: TopicPartition, *, timeout: float, cached: bool) -> tuple[int, int] | None:
        """Tell the bounds."""
        assert not cached
        self._fail(timeout)
        return (3, 9) if timeout > 0.001 else None

    def committed(self, asked: list[TopicPartition], *, timeout: float) -> list[Any]:
        """Tell what a group has."""
        error = self._fail(timeout)
        return [SimpleNamespace(topic=tp.topic, partition=tp.partition, offset=4, error=error) for tp in asked]

    offsets_for_times = committed

    def _fail(self, timeout: float) -> KafkaError | None:
        self.asked += 1
        self.timeouts.append(timeout)
        error = self.errors.popleft() if self.errors else None
        if error is not None and not self.each:
            raise KafkaException(error)
        return error


def ask_end(client: Moving) -> object:
    return end_offset(cast("Consumer", client), "t", 0)


def ask_committed(client: Moving) -> object:
    found = committed_offsets(cast("Consumer", client), [TopicPartition("t", 0), TopicPartition("t", 1)], "cannot ask")
    return [tp.offset for tp in found]


def ask_times(client: Moving) -> object:
    found = offsets_of_times(cast("Consumer", client), [TopicPartition("t", 0, 1_000)], "cannot ask")
    return [tp.offset for tp in found]


ASK: tuple[Callable[[Moving], object], ...] = (ask_end, ask_committed, ask_times)


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every pause, none of which is made."""
    pauses: list[float] = []
    monkeypatch.setattr(offsets, "sleep", pauses.append)
    return pauses


@pytest.mark.parametrize("ask", ASK)
def test_it_is_asked_again_while_a_leader_moves(ask: Callable[[Moving], object], slept: list[float]) -> None:
    client = Moving(deque([NOT_LEADER, LOADING, NOT_LEADER]))
    assert ask(client) == ask(Moving(deque()))
    assert (client.asked, client.looked_up, len(slept)) == (4, 3, 3)


@pytest.mark.parametrize("ask", ASK[1:])
def test_an_error_of_one_partition_is_not_taken_for_its_answer(ask: Callable[[Moving], object]) -> None:
    client = Moving(deque([NOT_LEADER, LOADING]), each=True)
    assert ask(client) == ask(Moving(deque()))
    with pytest.raises(KafkaRefusedError):
        ask(Moving(deque([FORBIDDEN]), each=True))


@pytest.mark.parametrize("ask", ASK)
def test_after_a_question_without_an_answer_the_next_goes_to_whoever_leads_now(
    ask: Callable[[Moving], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Moving(deque([TIMED_OUT]))
    with pytest.raises(KafkaUnavailableError):
        ask(client)
    assert (client.asked, client.looked_up) == (1, 1)
    assert ask(client) == ask(Moving(deque()))

    def gone(*_: object, **_options: object) -> None:
        raise KafkaException(TIMED_OUT)

    silent = Moving(deque([TIMED_OUT]))
    monkeypatch.setattr(silent, "list_topics", gone)
    with pytest.raises(KafkaUnavailableError):
        ask(silent)


def test_a_move_that_does_not_end_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offsets, "_MOVES_WITHIN_S", 0.0)
    for ask in ASK:
        client = Moving(deque([NOT_LEADER] * 9))
        with pytest.raises(KafkaUnavailableError, match="NOT_LEADER_FOR_PARTITION"):
            ask(client)
        assert client.asked == 1


def test_what_is_unknown_is_looked_up_once(slept: list[float]) -> None:
    assert ask_end(Moving(deque([UNKNOWN]))) == 9
    client = Moving(deque([UNKNOWN] * 9))
    with pytest.raises(KafkaUnavailableError):
        ask_end(client)
    assert (client.asked, slept) == (2, [])


def test_a_refusal_is_told_at_once() -> None:
    for ask in ASK:
        client = Moving(deque([FORBIDDEN] * 9))
        with pytest.raises(KafkaRefusedError):
            ask(client)
        assert client.asked == 1


def test_no_answer_in_time_is_an_error() -> None:
    client = Moving(deque())
    with pytest.raises(KafkaUnavailableError, match="no answer within 0 s"):
        watermarks(cast("Consumer", client), "t", 0, timeout_s=0.001)
    assert client.timeouts == [0.001]


def test_nothing_is_asked_about_no_partition() -> None:
    client = Moving(deque())
    assert not committed_offsets(cast("Consumer", client), [], "cannot ask")
    assert not offsets_of_times(cast("Consumer", client), [], "cannot ask")
    assert client.asked == 0
