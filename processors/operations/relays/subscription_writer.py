"""Writes rows to the `subscriptions` topic and says where they stand, once Kafka has acknowledged them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from hookstream.processors.kafka import KafkaConfig, make_producer, producer_config
from hookstream.processors.tables.table_reader import PARTITION
from hookstream.schemas.hook import RESYNC_MARK_KEY, Hook, ResyncMark
from hookstream.subscriptions.errors import NotPublishedError

# The slot stays locked meanwhile, and a request for it waits: below the database's lock time-out of 10 s.
_ACKNOWLEDGED_WITHIN_MS = 5000
# The report of a record that timed out comes a little after its time.
_REPORT_WITHIN_S = 6.0
_LINGER_MS = 1.0


class SubscriptionWriter:
    """A `ChangePublisher`. One thread at a time."""

    def __init__(self, kafka: KafkaConfig, topic: str, *, encode: Callable[[Hook | ResyncMark], bytes]) -> None:
        """Prepare to write; nothing is sent yet."""
        self._config = producer_config(kafka, linger_ms=_LINGER_MS, message_timeout_ms=_ACKNOWLEDGED_WITHIN_MS)
        self._topic = topic
        self._encode = encode
        self._producer: Producer | None = None

    def __enter__(self) -> Self:
        """Nothing to do: the producer is opened when it is needed."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Forget the producer. Nothing waits in it: every call waits for its own reports."""
        self._producer = None

    def publish(self, hooks: Sequence[Hook]) -> Sequence[int]:
        """Write rows and give their offsets.

        Raises:
            NotPublishedError: one or more were not acknowledged in time; some may be in the topic.
        """
        return self._send([(hook.key, self._encode(hook)) for hook in hooks])

    def publish_tombstones(self, keys: Sequence[bytes]) -> Sequence[int]:
        """Write tombstones and give their offsets.

        Raises:
            NotPublishedError: as above.
        """
        return self._send([(key, None) for key in keys])

    def publish_mark(self, mark: ResyncMark) -> int:
        """Write the end mark of a resync and give its offset.

        Raises:
            NotPublishedError: as above.
        """
        return self._send([(RESYNC_MARK_KEY, self._encode(mark))])[0]

    def _send(self, records: Sequence[tuple[bytes, bytes | None]]) -> Sequence[int]:
        offsets: dict[int, int] = {}
        failures: list[KafkaError] = []
        producer = self._producer = self._producer or make_producer(self._config)
        try:
            for index, (key, value) in enumerate(records):
                producer.produce(
                    self._topic, value, key, partition=PARTITION, on_delivery=_note(index, offsets, failures)
                )
            left = producer.flush(_REPORT_WITHIN_S)
        except (KafkaException, BufferError) as exc:
            self._abandon(producer)
            msg = f"cannot write to {self._topic}: {exc}"
            raise NotPublishedError(msg) from exc
        if left or failures or len(offsets) < len(records):
            self._abandon(producer)
            why = failures[0].str() if failures else "no delivery report in time"
            msg = f"{len(records) - len(offsets)} of {len(records)} records of {self._topic} not acknowledged: {why}"
            raise NotPublishedError(msg)
        return [offsets[index] for index in range(len(records))]

    def _abandon(self, producer: Producer) -> None:
        """Drop what is unsent, and begin with a new producer next time: this one may have failed for good."""
        producer.purge(in_queue=True, in_flight=True, blocking=False)
        self._producer = None


def _note(
    index: int, offsets: dict[int, int], failures: list[KafkaError]
) -> Callable[[KafkaError | None, Message], None]:
    def report(error: KafkaError | None, message: Message) -> None:
        offset = message.offset()
        if error is not None:
            failures.append(error)
        elif offset is not None:
            offsets[index] = offset

    return report
