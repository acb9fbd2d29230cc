"""The attempt log's role with real parts, in this process or, killed at the worst moment, in one of its own.

As a program: `python -m tests.support.attempt_recorder BOOTSTRAP PREFIX DATABASE_URL RECORDS` dies between the
commit of the database and that of the offsets, once it has written RECORDS records; of them it commits the first.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.operations.attempt_recorder import AttemptRecorder
from hookstream.processors.operations.group_reader import GroupReader
from hookstream.schemas.attempt import GAP_HEADER, AttemptGap
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.attempts import attempt_decoder, attempt_encoder
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import Sessions, open_database, open_sessions
from tests.support.relay_topic import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import Consumer, Message

    from hookstream.schemas.attempt import Attempt

ENCODE = attempt_encoder(1)
DECODE = attempt_decoder(lambda _: InternalSchema.ATTEMPT.text)


class KilledReader(GroupReader):
    """kill -9 between the commit of the database and that of the offsets, once so many records are written."""

    records = 0
    _written = 0

    def _commit(self, consumer: Consumer, taken: Sequence[Message]) -> None:
        self._written += len(taken)
        if self._written >= self.records:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._written <= 1:
            super()._commit(consumer, taken)


def make_recorder(
    kafka: KafkaConfig,
    topics: TopicNames,
    sessions: Sessions,
    *,
    metrics: Metrics | None = None,
    kind: type[GroupReader] = GroupReader,
    decode: Callable[[bytes | None], Attempt] = DECODE,
    keep_days: float = 30.0,
) -> GroupReader:
    """Make one as the role does."""
    recorder = AttemptRecorder(
        sessions, kafka, topics, decode=decode, metrics=metrics or Metrics(), now_ms=now_ms, keep_days=keep_days
    )
    return kind(kafka, recorder)


def tell(kafka: KafkaConfig, topics: TopicNames, *attempts: Attempt | AttemptGap | bytes) -> None:
    """Write attempts as a worker does; bytes are written as they are, into the partition of the attempt before them."""
    errors: list[object] = []
    producer = make_producer(producer_config(kafka, message_timeout_ms=60_000))
    key = b"434"
    for attempt in attempts:
        key = key if isinstance(attempt, bytes) else attempt.key
        headers: list[tuple[str, str | bytes | None]] = []
        value = None
        if isinstance(attempt, AttemptGap):
            headers.append((GAP_HEADER, attempt.header))
        else:
            value = attempt if isinstance(attempt, bytes) else ENCODE(attempt)
        producer.produce(
            topics.attempts, value, key, headers=headers, on_delivery=lambda error, _: errors.append(error)
        )
    producer.flush(90)
    assert errors == [None] * len(attempts)


def main(bootstrap_servers: str, prefix: str, database_url: str, records: str) -> None:
    """Write until killed."""
    KilledReader.records = int(records)
    sessions = open_sessions(open_database(database_url))
    kafka = KafkaConfig(bootstrap_servers=bootstrap_servers)
    make_recorder(kafka, TopicNames(prefix), sessions, kind=KilledReader).run(StopSignal(), Health())


if __name__ == "__main__":
    main(*sys.argv[1:])
