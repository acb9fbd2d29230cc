"""The worker's copy of the `control` topic: every endpoint's present settings, read whole before the group is joined.

`assign()`-based, like the reader of the subscriptions table: it belongs to no group, commits nothing, and is stepped by
whoever owns it. Every partition is read, whichever the worker owns: settings are few, and partitions come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from hookstream.processors.errors import ExpiredRecordsError, ProcessorError
from hookstream.processors.kafka import (
    REQUEST_TIMEOUT_S,
    KafkaConfig,
    consume_batch,
    is_away,
    kafka_error,
    make_consumer,
    reader_config,
    translated,
    watermarks,
)
from hookstream.producers.errors import RegistryError
from hookstream.schemas.control import EndpointSettings
from hookstream.schemas.errors import UndecodableError

from .held_records import HeldRecords

log = structlog.get_logger("hookstream.control")


class SeenSettings(NamedTuple):
    """Settings, and where they stand."""

    partition: int
    offset: int
    wanted: EndpointSettings


class SettingsBatch(NamedTuple):
    """Settings in the order of each partition, and the next offset to read in those that were read."""

    settings: Sequence[SeenSettings]
    next_offsets: Mapping[int, int]


class ControlTable:
    """The newest settings of every endpoint. One thread applies and reads."""

    def __init__(self) -> None:
        """Nothing was read."""
        self.next_offsets: dict[int, int] = {}
        """By partition: the next offset to read, where anything was read."""
        self._settings: dict[tuple[int, bytes], EndpointSettings] = {}

    def get(self, client: int, target_digest: bytes) -> EndpointSettings | None:
        """Return the present settings for an endpoint."""
        return self._settings.get((client, target_digest))

    def apply(self, batch: SettingsBatch) -> list[EndpointSettings]:
        """Take what was read; give what changed. A lower revision is one that was written late: it is ignored."""
        changed: dict[tuple[int, bytes], EndpointSettings] = {}
        for _, _, wanted in batch.settings:
            key = (wanted.client, wanted.target_digest)
            known = self._settings.get(key)
            if known is None or wanted.revision > known.revision:
                self._settings[key] = changed[key] = wanted
        self.next_offsets.update(batch.next_offsets)
        return list(changed.values())


class ControlReader:
    """Reads the topic in steps. One thread at a time; `bounds` are valid after `open`."""

    def __init__(
        self,
        kafka: KafkaConfig,
        topic: str,
        *,
        decode: Callable[[bytes | None], EndpointSettings | None],
        deliver: Callable[[SettingsBatch], None],
    ) -> None:
        """Prepare to read; `deliver` is called in the stepping thread."""
        self.bounds: dict[int, tuple[int, int]] = {}
        """By partition: the first offset that the topic held when `open` was called, and its end then."""
        self._kafka = kafka
        self._topic = topic
        self._decode = decode
        self._deliver = deliver
        self._consumer: Consumer | None = None
        self._next: dict[int, int] = {}
        self._held = HeldRecords(topic)

    def open(self) -> None:
        """Find the topic's partitions and their ends, and start at their first records.

        Raises:
            KafkaUnavailableError: no answer, or there is no such topic (yet). It may be called again.
            KafkaRefusedError: no right to read it.
        """
        consumer = make_consumer(reader_config(self._kafka))
        doing = f"cannot read {self._topic}"
        try:
            with translated(doing):
                found = consumer.list_topics(self._topic, timeout=REQUEST_TIMEOUT_S).topics[self._topic]
            if found.error is not None:
                raise kafka_error(found.error, doing)
            self.bounds = {partition: watermarks(consumer, self._topic, partition) for partition in found.partitions}
            self._next = {partition: low for partition, (low, _) in self.bounds.items()}
            with translated(doing):
                consumer.assign([TopicPartition(self._topic, partition, low) for partition, low in self._next.items()])
        except ProcessorError:
            consumer.close()
            raise
        self._consumer = consumer

    def close(self) -> None:
        """Stop reading. Calling it twice is harmless."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self._held.clear()

    def covered_by(self, next_offsets: Mapping[int, int]) -> bool:
        """Whether somebody who has read this far knows everything that was there when `open` was called."""
        return all(next_offsets.get(partition, low) >= end for partition, (low, end) in self.bounds.items())

    @property
    def loaded(self) -> bool:
        """Whether everything was read, and delivered, that was there when `open` was called."""
        return self._consumer is not None and self.covered_by(self._next)

    def step(self, timeout_s: float) -> int:
        """Read what is there, waiting at most `timeout_s` for the first record; give the number of settings.

        Raises:
            ExpiredRecordsError: the topic was cut or re-created under the reader: it has to start again.
            KafkaRefusedError: no right to read it (any more).
        """
        if self._consumer is None:
            message = "the reader of the control topic is not open"
            raise RuntimeError(message)
        consumer = self._consumer
        with translated(f"cannot read {self._topic}"):
            messages = self._held.next_batch(lambda: consume_batch(consumer, timeout_s), timeout_s=timeout_s)
        return self._take(messages) if messages else 0

    def _take(self, messages: list[Message]) -> int:
        settings: list[SeenSettings] = []
        read: dict[int, int] = {}
        for index, message in enumerate(messages):
            partition, offset = message.partition(), message.offset()
            error = message.error()
            if error is not None:
                self._take_error(error)
                if error.code() == KafkaError._PARTITION_EOF and partition is not None and offset is not None:
                    read[partition] = max(read.get(partition, self._next[partition]), offset)
                continue
            assert partition is not None  # noqa: S101  # a record that was read has a position
            assert offset is not None  # noqa: S101
            try:
                wanted = self._decode(message.value())
            except UndecodableError as exc:
                wanted = None
                log.error(  # noqa: TRY400  # the traceback says nothing
                    "settings cannot be read; those before them stay in force",
                    topic=self._topic,
                    partition=partition,
                    offset=offset,
                    reason=str(exc),
                )
            except RegistryError as exc:
                self._held.hold(messages[index:], exc)
                break
            read[partition] = offset + 1
            if wanted is not None:  # a tombstone is a question for the broker's time
                settings.append(SeenSettings(partition, offset, wanted))
        else:
            self._held.decoded()
        if read:
            self._deliver(SettingsBatch(settings, read))
            self._next.update(read)
        return len(settings)

    def _take_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            message = f"{self._topic} was cut or re-created while it was read"
            raise ExpiredRecordsError(message)
        if error.code() != KafkaError._PARTITION_EOF and not is_away(error):
            raise kafka_error(error, f"cannot read {self._topic}")
