"""Dead letters of records that cannot be routed. Pure."""

from __future__ import annotations

from confluent_kafka import Message

from hookstream.schemas.delivery import DeadLetter, DeadLetterReason
from hookstream.schemas.event import ClientId, client_of_key

from .assignment import SourcePartition


def dead_letter_of(
    source: SourcePartition, message: Message, *, reason: DeadLetterReason, detail: str, now_ms: int
) -> DeadLetter:
    """The whole record with its position and the reason."""
    key = message.key()
    return DeadLetter(
        reason=reason,
        detail=detail,
        topic=source.topic,
        partition=source.partition,
        offset=message.offset() or 0,
        record_key=key,
        record_value=message.value(),
        client=_client_of(key),
        hook_id=None,
        delivery_id=None,
        died_at_ms=now_ms,
    )


def _client_of(key: bytes | None) -> ClientId | None:
    """The client, where the key names it: `client|concept id`. Both may hold a bar; then it does not."""
    client, _, rest = (key or b"").partition(b"|")
    return None if b"|" in rest else client_of_key(client)
