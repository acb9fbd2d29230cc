"""Writes operators' wishes to the `control` topic and says where they stand, once Kafka has acknowledged them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.acknowledged_writer import AcknowledgedWriter, NewRecord
from hookstream.schemas.control import EndpointWish
from hookstream.subscriptions.wish_publication import PublishedWish


class WishWriter:
    """A `WishPublisher`. One thread at a time."""

    def __init__(self, kafka: KafkaConfig, topic: str, *, encode: Callable[[EndpointWish], bytes]) -> None:
        """Prepare to write; nothing is sent yet."""
        self._writer = AcknowledgedWriter(kafka, topic)
        self._encode = encode

    def __enter__(self) -> Self:
        """Nothing to do: the producer is opened when it is needed."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Forget the producer. Nothing waits in it: every call waits for its own reports."""
        self._writer.close()

    def publish(self, wishes: Sequence[EndpointWish]) -> Sequence[PublishedWish]:
        """Write wishes and say where they stand.

        Raises:
            NotPublishedError: one or more were not acknowledged in time; some may be in the topic.
        """
        written = self._writer.write([NewRecord(wish.key, self._encode(wish)) for wish in wishes])
        return [
            PublishedWish(wish=wish, partition=row.partition, offset=row.offset)
            for wish, row in zip(wishes, written, strict=True)
        ]
