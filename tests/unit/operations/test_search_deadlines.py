"""Every search ends in time, however slowly Kafka answers: counted in questions to a Kafka whose clock we hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.processors.delivery.checkpoints import state_store
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations import log_ranges
from hookstream.processors.operations.queries import backlog
from hookstream.processors.operations.queries.backlog import KafkaBacklogs
from hookstream.processors.operations.queries.dead_letter_log import KafkaDeadLetters
from hookstream.processors.operations.queries.delivery_search import KafkaDeliveryLog
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs.dead_letters import dead_letter_decoder
from hookstream.schemas.codecs.deliveries import delivery_decoder
from hookstream.schemas.delivery import DeliveryId
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.dead_letters import DeadLetterPlace, DeadLetterQuery
from hookstream.subscriptions.deliveries import WantedDelivery
from hookstream.subscriptions.errors import BacklogUnknownError, DeadLettersUnavailableError, LogSearchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message, TopicPartition

KAFKA = KafkaConfig(bootstrap_servers="kafka:9092")
TOPICS = TopicNames()
PARTITIONS = 12


@dataclass
class SlowKafka:
    """A consumer whose every answer takes so long, or the whole time-out; partitions hold records without end."""

    answer_s: float
    now_s: float = 1000.0
    calls: int = 0
    silent: bool = False
    offset: int = 0
    at: TopicPartition | None = None
    timeouts: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now_s

    def list_topics(self, topic: str, timeout: float) -> Any:
        self._answer(timeout)
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=dict.fromkeys(range(PARTITIONS)))})

    def get_watermark_offsets(self, _asked: object, timeout: float, *, cached: bool) -> tuple[int, int]:  # noqa: ARG002
        self._answer(timeout)
        return 0, 1_000_000

    def committed(self, partitions: Sequence[TopicPartition], timeout: float) -> Sequence[TopicPartition]:
        self._answer(timeout)
        return partitions

    def offsets_for_times(self, asked: Sequence[TopicPartition], timeout: float) -> Sequence[TopicPartition]:
        self._answer(timeout)
        return asked

    def assign(self, places: Sequence[TopicPartition]) -> None:
        self.at = places[0]

    incremental_assign = assign

    def consume(self, count: int, timeout: float) -> list[Message]:
        self._answer(timeout)
        if self.silent or self.at is None:
            return []
        self.offset += 1
        found = SimpleNamespace(
            error=lambda: None,
            topic=lambda at=self.at: at.topic,
            partition=lambda at=self.at: at.partition,
            offset=lambda offset=self.offset: offset,
            key=lambda: b"434",
            value=lambda: b"no record of ours",
            timestamp=lambda: (1, 5),
        )
        return [found] * min(count, 1)  # type: ignore[list-item]

    def unassign(self) -> None:
        pass

    def incremental_unassign(self, _places: object) -> None:
        pass

    def close(self) -> None:
        pass

    def _answer(self, timeout: float) -> None:
        assert timeout >= 0
        self.calls += 1
        self.timeouts.append(timeout)
        self.now_s += min(self.answer_s, timeout) if timeout else 0.001


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> SlowKafka:
    """Put a Kafka in place whose every answer takes a second."""
    slow = SlowKafka(answer_s=1.0)
    for module in (backlog, log_ranges, state_store):
        monkeypatch.setattr(module, "make_consumer", lambda _config: slow)
    return slow


def no_schema(_id: int) -> str:
    raise AssertionError


def delivery_log(kafka: SlowKafka) -> KafkaDeliveryLog:
    return KafkaDeliveryLog(
        KAFKA,
        TOPICS,
        decode=delivery_decoder(no_schema),
        decode_dead_letter=dead_letter_decoder(no_schema),
        within_s=8.0,
        monotonic_s=kafka,
    )


def dead_letters(kafka: SlowKafka) -> KafkaDeadLetters:
    unused: Any = None
    made = KafkaDeadLetters(
        KAFKA, TOPICS, catalogue=Catalogue.shipped(), schemas=no_schema, writer=unused, events=unused
    )
    made._monotonic_s = kafka
    return made


@pytest.mark.parametrize("answer_s", [1.0, 60.0])
def test_the_search_of_a_delivery_ends(kafka: SlowKafka, answer_s: float) -> None:
    kafka.answer_s = answer_s  # and 39 questions come before the first record
    with pytest.raises(LogSearchError, match="not done in time"):
        delivery_log(kafka).find(WantedDelivery(id=DeliveryId("msg_1"), client=None, position=None))
    assert kafka.now_s <= 1000.0 + 8.1


def test_a_search_that_could_begin_tells_that_it_is_not_complete(kafka: SlowKafka) -> None:
    kafka.answer_s = 0.1
    found = delivery_log(kafka).find(WantedDelivery(id=DeliveryId("msg_1"), client=None, position=None))
    assert not found.complete
    assert kafka.now_s <= 1000.0 + 8.2


@pytest.mark.parametrize("silent", [True, False])
def test_the_search_of_dead_letters_ends(kafka: SlowKafka, silent: bool) -> None:
    """Where nothing could be read it says so; else it says where the next page goes on, also if nothing fitted."""
    kafka.silent = silent
    query = DeadLetterQuery(since_ms=10)
    if silent:
        with pytest.raises(DeadLettersUnavailableError, match="not done in time"):
            dead_letters(kafka).find(query)
    else:
        page = dead_letters(kafka).find(query)
        assert list(page.dead_letters) == []
        assert page.after in (DeadLetterPlace(0, kafka.offset - 1), DeadLetterPlace(0, kafka.offset))
    assert kafka.now_s <= 1000.0 + 10.1


def test_a_page_that_time_cut_short_goes_on_where_it_ended(kafka: SlowKafka) -> None:
    kafka.answer_s = 0.05
    page = dead_letters(kafka).find(DeadLetterQuery())
    assert page.after in (DeadLetterPlace(0, kafka.offset - 1), DeadLetterPlace(0, kafka.offset))
    assert kafka.now_s <= 1000.0 + 4.2


def test_reading_many_dead_letters_ends(kafka: SlowKafka) -> None:
    with pytest.raises(DeadLettersUnavailableError, match="not done in time"):
        dead_letters(kafka).get([DeadLetterPlace(partition, 999_000) for partition in range(PARTITIONS)])
    assert kafka.now_s <= 1000.0 + 10.1


@pytest.mark.parametrize("answer_s", [1.0, 60.0])
def test_counting_what_is_owed_ends(kafka: SlowKafka, answer_s: float) -> None:
    kafka.answer_s = answer_s
    backlogs = KafkaBacklogs(KAFKA, TOPICS, decode=delivery_decoder(no_schema), monotonic_s=kafka)
    with pytest.raises(BacklogUnknownError, match="backlogs cannot be computed now"):
        backlogs.read(None, lambda _clients: {})
    assert kafka.now_s <= 1000.0 + 12.1


def test_a_search_that_failed_gives_its_turn_back(kafka: SlowKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    log = delivery_log(kafka)
    log._within_s = 0.02
    wanted = WantedDelivery(id=DeliveryId("msg_1"), client=None, position=None)
    for _ in range(5):
        with pytest.raises(LogSearchError, match="not done in time"):
            log.find(wanted)
    monkeypatch.setattr(log._turns, "acquire", lambda *, timeout: timeout > log._within_s)
    with pytest.raises(LogSearchError, match="others search already"):
        log.find(wanted)
