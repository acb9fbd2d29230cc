"""Dead letters: a delivery is done only when Kafka has acknowledged that it is kept in `deliveries.dead`.

A refused one is written again without the record's bytes (they are still at its position in the log), and then again
and again: it is never dropped, and its delivery stays pending. Belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from hookstream.schemas.delivery import DeadLetter, DeadLetterReason, Delivery
from hookstream.schemas.event import client_of_key

from .record_writer import RecordWriter

LAST_ANSWER_BYTES = 4096

_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0

log = structlog.get_logger("hookstream.deliver")


class DeadLetters:
    """Writes dead letters until Kafka has them."""

    def __init__(self, writer: RecordWriter, topic: str, *, encode: Callable[[DeadLetter], bytes]) -> None:
        """Write with a producer that is shared."""
        self._writer = writer
        self._topic = topic
        self._encode = encode

    def write(
        self, dead_letter: DeadLetter, acknowledged: Callable[[], None], *, retry_s: float = _FIRST_RETRY_S
    ) -> None:
        """Write one; `acknowledged` is called in the loop, once, whenever that may be."""

        def written(offset: int | None) -> None:
            if offset is not None:
                acknowledged()
                return
            again = dead_letter.without_payload() if dead_letter.record_value is not None else dead_letter
            later = min(2 * retry_s, _LAST_RETRY_S)
            asyncio.get_running_loop().call_later(retry_s, lambda: self.write(again, acknowledged, retry_s=later))

        key = None if dead_letter.client is None else dead_letter.client.encode()
        self._writer.write(self._topic, key, self._encode(dead_letter), written)


def dead_letter_of(  # noqa: PLR0913 - the record, and why
    delivery: Delivery,
    value: bytes,
    *,
    topic: str,
    partition: int,
    offset: int,
    reason: DeadLetterReason,
    died_at_ms: int,
    last_status: int | None = None,
    last_answer: bytes = b"",
) -> DeadLetter:
    """The dead letter of a delivery."""
    return DeadLetter(
        reason=reason,
        detail=_DETAILS.get(reason, reason.value),
        topic=topic,
        partition=partition,
        offset=offset,
        record_key=delivery.key,
        record_value=value,
        client=delivery.client,
        hook_id=delivery.hook_id,
        delivery_id=delivery.id,
        died_at_ms=died_at_ms,
        last_status=last_status,
        last_answer=last_answer[:LAST_ANSWER_BYTES],
    )


def undecodable_dead_letter(
    key: bytes | None,
    value: bytes | None,
    *,
    topic: str,
    partition: int,
    offset: int,
    detail: str,
    died_at_ms: int,
) -> DeadLetter:
    """The dead letter of a record that cannot be decoded; its key may still name the client."""
    return DeadLetter(
        reason=DeadLetterReason.UNDECODABLE,
        detail=detail,
        topic=topic,
        partition=partition,
        offset=offset,
        record_key=key,
        record_value=value,
        client=client_of_key(key),
        hook_id=None,
        delivery_id=None,
        died_at_ms=died_at_ms,
    )


_DETAILS = {
    DeadLetterReason.SCHEDULE: "every attempt of the schedule failed",
    DeadLetterReason.EXPIRED: "pending for longer than it may be",
    DeadLetterReason.SKIPPED: "skipped by an operator",
    DeadLetterReason.REFUSED: "its receiver answered `webhook-delivery: abort`",
}
