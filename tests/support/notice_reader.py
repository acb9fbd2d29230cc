"""The reader of notices with real parts, in this process or, killed at the worst moment, in one of its own.

As a program: `python -m tests.support.notice_reader BOOTSTRAP PREFIX DATABASE_URL` dies between the commit of the
database and that of the offsets.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.operations.group_reader import GroupReader
from hookstream.processors.operations.relays.notices import HookNotices
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.hooks import notice_decoder, notice_encoder
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.database import Sessions, open_database, open_sessions
from tests.support.relay_topic import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import Consumer, Message

    from hookstream.schemas.hook import HookNotice

ENCODE = notice_encoder(1)
DECODE = notice_decoder(lambda _: InternalSchema.NOTICE.text)


class KilledReader(GroupReader):
    """kill -9 between the commit of the database and that of the offsets."""

    def _commit(self, consumer: Consumer, taken: Sequence[Message]) -> None:
        if taken:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._commit(consumer, taken)


def make_notices(
    kafka: KafkaConfig,
    topics: TopicNames,
    sessions: Sessions,
    *,
    kind: type[GroupReader] = GroupReader,
    decode: Callable[[bytes | None], HookNotice] = DECODE,
    changed: Callable[[], None] = lambda: None,
) -> GroupReader:
    """Make a reader as the API's process does."""
    return kind(kafka, HookNotices(sessions, topics, decode=decode, now_ms=now_ms, changed=changed))


def tell(kafka: KafkaConfig, topics: TopicNames, *notices: HookNotice | bytes) -> None:
    """Write notices as a worker does; bytes are written as they are, into the partition of the notice before them."""
    errors: list[object] = []
    producer = make_producer(producer_config(kafka, message_timeout_ms=60_000))
    key = b"434|lead.new"
    for notice in notices:
        value = notice if isinstance(notice, bytes) else ENCODE(notice)
        key = key if isinstance(notice, bytes) else notice.key
        producer.produce(topics.hook_notices, value, key, on_delivery=lambda error, _: errors.append(error))
    producer.flush(90)
    assert errors == [None] * len(notices)


def main(bootstrap_servers: str, prefix: str, database_url: str) -> None:
    """Read until killed."""
    sessions = open_sessions(open_database(database_url))
    kafka = KafkaConfig(bootstrap_servers=bootstrap_servers)
    make_notices(kafka, TopicNames(prefix), sessions, kind=KilledReader).run(StopSignal())


if __name__ == "__main__":
    main(*sys.argv[1:])
