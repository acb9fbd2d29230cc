"""How far every router has read the table, by what they committed: the question behind `effective`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.routing import progress as module
from hookstream.processors.routing.commit_note import CommitNote
from hookstream.processors.routing.progress import CommittedProgress
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.topics import TopicNames
from tests.support.group_consumer import GroupConsumer

if TYPE_CHECKING:
    from collections.abc import Callable

CATALOGUE, TOPICS = Catalogue.shipped(), TopicNames()
SOURCES = [CATALOGUE.topic(namespace, TOPICS) for namespace in CATALOGUE.namespaces]
NEVER = (-1001, None)


def committed(table_offset: int, *, table: str | None = "now", offset: int = 5) -> tuple[int, str]:
    return offset, CommitNote(table_topic_id=table, table_offset=table_offset, source_topic_id=None).encode()


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int | None]:
    """Ask with the two partitions of every topic committed far, but for those that are given."""
    group = GroupConsumer()
    monkeypatch.setattr(module, "make_consumer", group.made)
    monkeypatch.setattr(module, "topic_ids", lambda _kafka, names: dict.fromkeys(names, "now"))
    monkeypatch.setattr(module, "partition_count", lambda _consumer, _topic: 2)

    def answer(*exceptions: tuple[int, str | None], refusal: KafkaError | None = None) -> int | None:
        group.stored = {(topic, partition): committed(90) for topic in SOURCES for partition in (0, 1)}
        group.stored |= {(topic, 1): stored for topic, stored in zip(SOURCES, exceptions, strict=False)}
        group.refusals.extend([] if refusal is None else [refusal])
        return CommittedProgress(KafkaConfig(bootstrap_servers="k:9092"), TOPICS, CATALOGUE).committed_table_offset()

    return answer


def test_the_router_that_knows_least_says_how_far_all_are(ask: Callable[..., int | None]) -> None:
    assert ask() == 90
    assert ask(committed(7), committed(8)) == 7


@pytest.mark.parametrize(
    "stored", [NEVER, (5, None), (5, "set by hand"), committed(7, offset=-1001), committed(7, table="an earlier one")]
)
def test_nothing_is_known_while_one_partition_does_not_say(
    ask: Callable[..., int | None], stored: tuple[int, str | None]
) -> None:
    assert ask(stored) is None


def test_nothing_is_known_while_kafka_does_not_answer(ask: Callable[..., int | None]) -> None:
    assert ask(refusal=KafkaError(KafkaError._TIMED_OUT)) is None


def test_a_caller_does_not_wait_for_as_long_as_the_question_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT_S", 0.0)
    progress = CommittedProgress(KafkaConfig(bootstrap_servers="k:9092"), TOPICS, CATALOGUE)
    answers: list[int | None] = []
    caller = threading.Thread(target=lambda: answers.append(progress.committed_table_offset()), daemon=True)
    with progress._lock:
        caller.start()
        caller.join(10.0)
        assert answers == [None]
