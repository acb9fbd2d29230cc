"""Writes rows to the `subscriptions` topic and says where they stand, once Kafka has acknowledged them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.acknowledged_writer import AcknowledgedWriter, NewRecord
from hookstream.processors.tables.subscription_reader import PARTITION
from hookstream.schemas.hook import RESYNC_MARK_KEY, Hook, ResyncMark

_LINGER_MS = 1.0


class SubscriptionWriter(AcknowledgedWriter):
    """A `ChangePublisher`. One thread at a time."""

    def __init__(self, kafka: KafkaConfig, topic: str, *, encode: Callable[[Hook | ResyncMark], bytes]) -> None:
        """Prepare to write; nothing is sent yet."""
        super().__init__(kafka, topic, linger_ms=_LINGER_MS)
        self._encode = encode

    def publish(self, hooks: Sequence[Hook]) -> Sequence[int]:
        """Write rows and give their offsets.

        Raises:
            NotPublishedError: one or more were not acknowledged in time; some may be in the topic.
        """
        return self._offsets([(hook.key, self._encode(hook)) for hook in hooks])

    def publish_tombstones(self, keys: Sequence[bytes]) -> Sequence[int]:
        """Write tombstones and give their offsets.

        Raises:
            NotPublishedError: as above.
        """
        return self._offsets([(key, None) for key in keys])

    def publish_mark(self, mark: ResyncMark) -> int:
        """Write the end mark of a resync and give its offset.

        Raises:
            NotPublishedError: as above.
        """
        return self._offsets([(RESYNC_MARK_KEY, self._encode(mark))])[0]

    def _offsets(self, records: Sequence[tuple[bytes, bytes | None]]) -> Sequence[int]:
        return [row.offset for row in self.write([NewRecord(key, row, PARTITION) for key, row in records])]
